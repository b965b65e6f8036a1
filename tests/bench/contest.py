"""Contestants of a benchmark that take turns, round by round; one may run in another process."""

import statistics
import subprocess
from collections.abc import Callable, Mapping

Once = Callable[[], float]
"""Does the work once and returns how many seconds that took."""


def other_process(python: str, program: str, *arguments: str) -> Once:
    """Return a contestant that another interpreter runs.

    Its program works once for each line that it reads, and prints the seconds.
    """
    child = subprocess.Popen(
        [python, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def once() -> float:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("go\n")
        child.stdin.flush()
        return float(child.stdout.readline())

    return once


def take_turns(
    contestants: Mapping[str, Once],
    *,
    rounds: int,
    work: float,
    before_each_round: Callable[[], None] | None = None,
) -> dict[str, list[float]]:
    """Return the rates of each contestant, one a round: `work` units over the seconds.

    Two calls warm each contestant up.
    """
    for once in contestants.values():
        once()
        once()
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        if before_each_round is not None:
            before_each_round()
        for name, once in contestants.items():
            rates[name].append(work / once())
    return rates


def show(
    rates: Mapping[str, list[float]], *, unit: str, extra: Callable[[str], str] = lambda _name: ""
) -> None:
    """Print one line for each contestant.

    It has the median, the range, and by how much the first one is faster, round by round.
    """
    first = next(iter(rates.values()))
    for name, values in rates.items():
        against = statistics.median(
            ours / theirs for ours, theirs in zip(first, values, strict=True)
        )
        spread = f"{min(values):.1f} to {max(values):.1f}"
        rate = f"{statistics.median(values):7.1f} {unit} ({spread})"
        print(f"{name:32s} {rate}, first is {against:5.2f}x this", extra(name), flush=True)
