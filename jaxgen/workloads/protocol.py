"""What a worker asks of a workload, so that neither the arm nor the trials know which one it is."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from jaxgen.engine.program_use import Use
from jaxgen.measure.roofline import Step

Row = dict[str, Any]
"""One line of outputs.jsonl, but for the arm's name."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One point of a workload's own grid, measured with one load of the weights.

    Attributes:
        params: what tells it from the other cases, such as {"depth": 256}; empty where there is no grid.
    """

    params: Mapping[str, int] = dataclasses.field(default_factory=dict)


class Workload(Protocol):
    """Calls, by the number of their case. Everything a call needs is on the device before it begins.

    Attributes:
        metrics: what a trial yields, {name: {unit, better}}; the first is the one that the verdict is about.
        cases: at least one.
        kv_cache_bytes: of one batch's keys and values; null for a cache that begins without slots and grows.
    """

    metrics: dict[str, dict[str, str]]
    cases: tuple[Case, ...]
    kv_cache_bytes: int | None

    def questions(self) -> list[Any]:
        """What is asked, as plain data: the arms of a run must be asked the same."""
        ...

    def warm_up(self, case: int, *, new_tokens: int | None) -> None:
        """One call that compiles all that the trials need, or less of it with fewer `new_tokens`."""
        ...

    def call(self, case: int) -> Any:
        """One timed call; opaque to whoever asks."""
        ...

    def measured(self, calls: Sequence[Any]) -> dict[str, float | None]:
        """The metrics of one trial: several calls."""
        ...

    def answers(self, case: int, call: Any) -> list[Row]:
        """What a call wrote, a row for each question; `tokens` or `scores` is what the arms are compared by."""
        ...

    def seconds(self, call: Any) -> float:
        """How long one call took, by the arm's clock."""
        ...

    def facts(self, case: int, call: Any, rows: Sequence[Row]) -> dict[str, Any]:
        """What else is worth knowing of a case and of its answers, as plain data; none of it is timed."""
        ...

    def limits(self, case: int) -> Sequence[int]:
        """The most new tokens that each prompt of a case may get; empty where none are generated."""
        ...

    def capture(self, case: int, path: Path) -> dict[str, Any] | None:
        """Write the activations that are asked for into a file, and say what it is; null where none are."""
        ...

    def programs(self, case: int) -> Sequence[Use]:
        """What the first batch of a case runs: programs that may be looked at, the deepest decode last."""
        ...

    def steps(self, case: int, rows: Sequence[Row] = ()) -> Mapping[str, Step | None]:
        """{metric: the work that it is the time of, in seconds}; null where that is unknown.

        How much work there was may depend on `rows`, the answers of a call; without any, what was planned counts.
        """
        ...

    def last_step(self, case: int) -> Step | None:
        """The work of one step of the last of `programs`: what XLA's own count is held against."""
        ...
