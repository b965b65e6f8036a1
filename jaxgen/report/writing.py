"""From paths to files: read, draw, set, write."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from jaxgen.errors import UserError
from jaxgen.report import pages
from jaxgen.report.plots import choose
from jaxgen.report.plots.drawing import Drawing, LeftOut, Plot, render
from jaxgen.report.points import Point, points_of
from jaxgen.results.collection import Unread, collect
from jaxgen.results.files import write_atomically

MARKDOWN, HTML, PLOTS = "report.md", "report.html", "plots"
_OURS = re.compile(
    r"(trials|ratios|heat-map|scaling|latency|startup|memory|roofline|run-.+-(trials|ratios))\.(png|svg)"
)


@dataclasses.dataclass(frozen=True)
class Written:
    """What a report is made of, on disk.

    Attributes:
        page: what it says.
        plots: the PNG files; beside each lies an SVG.
        left_out: plots that could not be drawn, with the reason.
        unread: runs of a folder that could not be shown, with the reason.
    """

    page: pages.Page
    markdown: Path
    html: Path
    plots: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]
    unread: tuple[Unread, ...]


def write_report(paths: Sequence[str | Path], *, out: str | Path | None = None) -> Written:
    """Writes `report.md`, `report.html` and `plots/*.png` and `*.svg` of finished runs.

    Args:
        paths: run folders, folders of runs (such as a sweep's) or result.json files.
        out: the folder to write to. By default that of the one run or sweep; of several, `report` in the folder that
            they have in common.

    Returns:
        Where everything lies.

    Raises:
        UserError: there is nothing that can be shown, a run that was named cannot be, or the folder is not writable.
    """
    collection = collect(paths)
    points = points_of(collection.runs)
    drawn, left_out = _drawn(choose.overview(points))
    plots_of_runs: dict[str, list[Plot]] = {}
    by_run = [[point for point in points if point.run is run] for run in collection.runs]
    if len(points) > 1 and len(by_run) <= choose.MOST_RUNS:
        for own in by_run:
            plots_of_runs[own[0].run.name], missing = _drawn(choose.of_run(own))
            left_out += _named(missing, own, alone=len(by_run) == 1)
    elif len(points) > 1:
        reason = (
            f"{len(by_run)} runs are more than {choose.MOST_RUNS}; report one to see its trials"
        )
        left_out.append(LeftOut("run-trials", "the trials of each run", reason))
    page = pages.page_of(
        points,
        unread=collection.unread,
        plots=drawn,
        plots_of_runs=plots_of_runs,
        left_out=left_out,
    )
    folder = collection.home if out is None else Path(out)
    every = [*drawn, *(plot for plots in plots_of_runs.values() for plot in plots)]
    return _write(folder, page, every)


def _drawn(described: Sequence[Drawing | LeftOut]) -> tuple[list[Plot], list[LeftOut]]:
    drawings = [each for each in described if isinstance(each, Drawing)]
    return render(drawings), [each for each in described if isinstance(each, LeftOut)]


def _named(missing: Sequence[LeftOut], points: Sequence[Point], *, alone: bool) -> list[LeftOut]:
    """Says of which run a plot is missing."""
    name = points[0].run.name
    return [
        each if alone else dataclasses.replace(each, subject=f"{each.subject}, run {name}")
        for each in missing
    ]


def _write(folder: Path, page: pages.Page, plots: Sequence[Plot]) -> Written:
    files: dict[Path, bytes] = {}
    for plot in plots:
        files[folder / PLOTS / f"{plot.name}.png"] = plot.png
        files[folder / PLOTS / f"{plot.name}.svg"] = plot.svg
    files[folder / MARKDOWN] = pages.markdown(page).encode()
    files[folder / HTML] = pages.html(page).encode()
    try:
        (folder / PLOTS).mkdir(parents=True, exist_ok=True)
        for old in (
            folder / PLOTS
        ).iterdir():  # of an earlier report, whose plots this one may not have
            if _OURS.fullmatch(old.name) and old not in files:
                old.unlink()
        for path, contents in files.items():
            write_atomically(path, contents)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{folder} cannot be written ({reason}); make room, or choose another with --out DIR"
        ) from error
    pictures = tuple(path for path in files if path.suffix == ".png")
    return Written(
        page, folder / MARKDOWN, folder / HTML, pictures, tuple(page.left_out), page.unread
    )
