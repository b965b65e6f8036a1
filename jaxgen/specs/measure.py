"""How much is measured, and when it is enough (`measure=`)."""

import dataclasses
import enum

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


# Both are finite and above 0: `schedule.repeats` rounds a share of the time down, which infinity
# does not allow, and a `target_ci` of 0 is refused below.
_NO_LIMIT_S = 1e9
_NEVER_NARROW_ENOUGH = 1e-12
"""Limits of a plan whose calls are counted: neither the time nor the interval ends it."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """The plan of a measurement.

    Attributes:
        trials: pairs in a block.
        blocks: the most blocks; each places weights and caches anew.
        max_seconds: no new block begins after this many seconds of trials; three run whatever they
            take, if `blocks` allows so many.
        min_trial_s: a trial repeats its call until it lasts this long, the same count in both arms.
        warmup: calls of the whole workload before the first trial.
        warmup_tokens: null warms up with the trials' own lengths; a number shortens it, to show
            what that does.
        target_ci: stop when the interval's half-width is below this share of the ratio.
        margin: ratios within 1 plus or minus this are equivalent; null is 0.02.
        isolation: `shared` holds both arms in one process, `separate` each in its own; `auto`
            decides.
        processes: fresh pairs of worker processes, one after the other, each with blocks and
            seconds of its own; the outermost level of the interval.
        startup: null measures the startup as it comes; `cold` also starts fresh processes over an
            empty persistent compilation cache, `warm` over a filled one, `both` both.
        profile: record one more, untimed trial of each arm with jax.profiler, and name its longest
            operations.
        dump_hlo: keep each arm's programs as text, as lowered and as compiled.
        seed: of the order inside pairs.
    """

    trials: int = 4
    blocks: int = 12
    max_seconds: float = 10.0
    min_trial_s: float = 0.2
    warmup: int = 1
    warmup_tokens: int | None = None
    target_ci: float = 0.02
    margin: float | None = None
    isolation: Isolation = Isolation.auto
    processes: int = 1
    startup: Startup | None = None
    profile: bool = False
    dump_hlo: bool = False
    seed: int = 0

    def __post_init__(self):
        least = {
            "trials": 1,
            "blocks": 1,
            "processes": 1,
            "warmup": 0,
            "min_trial_s": 0,
            "max_seconds": 0,
        }
        problems = []
        for key, low in least.items():
            value = getattr(self, key)
            if not value >= low:  # so that a value that is no number is refused as well
                problems.append(f"measure.{key}={value} must be {low} or more")
        if self.warmup_tokens is not None and self.warmup_tokens < 1:
            problems.append(
                f"measure.warmup_tokens={self.warmup_tokens} must be 1 or more, or null for all"
            )
        # At 0 the measurement would never be good enough.
        if not 0 < self.target_ci < 1:
            problems.append(
                f"measure.target_ci={self.target_ci} must lie between 0 and 1 (0.02 is 2 %)"
            )
        # At 1 the lower end of the margin is a ratio of 0: nothing could ever be slower.
        if self.margin is not None and not 0 <= self.margin < 1:
            problems.append(f"measure.margin={self.margin} must be 0 or more and below 1, or null")
        if problems:
            raise UserError.collected("impossible measurement", problems)

    @property
    def short_warmup(self) -> bool:
        """Whether the warm-up is cut short on purpose: compiles in the clock are then shown."""
        return self.warmup == 0 or self.warmup_tokens is not None

    @property
    def limited_by_time(self) -> bool:
        """Whether `max_seconds` ends the measurement; else its calls are counted (`for_calls`)."""
        return self.target_ci != _NEVER_NARROW_ENOUGH

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
            target_ci=_NEVER_NARROW_ENOUGH,
        )
