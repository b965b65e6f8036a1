"""The two pages: what a report says, gathered once, and set by the templates as Markdown and as HTML."""

import base64
import dataclasses
import functools
import hashlib
import importlib.resources
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxgen.report import tables, words
from jaxgen.report.plots.drawing import LeftOut, Plot
from jaxgen.report.points import Point, at, differences
from jaxgen.report.tables import Table
from jaxgen.results.collection import StoredRun, Unread

if TYPE_CHECKING:
    import jinja2

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~$&])")
_BADGE_WORDS = ("faster", "slower", "equivalent", "inconclusive", "invalid", "failed")


@dataclasses.dataclass(frozen=True)
class RunPart:
    """One run, where there are several, or what else there is to say of the only one."""

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
        points: None where there is one point, whose table is its run's.
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
    plots_of_runs: dict[str, list[Plot]],
    left_out: list[LeftOut],
) -> Page:
    """Gathers a page.

    Args:
        points: of all runs, in their order.
        plots_of_runs: by the run's name.
        left_out: plots that could not be drawn.
    """
    runs = list({point.run.folder: point.run for point in points}.values())
    alone = len(runs) == 1 and not unread
    sentence = (
        words.sentence_of(runs[0]) if alone else words.sentence_of_all(points, unread=len(unread))
    )
    parts = [_run_part(run, points, plots_of_runs.get(run.name, [])) for run in runs]
    return Page(
        title=_title(points, unread=len(unread)),
        badge=words.badge(runs) if alone else None,
        sentence=sentence,
        about=_about(runs),
        points=tables.points_table(points, unread) if len(points) > 1 or unread else None,
        runs=parts,
        plots=plots,
        left_out=left_out,
        unread=unread,
        environment=tables.facts_table("Where it was measured", words.environment_rows(runs)),
        commands=list(dict.fromkeys(str(run.result.get("command") or "unknown") for run in runs)),
    )


def markdown(page: Page) -> str:
    """To be pasted into a pull request: tables and sentences first, pictures as files beside it."""
    return _markdown("report.md.j2", page)


def opening(page: Page) -> str:
    """What stands above the panels of a wandb report: the verdict and the tables."""
    return _markdown("wandb-opening.md.j2", page)


def closing(page: Page) -> str:
    """What stands below them: where it was measured, and how to reproduce it."""
    return _markdown("wandb-closing.md.j2", page)


def html(page: Page) -> str:
    """One file that needs no other and no network."""
    style, script = _asset("report.css"), _asset("tables.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    badge = page.badge if page.badge in _BADGE_WORDS else None
    template = _environment(html=True).get_template("report.html.j2")
    return template.render(page=page, badge=badge, style=style, script=script, script_digest=digest)


def _markdown(template: str, page: Page) -> str:
    text = _environment(html=False).get_template(template).render(page=page)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _run_part(run: StoredRun, points: Sequence[Point], plots: list[Plot]) -> RunPart:
    own = [point for point in points if point.run is run]
    whole = own[0] if len(own) == 1 else Point(run, 0, {}, run.result)
    gate = run.result.get("gate")
    settings = own[0].settings.items() if len(own) == 1 else _shared(own)
    return RunPart(
        run=run,
        label=" ".join(f"{key}={value}" for key, value in settings),
        sentence=words.sentence_of(run),
        warnings=words.warnings_of(run),
        arms=tables.arms_table(whole),
        gate=tables.gate_table(gate) if gate else None,
        divergence=_divergence(own),
        tracebacks=list(words.tracebacks(run)),
        measurement=tables.facts_table("How it was measured", words.measurement_rows(run)),
        command=words.command_of(run),
        commit=words.commit_of(run),
        plots=plots,
    )


def _shared(points: Sequence[Point]) -> list[tuple[str, str]]:
    """The settings that all cases of a run have in common."""
    first = points[0].settings
    return [
        (key, value)
        for key, value in first.items()
        if all(p.settings.get(key) == value for p in points)
    ]


def _divergence(points: Sequence[Point]) -> dict[str, str]:
    """Where the outputs part first, in each arm's words."""
    for point in points:
        first = at(point.block, "agreement", "first_divergence")
        if isinstance(first, dict):
            place = f"prompt {first.get('index')}, new token {first.get('position')}"
            return {"where": place} | {
                arm: str(told) for arm, told in (first.get("excerpt") or {}).items()
            }
    return {}


def _title(points: Sequence[Point], *, unread: int) -> str:
    settings = list(dict.fromkeys(key for point in points for key in point.settings))
    over = f" over {', '.join(settings[:4])}" if settings else ""
    if unread or len({point.run.folder for point in points}) > 1:
        return f"{len(points) + unread} points{over}"
    arms = _arms(points[0])
    return f"{arms}: {len(points)} cases{over}" if len(points) > 1 else arms


def _arms(point: Point) -> str:
    if "baseline" not in point.arms:
        return "The candidate alone"
    told = differences(point)
    shown = [
        " ".join(f"{key}={each[arm]}" for key, each in list(told.items())[:3])
        for arm in ("candidate", "baseline")
    ]
    return " against ".join(shown) if told else "The candidate against itself"


def _about(runs: Sequence[StoredRun]) -> str:
    models = ", ".join(dict.fromkeys(words.model_of(run) for run in runs))
    dates = sorted(words.date_of(run) for run in runs)
    span = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    cpus = dict.fromkeys(str(at(run.result.get("environment"), "cpu") or "") for run in runs)
    devices = dict.fromkeys(
        str(at(run.result.get("environment"), "device_kind") or "") for run in runs
    )
    where = [text for text in (*devices, *cpus) if text]
    return " · ".join([models, f"{span} UTC", *([" on ".join(where)] if where else [])])


@functools.cache
def _asset(name: str) -> str:
    return (importlib.resources.files("jaxgen.report") / "templates" / name).read_text(
        encoding="utf-8"
    )


@functools.cache
def _environment(*, html: bool) -> "jinja2.Environment":
    """HTML escapes by itself; in Markdown, whatever comes from a result loses its special meaning."""
    import jinja2

    loader = jinja2.PackageLoader("jaxgen.report", "templates")
    settings: dict[str, Any] = {"loader": loader, "trim_blocks": True, "lstrip_blocks": True}
    settings |= {"undefined": jinja2.StrictUndefined, "autoescape": html}
    environment = (
        jinja2.Environment(**settings) if html else jinja2.Environment(**settings, finalize=_plain)
    )
    environment.filters |= {"fenced": _fenced, "as_is": _Verbatim, "tight": _tight}
    return environment


class _Verbatim(str):
    """Markdown that is meant as such."""


def _plain(value: Any) -> Any:
    """One line whose letters mean themselves; mentions do not notify anyone."""
    if isinstance(value, _Verbatim) or not isinstance(value, str):
        return value
    return _SPECIAL.sub(r"\\\1", " ".join(value.split())).replace("@", "@\u200b")


def _tight(text: str) -> str:
    """A figure, its spread, its interval and its unit are not torn apart at the end of a line."""
    within = re.sub(r"\[[^\[\]]*\]", lambda found: found[0].replace(" ", "\u00a0"), text)
    return re.sub(r"(?<=\d) (?=(?:±|%|kB|MB|GB|s|ms)\b|±|%)|(?<=±) ", "\u00a0", within)


def _fenced(text: str) -> _Verbatim:
    """A block of code, with a fence longer than any inside."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`+", text))])
    return _Verbatim(f"{fence}\n{text.strip()}\n{fence}")
