"""What a report says, gathered once for every form in which it is written."""

import dataclasses
from collections.abc import Mapping, Sequence

from jaxgen.report import run_facts, sentences
from jaxgen.report.failures import tracebacks
from jaxgen.report.lookup import value_at
from jaxgen.report.plots.drawing import LeftOut, Plot
from jaxgen.report.points import Point, whole_run
from jaxgen.report.run_warnings import warnings_of
from jaxgen.report.settings import as_overrides, sides
from jaxgen.report.tables.arms import arms_table
from jaxgen.report.tables.cells import Table, facts_table
from jaxgen.report.tables.gate import gate_table
from jaxgen.report.tables.points import points_table
from jaxgen.results.collection import StoredRun, Unread

_MOST_SETTINGS_IN_TITLE = 4


@dataclasses.dataclass(frozen=True)
class RunPart:
    """What a page says of one run: beside the points where there are several, else all of it.

    Attributes:
        label: the settings that all points of the run share.
        divergence: where the outputs part first (`where`), and each arm's words there.
        tracebacks: the name of each failed arm, and what it left behind.
    """

    run: StoredRun
    label: str
    sentence: str
    warnings: list[str]
    arms: Table
    gate: Table | None
    divergence: dict[str, str]
    tracebacks: list[tuple[str, str]]
    measurement: Table
    command: str
    commit: str | None
    plots: list[Plot]


@dataclasses.dataclass(frozen=True)
class Page:
    """Everything that a report says.

    Attributes:
        badge: one word for the verdict; None where there are several runs.
        about: models, dates and machines, in one line.
        points: None where there is one point, whose table is its run's.
        plots: those of the whole report; each run has its own.
        left_out: plots that could not be drawn.
        unread: runs that cannot be shown.
        commands: as they were typed; a sweep's runs have one in common.
    """

    title: str
    badge: str | None
    sentence: str
    about: str
    points: Table | None
    runs: list[RunPart]
    plots: list[Plot]
    left_out: list[LeftOut]
    unread: tuple[Unread, ...]
    environment: Table
    commands: list[str]


def page_of(
    points: Sequence[Point],
    *,
    unread: tuple[Unread, ...],
    plots: list[Plot],
    plots_of_runs: Mapping[str, list[Plot]],
    left_out: list[LeftOut],
) -> Page:
    """Gather a page.

    Args:
        points: those of all runs, in their order.
        unread: runs that cannot be shown.
        plots: those of the whole report.
        plots_of_runs: the plots of each run, by its name.
        left_out: plots that could not be drawn.
    """
    runs_by_folder = {}
    for point in points:
        runs_by_folder[point.run.folder] = point.run
    runs = list(runs_by_folder.values())
    parts = []
    for run in runs:
        plots_of_run = plots_of_runs.get(run.name, [])
        parts.append(_run_part(run, points, plots_of_run))
    # One run is told by its verdict, several by how many came out in which way.
    if len(runs) == 1 and not unread:
        badge = sentences.badge(runs)
        sentence = sentences.sentence_of(runs[0])
    else:
        badge = None
        sentence = sentences.sentence_of_all(points, unread=len(unread))
    has_table = len(points) > 1 or len(unread) > 0
    environment = run_facts.environment_facts(runs)
    return Page(
        title=_title(points, unread=len(unread)),
        badge=badge,
        sentence=sentence,
        about=_about(runs),
        points=points_table(points, unread) if has_table else None,
        runs=parts,
        plots=plots,
        left_out=left_out,
        unread=unread,
        environment=facts_table("Where it was measured", environment),
        commands=_commands_of(runs),
    )


def _commands_of(runs: Sequence[StoredRun]) -> list[str]:
    """Return the commands as they were typed; the one of a sweep's runs comes once."""
    commands: dict[str, None] = {}
    for run in runs:
        # Not `run_facts.command_of`, which is about one point: this is what was typed for all.
        command = run.result.get("command") or "unknown"
        commands[command] = None
    return list(commands)


def _run_part(run: StoredRun, points: Sequence[Point], plots: list[Plot]) -> RunPart:
    own = [point for point in points if point.run is run]
    shared_settings = _shared_settings(own)
    # The arms of a run with cases are shown once, with what all cases have in common.
    point = own[0] if len(own) == 1 else whole_run(run)
    gate = run.result.get("gate")
    # The plan, the margin and the blocks are each run's own; the environment is told once for all.
    measurement = run_facts.measurement_facts(run)
    return RunPart(
        run=run,
        label=as_overrides(shared_settings),
        sentence=sentences.sentence_of(run),
        warnings=warnings_of(run),
        arms=arms_table(point),
        gate=gate_table(gate) if gate else None,
        divergence=_divergence(own),
        tracebacks=tracebacks(run),
        measurement=facts_table("How it was measured", measurement),
        command=run_facts.command_of(run),
        commit=run_facts.commit_of(run),
        plots=plots,
    )


def _shared_settings(points: Sequence[Point]) -> dict[str, str]:
    """Return the settings that all cases of a run have in common."""
    shared = {}
    for key, value in points[0].settings.items():
        values = [point.settings.get(key) for point in points]
        # The others differ from case to case, and stand in the rows of the cases.
        if set(values) == {value}:
            shared[key] = value
    return shared


def _divergence(points: Sequence[Point]) -> dict[str, str]:
    """Return where the outputs of a point part first, in each arm's words; the first such point."""
    for point in points:
        divergence = value_at(point.section, "agreement", "first_divergence")
        if not isinstance(divergence, dict):
            continue
        index = divergence.get("index")
        position = divergence.get("position")
        words = {"where": f"prompt {index}, new token {position}"}
        # A scoring run parts at a score, and has no words around it.
        excerpt = divergence.get("excerpt") or {}
        for arm, text in excerpt.items():
            words[arm] = str(text)
        return words
    return {}


def _title(points: Sequence[Point], *, unread: int) -> str:
    settings: dict[str, None] = {}
    for point in points:
        settings.update(dict.fromkeys(point.settings))
    over = ""
    if settings:
        first_settings = list(settings)[:_MOST_SETTINGS_IN_TITLE]
        over = f" over {', '.join(first_settings)}"
    # A grid is one run, and is named by its arms; a sweep has several arms and is not.
    folders = {point.run.folder for point in points}
    if unread or len(folders) > 1:
        return f"{len(points) + unread} points{over}"
    arms = _arms_of(points[0])
    if len(points) > 1:
        return f"{arms}: {len(points)} cases{over}"
    return arms


def _arms_of(point: Point) -> str:
    """Name both arms of a run by what they differ in: `cache=fixed against cache=none`."""
    if "baseline" not in point.arms:
        return "The candidate alone"
    described = sides(point.arms, most=3)
    return " against ".join(described) or "The candidate against itself"


def _about(runs: Sequence[StoredRun]) -> str:
    """Name the models, the span of the dates, and the machines: `tiny · 2026-11-21 UTC · cpu`."""
    models = [run_facts.model_of(run) for run in runs]
    dates = [run_facts.date_of(run) for run in runs]
    # The text of a date sorts as the date does.
    first, last = min(dates), max(dates)
    span = first if first == last else f"{first} to {last}"
    parts = [", ".join(dict.fromkeys(models)), f"{span} UTC"]
    machines = _of_environments(runs, "device_kind")
    machines += _of_environments(runs, "cpu")
    if machines:
        parts.append(" on ".join(machines))
    return " · ".join(parts)


def _of_environments(runs: Sequence[StoredRun], key: str) -> list[str]:
    """Return the different values of a key of the environments."""
    values: dict[str, None] = {}
    for run in runs:
        environment = run.result.get("environment")
        value = value_at(environment, key)
        if value:
            values[str(value)] = None
    return list(values)
