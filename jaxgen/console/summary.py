"""A finished result as tables and sentences for the terminal: what is shown, and in which order."""

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from jaxgen.console import gate, studies
from jaxgen.console.arms_table import arms_table
from jaxgen.console.cases_table import cases_table
from jaxgen.results import formatting, means, roofline_words
from jaxgen.results.schema import Result
from jaxgen.specs.arm import Arm


def parts(arms: Mapping[str, Arm], result: Result) -> Iterator[RenderableType]:
    """Yield everything that is shown above the verdict, in order.

    Args:
        arms: by name, the candidate first.
        result: of the run, finished or failed.
    """
    calibration, selftest = result.get("calibration"), result.get("selftest")
    # A study is about jaxgen itself: it has no arms to be told apart.
    if calibration is not None:
        yield from studies.calibration_lines(calibration)
    elif selftest is not None:
        yield from studies.selftest_lines(selftest)
    else:
        yield from _comparison_parts(arms, result)
    yield from _notes(result["notes"])


def brief(result: Result) -> Iterator[RenderableType]:
    """Yield what even a quiet run says above its verdict: the outcome of a study or a gate.

    Args:
        result: of the run; a failed one has its notes shown too.
    """
    calibration, selftest = result.get("calibration"), result.get("selftest")
    if calibration is not None:
        yield from studies.start_spread(calibration)
    elif selftest is not None:
        yield from studies.selftest_lines(selftest)
    else:
        outcome = result.get("gate")
        if outcome is not None:
            yield gate.outcome_line(outcome)
    # Without them nobody could say why a run failed.
    if result["status"] == "failed":
        yield from _notes(result["notes"])


def _comparison_parts(arms: Mapping[str, Arm], result: Result) -> Iterator[RenderableType]:
    # The arms first, then case by case, then what explains the figures.
    yield arms_table(arms, result)
    if result["cases"]:
        yield cases_table(list(arms), result["cases"])
    yield from _steps(result)
    # A figure behind a ± reads like an uncertainty of the mean, and is none.
    measured = any(arm["metrics"] for arm in result["arms"].values())
    if measured or result["cases"]:
        yield Text(f"cells: {means.CELLS}", style="dim")
    yield from _divergence(result)
    yield from _profiles(result)
    # The gate comes last, next to the verdict below it: it decides the exit code.
    outcome = result.get("gate")
    if outcome is not None:
        yield from gate.gate_parts(outcome)


def _notes(notes: list[str]) -> Iterator[Text]:
    for note in notes:
        yield Text(f"note: {note}", style="yellow")


def _steps(result: Result) -> Iterator[Text]:
    """Say of each arm how much of a step its work explains."""
    for name, arm in result["arms"].items():
        words = roofline_words.step_in_words(arm.get("roofline"))
        if words is not None:
            yield Text(f"{name:<9} {words}")


def _divergence(result: Result) -> Iterator[Text]:
    """Show where the outputs part first, with the words of both arms around it."""
    agreement = result["agreement"]
    divergence = agreement.get("first_divergence") if agreement else None
    # Only the first place is shown: behind it each arm goes on from another text.
    if divergence is None:
        return
    index = divergence.get("index")
    position = divergence.get("position")
    yield Text(f"prompt {index} parts at new token {position}:", style="bold")
    for arm, text in (divergence.get("excerpt") or {}).items():
        yield Text(f"  {arm:<9} {text}")


def _profiles(result: Result) -> Iterator[Table]:
    """Show a table for each arm whose calls were profiled."""
    for name, arm in result["arms"].items():
        profile = arm.get("profile")
        if profile:
            yield _profile_table(name, profile["operations"])


def _profile_table(arm: str, operations: list[Mapping]) -> Table:
    """Make the table of the operations that take most of an arm's time."""
    table = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        title=f"{arm}: where the time goes",
    )
    for column in ("operation", "of"):
        table.add_column(column)
    for column in ("count", "total, ms", "share"):
        table.add_column(column, justify="right")
    for operation in operations:
        total_ms = formatting.number(1e3 * operation["total_s"], digits=3)
        meaning = operation["meaning"] or ""
        table.add_row(
            operation["name"],
            f"{operation['program']} {meaning}",
            str(operation["count"]),
            total_ms,
            formatting.percent(operation["share"]),
        )
    return table
