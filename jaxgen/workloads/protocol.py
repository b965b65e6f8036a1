"""What a worker asks of a workload, so that neither the arm nor the trials know which one it is."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from jaxgen.engine.engine import Engine
from jaxgen.engine.program_use import Use
from jaxgen.measure.roofline import Step

OutputRow = dict[str, Any]
"""One line of outputs.jsonl, but for the arm's name."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One point of a workload's own grid, measured with one load of the weights.

    Attributes:
        params: what tells it from the other cases, such as {"depth": 256}; empty where there is no
            grid.
    """

    params: Mapping[str, int] = dataclasses.field(default_factory=dict)


class Workload(Protocol):
    """Calls, by the number of their case.

    Everything a call needs is on the device before it begins.

    Attributes:
        metrics: what a trial yields, {name: {unit, better}}; the first is the one that the verdict
            is about.
        cases: at least one.
        kv_cache_bytes: of one batch's keys and values; null for a cache that begins without slots
            and grows.
    """

    metrics: dict[str, dict[str, str]]
    cases: tuple[Case, ...]
    kv_cache_bytes: int | None

    def inputs(self) -> list[Any]:
        """Return the inputs of all cases as plain data: the arms of a run must have the same."""
        ...

    def warm_up(self, case: int, *, new_tokens: int | None) -> None:
        """Call once, so that all that the trials need is compiled; less with fewer `new_tokens`."""
        ...

    def call(self, case: int) -> Any:
        """Call once, timed; what is returned is opaque to the caller."""
        ...

    def beside_call(self, case: int) -> None:
        """Do what `call` does outside its clock, such as making an empty cache."""
        ...

    def measured(self, calls: Sequence[Any]) -> dict[str, float | None]:
        """Return the metrics of one trial: several calls."""
        ...

    def outputs(self, case: int, call: Any) -> list[OutputRow]:
        """Return the outputs of a call, a row for each input.

        The arms are compared by the rows' `tokens` or `scores`.
        """
        ...

    def call_s(self, call: Any) -> float:
        """Return how long one call took, by the arm's clock."""
        ...

    def inside_s(self, call: Any) -> float:
        """Return how long the clock of one call ran, by the true clock."""
        ...

    def facts(self, case: int, call: Any, rows: Sequence[OutputRow]) -> dict[str, Any]:
        """Return what else is worth knowing of a case and its outputs, as plain data."""
        ...

    def scores_by(self, engine: Engine, case: int) -> list[list[float | None]]:
        """Return the scores of a case by another engine, null for no number; none if none."""
        ...

    def limits(self, case: int) -> Sequence[int]:
        """Return the most new tokens of each prompt of a case; empty where none are generated."""
        ...

    def capture(self, case: int, path: Path) -> dict[str, Any] | None:
        """Write activations into a file, and return facts about it; null where there are none."""
        ...

    def programs(self, case: int) -> Sequence[Use]:
        """Return what the first batch of a case runs, the deepest decode last."""
        ...

    def steps(self, case: int, rows: Sequence[OutputRow] = ()) -> Mapping[str, Step | None]:
        """Return {metric: the work that it is the time of, in seconds}; null where that is unknown.

        How much work there was may depend on `rows`, the outputs of a call; without any, what was
        planned counts.
        """
        ...

    def last_step(self, case: int) -> Step | None:
        """Return the work of one step of the last program, to compare with XLA's own count."""
        ...
