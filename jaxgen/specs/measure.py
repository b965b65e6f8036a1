"""How much is measured, and when it is enough (`measure=`)."""

import dataclasses
import enum
import math

from jaxgen.errors import UserError


class Isolation(enum.Enum):
    """How many processes hold the arms."""

    auto = "auto"
    shared = "shared"
    separate = "separate"


class Startup(enum.Enum):
    """What finds a persistent compilation cache when it starts."""

    cold = "cold"
    warm = "warm"
    both = "both"


DEFAULT_MARGIN = 0.02
"""The smallest difference that counts, where the user names none: a matter of use, not of noise."""

DEFAULT_PROCESSES = 2
"""Pairs of processes where the user names no number. What favours the arm that starts first
favours each arm once, and the draws of the two starts are averaged."""

MIN_PAIRS_TO_DECIDE = 12
"""Before so many pairs a narrow interval ends nothing: a run that stops at the first narrow one
favours blocks that agree by luck."""

# Both are finite and above 0: `schedule.repeats` rounds a share of the time down, which infinity
# does not allow, and a `target_ci` of 0 is refused below.
_NO_LIMIT_S = 1e9
NEVER_NARROW_ENOUGH = 1e-12
"""Limits of a plan whose calls are counted: neither the time nor the interval ends it."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """The plan of a measurement.

    Attributes:
        trials: pairs in a block. One is best where new buffers cost little, as blocks differ by
            about as much as pairs do.
        blocks: the most blocks, shared out over the processes; each places weights and caches anew.
        max_seconds: no new block begins after this many seconds of trials, shared out over the
            processes; four run whatever they take, if `blocks` allows so many.
        min_trial_s: a trial repeats its call until it lasts this long, each arm as often as it
            needs; what is compared is the time of a call.
        warmup: calls of the whole workload before the first trial.
        warmup_tokens: null warms up with the trials' own lengths; a number shortens it, to show
            what that does.
        target_ci: stop when the interval's half-width is below this share of the ratio; null stops
            at half the margin, or earlier where the margin's question is settled.
        margin: ratios within this share of 1, such as 0.98 to 1.02, are equivalent; null is 0.02.
        isolation: `shared` holds both arms in one process, `separate` each in its own; `auto`
            decides.
        processes: fresh pairs of worker processes, one after the other, which share the blocks and
            the seconds; the outermost level of the interval. Null is 2, but 1 where the first one
            settles the question, for fewer than four blocks, and in a job, which is joined once.
        startup: null measures the startup as it comes; `cold` also starts fresh processes over an
            empty persistent compilation cache, `warm` over a filled one, `both` both.
        profile: record one more, untimed trial of each arm with jax.profiler, and name its longest
            operations.
        dump_hlo: keep each arm's programs as text, as lowered and as compiled.
        max_foreign_load: the largest share of the processor that other programs may use during the
            trials; above it the verdict is `inconclusive`. 1 accepts any.
        max_wait_s: before the trials, wait so many seconds at most in the whole run until other
            programs use no more than that; 0 does not wait.
        seed: of the order inside pairs, and of which arm starts first.
    """

    trials: int = 1
    blocks: int = 48
    max_seconds: float = 10.0
    min_trial_s: float = 0.1
    warmup: int = 1
    warmup_tokens: int | None = None
    target_ci: float | None = None
    margin: float | None = None
    isolation: Isolation = Isolation.auto
    processes: int | None = None
    startup: Startup | None = None
    profile: bool = False
    dump_hlo: bool = False
    max_foreign_load: float = 0.2
    max_wait_s: float = 30.0
    seed: int = 0

    def __post_init__(self):
        least = {
            "trials": 1,
            "blocks": 1,
            "processes": 1,
            "warmup": 0,
            "warmup_tokens": 1,
            "min_trial_s": 0,
            "max_seconds": 0,
            "max_wait_s": 0,
        }
        problems = []
        for key, low in least.items():
            value = getattr(self, key)
            if value is None:
                continue
            if not value >= low:  # so that a value that is no number is refused as well
                problems.append(f"measure.{key}={value} must be {low} or more")
            elif not math.isfinite(value):
                problems.append(f"measure.{key}={value} must be a finite number, such as 60")
        # At 0 the measurement would never be good enough.
        if self.target_ci is not None and not 0 < self.target_ci < 1:
            problems.append(
                f"measure.target_ci={self.target_ci} must lie between 0 and 1 (0.02 is 2 %), "
                "or be null"
            )
        # At 1 a candidate at twice the speed would count as equal.
        if self.margin is not None and not 0 <= self.margin < 1:
            problems.append(f"measure.margin={self.margin} must be 0 or more and below 1, or null")
        if not 0 < self.max_foreign_load <= 1:
            problems.append(
                f"measure.max_foreign_load={self.max_foreign_load} must be above 0 and at most 1 "
                "(0.2 is 20 %; 1 accepts any load)"
            )
        if problems:
            raise UserError.collected("impossible measurement", problems)

    @property
    def num_processes(self) -> int:
        """The pairs of processes that are started: none that would get no block."""
        if self.processes is not None:
            return min(self.processes, self.blocks)
        # One block in a process says nothing of how blocks differ.
        has_two_each = self.blocks >= 2 * DEFAULT_PROCESSES
        return DEFAULT_PROCESSES if has_two_each else 1

    @property
    def may_end_early(self) -> bool:
        """Whether a pair of processes that settles the question is the last one.

        The interval of one pair holds what starts differ by, so that a clear answer needs no other
        start; a number of processes that is asked for is wanted for its own sake.
        """
        if self.processes is not None or self.num_processes == 1:
            return False
        # The first one must be able to make as many pairs by itself as a run needs.
        pairs_of_first = self.blocks // self.num_processes * self.trials
        return self.stops_when_settled and pairs_of_first >= MIN_PAIRS_TO_DECIDE

    @property
    def least_difference(self) -> float:
        """The margin of the verdict, as a share."""
        return DEFAULT_MARGIN if self.margin is None else self.margin

    @property
    def wanted_half_width(self) -> float:
        """The half-width of the interval that ends the trials, as a share of the ratio."""
        if self.target_ci is not None:
            return self.target_ci
        # With a target of the margin itself only an estimate of exactly 1 could be `equivalent`. A
        # margin of 0 asks for no width, so that it gets the default's.
        return (self.least_difference or DEFAULT_MARGIN) / 2

    @property
    def stops_when_settled(self) -> bool:
        """Whether a clear answer ends the trials before the interval is narrow.

        A width that is asked for is wanted for its own sake; against a margin of 0 no equal arms
        are ever told from different ones.
        """
        return self.target_ci is None and self.least_difference > 0

    @property
    def short_warmup(self) -> bool:
        """Whether the warm-up is cut short on purpose: compiles in the clock are then shown."""
        return self.warmup == 0 or self.warmup_tokens is not None

    @property
    def limited_by_time(self) -> bool:
        """Whether `max_seconds` ends the measurement; else its calls are counted (`for_calls`)."""
        return self.target_ci != NEVER_NARROW_ENOUGH

    def for_calls(self, calls: int | None) -> "Measure":
        """Settle the plan for a workload that says how often it is called.

        Args:
            calls: so many calls of each arm and case, one in a trial, whatever they take; null
                leaves the plan as it is.
        """
        if calls is None:
            return self
        # Blocks are of one size, as large as `trials` allows and the number of calls divides.
        # With 10 calls and `trials=4` that makes 5 blocks of 2 pairs.
        most = min(self.trials, calls)
        in_block = max(count for count in range(1, most + 1) if calls % count == 0)
        return dataclasses.replace(
            self,
            trials=in_block,
            blocks=calls // in_block,
            # With no least time a trial never repeats its call, so that calls are trials.
            min_trial_s=0.0,
            max_seconds=_NO_LIMIT_S,
            target_ci=NEVER_NARROW_ENOUGH,
        )
