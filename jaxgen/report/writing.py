"""From paths to files: read the runs, draw the plots, gather the page, write it in each form."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxgen.errors import UserError
from jaxgen.report import rendering
from jaxgen.report.page import Page, page_of
from jaxgen.report.plots import choose
from jaxgen.report.plots.drawing import Drawing, LeftOut, Plot
from jaxgen.report.plots.render import render
from jaxgen.report.points import Point, points_of
from jaxgen.results.collection import StoredRun, Unread, collect
from jaxgen.results.files import write_atomically

MARKDOWN, HTML, PLOTS = "report.md", "report.html", "plots"
_PLOT_FILES = re.compile(
    r"(trials|ratios|repetitions|heat-map|scaling|latency|startup|memory|roofline"
    r"|run-.+-(trials|ratios|repetitions))\.(png|svg)"
)
"""The names of plots that a report may have written; a user's own files in the folder stay."""


@dataclasses.dataclass(frozen=True)
class Written:
    """What a report is made of, on disk.

    Attributes:
        page: what it says.
        markdown: the page as Markdown.
        html: the page as HTML.
        plots: the PNG files; beside each lies an SVG.
        left_out: plots that could not be drawn, with the reason.
        unread: runs of a folder that could not be shown, with the reason.
    """

    page: Page
    markdown: Path
    html: Path
    plots: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]
    unread: tuple[Unread, ...]


@dataclasses.dataclass
class _Plots:
    """The plots of a report, those of each run by its name, and what could not be drawn."""

    overview: list[Plot] = dataclasses.field(default_factory=list)
    of_runs: dict[str, list[Plot]] = dataclasses.field(default_factory=dict)
    left_out: list[LeftOut] = dataclasses.field(default_factory=list)


def write_report(paths: Sequence[str | Path], *, out: str | Path | None = None) -> Written:
    """Write `report.md`, `report.html` and `plots/*.png` and `*.svg` of finished runs.

    Args:
        paths: run folders, folders of runs (such as a sweep's) or result.json files.
        out: the folder to write to. By default that of the one run or sweep; of several, `report`
            in the folder that they have in common.

    Returns:
        Where everything lies.

    Raises:
        UserError: there is nothing that can be shown, a run that was named cannot be, or the folder
            is not writable.
    """
    collection = collect(paths)
    points = points_of(collection.runs)
    # Before the page, which names the plots that could not be drawn.
    plots = _plots_of(points, collection.runs)
    page = page_of(
        points,
        unread=collection.unread,
        plots=plots.overview,
        plots_of_runs=plots.of_runs,
        left_out=plots.left_out,
    )
    drawn = list(plots.overview)
    for of_run in plots.of_runs.values():
        drawn += of_run
    # A report lies beside what it is of, unless it is of several folders.
    folder = collection.home if out is None else Path(out)
    return _write(folder, page, drawn)


def _plots_of(points: Sequence[Point], runs: Sequence[StoredRun]) -> _Plots:
    """Draw what there is to draw of all points together and of each run."""
    plots = _Plots()
    plots.overview, plots.left_out = _drawn(choose.overview(points))
    # The plots of the only point are those of the overview.
    if len(points) == 1:
        return plots
    if len(runs) > choose.MOST_RUNS:
        reason = f"{len(runs)} runs are more than {choose.MOST_RUNS}; report one to see its trials"
        plots.left_out.append(LeftOut("run-trials", "the trials of each run", reason))
        return plots
    # A sweep's runs have their own trials; all else is drawn for all of them together.
    for run in runs:
        own = []
        for point in points:
            if point.run is run:
                own.append(point)
        plots.of_runs[run.name], left_out = _drawn(choose.of_run(own))
        plots.left_out += left_out if len(runs) == 1 else _of_run(left_out, run)
    return plots


def _drawn(described: Iterable[Drawing | LeftOut]) -> tuple[list[Plot], list[LeftOut]]:
    drawings: list[Drawing] = []
    left_out: list[LeftOut] = []
    for plot in described:
        if isinstance(plot, Drawing):
            drawings.append(plot)
        else:
            # What could not be drawn is named on the page, never skipped in silence.
            left_out.append(plot)
    return render(drawings), left_out


def _of_run(left_out: Sequence[LeftOut], run: StoredRun) -> list[LeftOut]:
    """Say of which run a plot is missing."""
    named = []
    for plot in left_out:
        named.append(dataclasses.replace(plot, subject=f"{plot.subject}, run {run.name}"))
    return named


def _write(folder: Path, page: Page, plots: Sequence[Plot]) -> Written:
    # All is made before anything is written: if a template fails, the earlier report stays whole.
    files: dict[Path, bytes] = {}
    for plot in plots:
        files[folder / PLOTS / f"{plot.name}.png"] = plot.png
        files[folder / PLOTS / f"{plot.name}.svg"] = plot.svg
    # The pages come last: they name the pictures, which must be there by then.
    files[folder / MARKDOWN] = rendering.markdown(page).encode()
    files[folder / HTML] = rendering.html(page).encode()
    try:
        (folder / PLOTS).mkdir(parents=True, exist_ok=True)
        # A picture that the page does not name any more would be taken for one of this report.
        _remove_old_plots(folder / PLOTS, new=files)
        for path, contents in files.items():
            write_atomically(path, contents)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{folder} cannot be written ({reason}); make room, or choose another with --out DIR"
        ) from error
    return Written(
        page=page,
        markdown=folder / MARKDOWN,
        html=folder / HTML,
        plots=tuple(path for path in files if path.suffix == ".png"),
        left_out=tuple(page.left_out),
        unread=page.unread,
    )


def _remove_old_plots(folder: Path, *, new: Iterable[Path]) -> None:
    """Remove the plots of an earlier report that this one does not have."""
    kept = set(new)
    for path in folder.iterdir():
        if _PLOT_FILES.fullmatch(path.name) and path not in kept:
            path.unlink()
