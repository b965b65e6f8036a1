"""How often a self-test was right, and whether that is often enough."""

from collections import Counter
from collections.abc import Sequence

from jaxgen.measure.coverage import binomial_interval, is_too_low
from jaxgen.results import schema

GOOD_RATE = 0.95


def add_rates(section: schema.Selftest) -> None:
    """Put the rates of what was measured so far into a self-test's section.

    Args:
        section: with one measurement or more of each kind.
    """
    section["rates"] = {
        # `inconclusive` leaves equal arms alone as well: it claims no difference.
        "same_left_alone": _rate(section["same"], "equivalent", "inconclusive"),
        "slowdown_found": _rate(section["slowed"], "slower"),
    }
    coverage = coverage_of(section["same"])
    if coverage is not None:
        section["coverage"] = coverage


def coverage_of(same: Sequence[schema.Repetition]) -> schema.Coverage | None:
    """Return how many intervals of equal arms hold 1; null where none has an interval.

    Args:
        same: measurements of equal arms; invalid ones count nowhere.
    """
    cells: dict[str, dict[str, int]] = {}
    for measured in same:
        interval = measured.get("ci95")
        if interval is None or measured.get("verdict") == "invalid":
            continue
        cell = cells.setdefault(_cell_of(measured), {"held": 0, "of": 0})
        cell["held"] += interval[0] <= 1 <= interval[1]
        cell["of"] += 1
    if not cells:
        return None
    held = sum(cell["held"] for cell in cells.values())
    of = sum(cell["of"] for cell in cells.values())
    return {
        "held": held,
        "of": of,
        "rate": held / of,
        "ci95": list(binomial_interval(held, of)),
        "cells": cells,
    }


def failures(section: schema.Selftest) -> list[str]:
    """Return what was not as it should be.

    Args:
        section: of a self-test that is done.
    """
    texts = {
        "same_left_alone": "equal arms were left alone",
        "slowdown_found": f"a slowdown of {100 * section['slowdown']:.3g} % was found",
    }
    found = []
    for name, rate in section.get("rates", {}).items():
        if rate < GOOD_RATE:
            found.append(f"{texts[name]} in {100 * rate:.3g} % of the measurements only")
    coverage = section.get("coverage")
    if coverage is not None and is_too_low(coverage["held"], coverage["of"]):
        found.append(
            f"{coverage['held']} of {coverage['of']} intervals of equal arms hold 1, which is too "
            "few for intervals of 95 %"
        )
    for name, fault in section["faults"].items():
        if not fault["found"]:
            found.append(f"the fault {name} was not found")
    return found


def _cell_of(measured: schema.Repetition) -> str:
    """Return which of the four combinations of starting and naming a measurement belongs to."""
    names = "exchanged names" if measured.get("swapped") else "own names"
    return f"{measured.get('started_first', 'nobody known')} started first, {names}"


def _rate(measured: Sequence[schema.Repetition], *right: str) -> float:
    counts = Counter(judged.get("verdict") for judged in measured)
    return sum(counts[word] for word in right) / len(measured)
