"""The child process that builds a wandb report: `python -m jaxgen.tracking.workspace TASK_FILE`.

Either it writes the report's specification to a file, which needs no server, or it saves the report and prints where.
Its parent limits its time.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxgen.results.files import write_atomically
from jaxgen.tracking.report_sheet import Selection, Sheet, Task
from jaxgen.tracking.wandb import entity, without_unneeded

_LONGEST_TITLE = 128
_PLAIN_GROUP = re.compile(r"[\w .:+-]+")


def main(task: Task) -> str:
    """Build the report; the path of its specification, or the address that it was saved at."""
    import wandb_workspaces.reports.v2.interface as reports

    owner = task.selection.entity or ("" if task.spec else entity())
    places: dict[str, Any] = (
        {} if task.spec else {"entity": owner, "project": task.selection.project}
    )
    report = reports.Report(
        project=task.selection.project,
        entity=owner,
        title=task.sheet.title[:_LONGEST_TITLE],
        blocks=[
            reports.MarkdownBlock(text=task.sheet.opening),
            reports.PanelGrid(
                runsets=list(_run_sets(task.selection, places)), panels=list(_panels(task.sheet))
            ),
            reports.MarkdownBlock(text=task.sheet.closing),
        ],
        width="fluid",
    )
    if task.spec is None:
        report.save()
        return _address(report.url)
    # There is no public way to a specification without saving it; the version is bounded for this line's sake.
    text = report._to_model().spec.model_dump_json(by_alias=True, exclude_none=True, indent=2)
    path = Path(task.spec)
    write_atomically(path, text + "\n")
    return task.spec


def _run_sets(selection: Selection, places: dict[str, Any]) -> Iterator[Any]:
    """One for each arm. Its ids decide; group and job type say to the reader what they have in common."""
    import wandb_workspaces.expr as expr
    import wandb_workspaces.reports.v2.interface as reports

    # Filters pass through a text in which an equals sign or a quote of a group's own name does not survive.
    plain = all(_PLAIN_GROUP.fullmatch(group) for group in selection.groups)
    common = [expr.Metric("Group").isin(list(selection.groups))] if plain else []
    for arm, ids in selection.runs.items():
        filters = [*common, expr.Metric("JobType") == arm, expr.Metric("ID").isin(list(ids))]
        yield reports.Runset(name=arm, filters=filters, **places)


def _panels(sheet: Sheet) -> Iterator[Any]:
    """Every trial, every median, the ratio, and what the runs differ in."""
    import wandb_workspaces.reports.v2.interface as reports

    by_metric: tuple[Callable[[str, str], Any], ...] = (
        lambda name, heading: reports.LinePlot(
            title=f"{heading}, every trial",
            x="trial/index",
            y=[f"trial/{name}"],
            smoothing_factor=0.0,
        ),
        lambda name, heading: reports.BarPlot(
            title=f"{heading}, median", metrics=[f"metrics.{name}.median"]
        ),
    )
    for name in sheet.ratios:
        title, key = (
            f"{name}: candidate against baseline, above 1 is better",
            f"against_baseline.{name}.ratio",
        )
        bars = reports.BarPlot(title=title, metrics=[key])
        yield bars if sheet.several else reports.ScalarChart(title=title, metric=key)
    for panel in by_metric:
        for name, heading in sheet.metrics.items():
            yield panel(name, heading)
    yield reports.RunComparer(diff_only="split", layout=reports.Layout(w=24, h=12))


def _address(url: str) -> str:
    """What stands before the report's id is its title, of which only letters that need no quotes may stand there."""
    place, _, name = url.partition("/reports/")
    title, _, identity = name.rpartition("--")
    return f"{place}/reports/{re.sub(r'[^A-Za-z0-9.]+', '-', title).strip('-')}--{identity}"


if __name__ == "__main__":
    without_unneeded()
    print(main(Task.from_plain(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
