"""What is executed and reported (`workload=`)."""

import dataclasses
import enum
from typing import ClassVar

from jaxgen.errors import UserError


class Loop(enum.Enum):
    """Where the decode loop runs."""

    device = "device"
    host = "host"


class Batching(enum.Enum):
    """How prompts share the rows that are computed together."""

    static = "static"
    continuous = "continuous"


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the logits.

    Attributes:
        temperature: 0 is greedy.
        top_k: keep this many of the likeliest tokens; null keeps all.
        top_p: keep the likeliest tokens up to this sum of probability; null keeps all.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken, without any randomness."""
        return self.temperature == 0.0


class Site(enum.Enum):
    """Where in a layer activations are taken.

    It is what attention or the MLP adds, or the residual stream after both.
    """

    residual = "residual"
    attention = "attention"
    mlp = "mlp"


# It stands here because `Generate` makes a default `Capture` while it is defined.
def _are_rising(values: tuple[int, ...], *, least: int) -> bool:
    """Whether each value is larger than the one before, and none below the least."""
    if any(value < least for value in values):
        return False
    return sorted(set(values)) == list(values)


@dataclasses.dataclass(frozen=True)
class Capture:
    """Activations to keep of every step; none without layers.

    Attributes:
        layers: their numbers, from 0.
        sites: where in each of them.
    """

    layers: tuple[int, ...] = ()
    sites: tuple[Site, ...] = (Site.residual,)

    def __post_init__(self):
        for key in ("layers", "sites"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        problems = []
        if not _are_rising(self.layers, least=0):
            problems.append(
                f"workload.capture.layers={list(self.layers)} must be rising numbers of 0 or more"
            )
        if not self.sites or len(set(self.sites)) < len(self.sites):
            names = ", ".join(site.value for site in self.sites)
            problems.append(
                f"workload.capture.sites=[{names}] must be different ones, one at least"
            )
        if problems:
            raise UserError.collected("impossible workload", problems)


@dataclasses.dataclass(frozen=True)
class Generate:
    """Generate text from every prompt.

    Attributes:
        batch_size: rows at a time; further prompts are further batches of the same trial.
        batching: `static` runs a batch until its last row has ended; `continuous` gives the row of
            a text that has ended to the next prompt at once, while the others go on.
        shared_prefix: with continuous batching and the paged cache: a prompt that begins like one
            before it takes over those pages, computes the rest alone, and copies the page in which
            the two part.
        max_new_tokens: per row.
        loop: `device` decodes in one compiled `while_loop`, `host` calls one compiled step per
            token.
        ignore_eos: go on to `max_new_tokens` whatever the model writes.
        temperature: 0 takes the likeliest token (greedy); above, logits are divided by it and a
            token is drawn.
        top_k: draw among this many of the likeliest tokens; null draws among all.
        top_p: draw among the likeliest tokens up to this sum of probability; null draws among all.
        seed: of the sampling; same seed, same tokens, whatever the cache.
        depths: measure decoding with this many tokens in the cache instead of the prompts' own
            numbers, a case each; the prompts' tokens, repeated, fill it, and rows end at
            `max_new_tokens` alone. 0 is a prompt of one token.
        token_buckets: prompts are padded to the least of these that holds them; every one is
            compiled ahead.
        batch_buckets: the same for the rows of a batch; an empty list pads nothing.
        capture: activations to keep of the position that each new token is predicted from; off
            where no layer is named.
    """

    output_key: ClassVar[str] = "tokens"
    """What the outputs of two arms are compared by."""

    batch_size: int = 4
    max_new_tokens: int = 24
    batching: Batching = Batching.static
    shared_prefix: bool = False
    loop: Loop = Loop.device
    ignore_eos: bool = False
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    depths: tuple[int, ...] = ()
    token_buckets: tuple[int, ...] = ()
    batch_buckets: tuple[int, ...] = ()
    capture: Capture = Capture()

    def __post_init__(self):
        problems = []
        # Hydra has lists where a hashable spec has tuples.
        for key, least in (("depths", 0), ("token_buckets", 1), ("batch_buckets", 1)):
            values = tuple(getattr(self, key))
            object.__setattr__(self, key, values)
            if not _are_rising(values, least=least):
                problems.append(
                    f"workload.{key}={list(values)} must be rising numbers of {least} or more"
                )
        # A depth sets how long a prompt is; padding it to a bucket would make it another depth.
        if self.depths and self.token_buckets:
            problems.append("workload.depths and workload.token_buckets cannot be given together")
        if self.depths and self.max_new_tokens < 2:
            problems.append(
                "workload.depths needs workload.max_new_tokens=2 or more: "
                "the first comes from the prefill"
            )
        # Rows are padded up to a bucket, so that the largest must hold a whole batch.
        if self.batch_buckets and self.batch_size > self.batch_buckets[-1]:
            problems.append(
                f"workload.batch_size={self.batch_size} is more than the largest of "
                f"workload.batch_buckets, {self.batch_buckets[-1]}"
            )
        # All problems at once: else each correction would only bring up the next mistake.
        problems += self._unfit_for_batching()
        problems += self._impossible_sizes()
        problems += self._impossible_sampling()
        if problems:
            raise UserError.collected("impossible workload", problems)

    def _impossible_sizes(self) -> list[str]:
        problems = []
        if self.batch_size < 1:
            problems.append(f"workload.batch_size={self.batch_size} must be 1 or more")
        if self.max_new_tokens < 1:
            problems.append(f"workload.max_new_tokens={self.max_new_tokens} must be 1 or more")
        return problems

    def _impossible_sampling(self) -> list[str]:
        problems = []
        if not 0 <= self.temperature < float("inf"):
            problems.append(
                f"workload.temperature={self.temperature} must be 0 (greedy) or a positive number"
            )
        if self.top_k is not None and self.top_k < 1:
            problems.append(f"workload.top_k={self.top_k} must be 1 or more, or null for all")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            problems.append(
                f"workload.top_p={self.top_p} must be above 0 and at most 1, or null for all"
            )
        if not 0 <= self.seed < 2**32:
            problems.append(f"workload.seed={self.seed} must be 0 or more and below 2**32")
        return problems

    def _unfit_for_batching(self) -> list[str]:
        """List what the batching cannot do."""
        if self.batching is Batching.static:
            # Rows of a static batch begin together: there is no earlier prompt to share with.
            if self.shared_prefix:
                return ["workload.shared_prefix needs workload.batching=continuous"]
            return []
        unfit = (
            ("depths", self.depths, "depths=[]"),
            ("batch_buckets", self.batch_buckets, "batch_buckets=[]"),
            ("token_buckets", self.token_buckets, "token_buckets=[]"),
            ("capture", self.capture.layers, "capture.layers=[]"),
            ("loop=host", self.loop is Loop.host, "loop=device"),
        )
        problems = []
        for key, is_set, remedy in unfit:
            if is_set:
                problems.append(
                    "workload.batching=continuous cannot be combined with "
                    f"workload.{key}; set workload.{remedy}"
                )
        return problems

    @property
    def greedy(self) -> bool:
        """Whether tokens are chosen without chance."""
        return self.sampling.greedy

    @property
    def times_are_of_a_prompt(self) -> bool:
        """Whether a time is that of one prompt, its wait for a row included; else of a batch."""
        return self.batching is Batching.continuous

    @property
    def fixed_calls(self) -> int | None:
        """How many calls are timed exactly: `measure` decides it."""
        return None

    @property
    def ignores_eos(self) -> bool:
        """Whether rows go on to their last token whatever the model writes."""
        # A case of `depths` is about a depth: a row that ended early would leave it.
        return self.ignore_eos or bool(self.depths)

    @property
    def sampling(self) -> Sampling:
        """The part that the compiled step depends on."""
        return Sampling(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p)
