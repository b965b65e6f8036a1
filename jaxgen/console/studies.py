"""What a study found, on the terminal: how starts differ, or how often jaxgen was right."""

from collections.abc import Iterator

from rich.text import Text

from jaxgen.results import formatting
from jaxgen.results.schema import Calibration, Selftest


def start_spread(calibration: Calibration) -> Iterator[Text]:
    """Yield the line with the start spread; none if the study failed before it had one.

    Args:
        calibration: the section of that name of a result.
    """
    spread = calibration.get("start_spread")
    if spread is None:
        return
    key = calibration.get("key")
    percent = f"{100 * spread['deviation']:.2f} %"
    yield Text(f"start spread of {key}: {percent}", style="bold")


def calibration_lines(calibration: Calibration) -> Iterator[Text]:
    """Yield the start spread, what it is made of, and what it is good for.

    Args:
        calibration: the section of that name of a result.
    """
    spread = calibration.get("start_spread")
    if spread is None:
        return
    yield from start_spread(calibration)
    count = len(calibration["comparisons"])
    yield Text(f"{count} pairs of processes with equal arms; log ratios of candidate to baseline:")
    # The mean of each pair, so that one odd start is seen.
    for comparison in calibration["comparisons"]:
        means = comparison.get("block_means")
        if not means:
            continue
        percent = f"{100 * sum(means) / len(means):+.2f} %"
        error = comparison.get("standard_error")
        known = "" if error is None else f" ± {100 * error:.2f} %"
        first = comparison.get("started_first")
        yield Text(f"  {percent}{known}, the {first} started first")
    gain = spread["first_starter_gain"]
    if gain is not None:
        yield Text(f"who started first was faster by {100 * gain:+.2f} %")
    path = calibration.get("kept_in")
    yield Text(f"kept in {path}; from now on intervals of runs of this kind allow for it")


def selftest_lines(selftest: Selftest) -> Iterator[Text]:
    """Yield how often equal arms, a slowdown and the injected faults were judged right.

    Args:
        selftest: the section of that name of a result; a study that failed has no rates.
    """
    rates = selftest.get("rates")
    if rates is None:
        return
    margin = selftest.get("margin", 0.0)
    percent = f"{100 * margin:.2g} %"
    rate = formatting.percent(rates["same_left_alone"])
    count = len(selftest["same"])
    yield Text(f"equal arms left alone       {rate} of {count} measurements (margin {percent})")
    yield from _coverage_lines(selftest)
    slowdown = selftest["slowdown"]
    percent = f"{100 * slowdown:.0f} %"
    rate = formatting.percent(rates["slowdown_found"])
    count = len(selftest["slowed"])
    yield Text(f"{percent} slowdown found         {rate} of {count} measurements")
    # The selftest is run to see whether any fault is missed, so that it stands in capitals.
    faults = selftest["faults"]
    for name, fault in faults.items():
        outcome = "found" if fault["found"] else "NOT FOUND"
        reason = fault["reason"]
        yield Text(f"{name:<27} {outcome}: {reason}")


def _coverage_lines(selftest: Selftest) -> Iterator[Text]:
    """Yield how many intervals of equal arms hold 1, over all and by who started first."""
    coverage = selftest.get("coverage")
    if coverage is None:
        return
    held, of = coverage["held"], coverage["of"]
    low, high = coverage["ci95"]
    span = f"{formatting.percent(low)} to {formatting.percent(high)}"
    rate = formatting.percent(coverage["rate"])
    yield Text(f"their intervals hold 1       {held} of {of}: {rate}, 95 % interval {span}")
    for name, cell in coverage["cells"].items():
        yield Text(f"  {cell['held']} of {cell['of']}: {name}")
