"""What a study found, on the terminal: the noise floor, or how often jaxgen was right."""

from collections.abc import Iterator

from rich.text import Text

from jaxgen.results import formatting
from jaxgen.results.schema import Calibration, Selftest


def noise_floor(calibration: Calibration) -> Iterator[Text]:
    """Yield the line with the noise floor; none if the study failed before it had one.

    Args:
        calibration: the section of that name of a result.
    """
    floor = calibration.get("floor")
    if floor is None:
        return
    key = calibration.get("key")
    percent = f"{100 * floor:.2f} %"
    yield Text(f"noise floor of {key}: {percent}", style="bold")


def calibration_lines(calibration: Calibration) -> Iterator[Text]:
    """Yield the noise floor, and what verdicts would be worth without it.

    Args:
        calibration: the section of that name of a result.
    """
    rates = calibration.get("false_verdict_rates")
    if rates is None:
        return
    yield from noise_floor(calibration)
    # The same measurements are judged with three margins: what falls from row to row is what a
    # margin is worth.
    count = calibration.get("repetitions")
    yield Text(f"{count} measurements of an arm against itself; false verdicts among them:")
    without_margin = formatting.percent(rates["without_margin"])
    yield Text(f"  without any margin        {without_margin}")
    margin = calibration.get("default_margin", 0.0)
    default = f"{100 * margin:.0f} %"
    at_default = formatting.percent(rates["at_default_margin"])
    yield Text(f"  at the default of {default}     {at_default}")
    at_floor = formatting.percent(rates["at_noise_floor"])
    yield Text(f"  at the noise floor        {at_floor}")
    path = calibration.get("kept_in")
    yield Text(f"kept in {path}; from now on it is the margin where measure.margin is null")


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
