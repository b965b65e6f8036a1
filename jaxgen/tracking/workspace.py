"""The child process that builds a wandb report: `python -m jaxgen.tracking.workspace TASK_FILE`.

Either it writes the report's specification to a file, which needs no server; or it saves the report
on the server and prints its address. Its parent limits its time.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxgen.results.files import write_atomically
from jaxgen.tracking.report_sheet import Selection, Sheet, Task
from jaxgen.tracking.wandb import entity, without_unneeded

_MAX_TITLE = 128
_PLAIN_GROUP = re.compile(r"[\w .:+-]+")


def main(task: Task) -> str:
    """Build the report.

    Returns:
        The path of its specification, or the address that it was saved at.
    """
    import wandb_workspaces.reports.v2.interface as reports

    selection = task.selection
    # A specification names no entity that only the server knows.
    owner = selection.entity or ("" if task.spec else entity())
    project: dict[str, Any] = {}
    if task.spec is None:
        project = {"entity": owner, "project": selection.project}
    panels = reports.PanelGrid(
        runsets=list(_run_sets(selection, project)), panels=list(_panels(task.sheet))
    )
    report = reports.Report(
        project=selection.project,
        entity=owner,
        title=task.sheet.title[:_MAX_TITLE],
        blocks=[
            reports.MarkdownBlock(text=task.sheet.opening),
            panels,
            reports.MarkdownBlock(text=task.sheet.closing),
        ],
        width="fluid",
    )
    if task.spec is None:
        report.save()
        return _address(report.url)
    # There is no public way to a specification without saving it. This line is why the version of
    # wandb-workspaces is bounded.
    spec = report._to_model().spec
    text = spec.model_dump_json(by_alias=True, exclude_none=True, indent=2)
    write_atomically(Path(task.spec), text + "\n")
    return task.spec


def _run_sets(selection: Selection, project: dict[str, Any]) -> Iterator[Any]:
    """Yield a run set for each arm.

    The ids decide which runs are in it; group and job type show a reader what they have in common.
    """
    import wandb_workspaces.expr as expr
    import wandb_workspaces.reports.v2.interface as reports

    common = []
    # Filters pass through a text in which an equals sign or a quote of a group's name is lost.
    if all(_PLAIN_GROUP.fullmatch(group) for group in selection.groups):
        common.append(expr.Metric("Group").isin(list(selection.groups)))
    for arm, ids in selection.runs.items():
        filters = [*common, expr.Metric("JobType") == arm, expr.Metric("ID").isin(list(ids))]
        yield reports.Runset(name=arm, filters=filters, **project)


def _panels(sheet: Sheet) -> Iterator[Any]:
    """Yield the panels: ratios, every trial, every median, and what the runs differ in."""
    import wandb_workspaces.reports.v2.interface as reports

    for name in sheet.ratios:
        title = f"{name}: candidate against baseline, above 1 is better"
        key = f"against_baseline.{name}.ratio"
        # One number can stand for itself; several runs have a bar each.
        if sheet.several:
            yield reports.BarPlot(title=title, metrics=[key])
        else:
            yield reports.ScalarChart(title=title, metric=key)
    for name, heading in sheet.metrics.items():
        # Not smoothed: the one slow trial is what a reader looks for.
        yield reports.LinePlot(
            title=f"{heading}, every trial",
            x="trial/index",
            y=[f"trial/{name}"],
            smoothing_factor=0.0,
        )
    for name, heading in sheet.metrics.items():
        yield reports.BarPlot(title=f"{heading}, median", metrics=[f"metrics.{name}.median"])
    yield reports.RunComparer(diff_only="split", layout=reports.Layout(w=24, h=12))


def _address(url: str) -> str:
    """Return a report's address with a title of letters that need no quotes.

    The title stands before the report's id, and the server does not read it.
    """
    place, _, name = url.partition("/reports/")
    title, _, identity = name.rpartition("--")
    plain_title = re.sub(r"[^A-Za-z0-9.]+", "-", title).strip("-")
    return f"{place}/reports/{plain_title}--{identity}"


if __name__ == "__main__":
    without_unneeded()
    plain_task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(main(Task.from_plain(plain_task)))
