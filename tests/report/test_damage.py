"""Results that are hostile, poor or damaged: a report shows them as they are, or refuses them."""

import copy
import json
import re

import pytest

from jaxgen.errors import UserError
from jaxgen.report import rendering
from jaxgen.report.page import page_of
from jaxgen.report.plots import choose
from jaxgen.report.plots.drawing import Drawing
from jaxgen.report.points import points_of
from jaxgen.report.writing import write_report
from jaxgen.results.collection import StoredRun, collect
from support import stored_runs
from support.report_pages import outline, texts
from support.stored_runs import arm, result, write

HOSTILE = "<script>alert(1)</script>|`*_$x$\n# h <img src=x onerror=alert(1)> ✓ 漢"


def test_whatever_stands_in_a_result_is_text(tmp_path):
    hostile = result(notes=[HOSTILE], command=HOSTILE, verdict_reason=HOSTILE)
    failure = dict.fromkeys(("kind", "message", "traceback"), HOSTILE)
    candidate = arm(2.0, cache=HOSTILE, model=HOSTILE) | {"failure": failure}
    hostile["arms"]["candidate"] = candidate
    hostile["environment"] = hostile["environment"] | {"cpu": HOSTILE}
    pages = texts(write(tmp_path / "run", hostile))
    parsed = outline(pages["html"])
    assert len(parsed.of("script")) == 1
    assert not parsed.of("img")
    assert not any(key.startswith("on") for _, attributes in parsed.seen for key in attributes)
    outside = re.sub(r"^(`{3,})\n.*?\n\1$", "", pages["md"], flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"(?<!\\)<(script|img)", outside)
    tables = [line for line in outside.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables[:4]} == {5}


def test_what_is_null_is_left_out_and_not_drawn_as_zero(tmp_path):
    poor = result()
    for candidate_or_baseline in poor["arms"].values():
        candidate_or_baseline["memory"] = dict.fromkeys(candidate_or_baseline["memory"])
        candidate_or_baseline["roofline"] = dict.fromkeys(candidate_or_baseline["roofline"])
        candidate_or_baseline["startup"]["compile_s"] = None
        del candidate_or_baseline["metrics"]["ttft_s"]
    written = write_report([write(tmp_path / "run", poor)])
    assert {plot.name for plot in written.left_out} == {"memory", "roofline", "latency"}
    page = written.markdown.read_text()
    assert "Not known of every arm, and missing in its bar: compile, first calls." in page
    assert " 0 " not in page.split("## Environment")[0]


def described(runs):
    """Describe every plot of some runs; none is drawn."""
    points = points_of(runs)
    of_first_run = [point for point in points if point.run is runs[0]]
    return [*choose.overview(points), *choose.of_run(of_first_run)]


def paths(section, above=()):
    """Yield the path to everything in a result."""
    members = section.items() if isinstance(section, dict) else enumerate(section)
    for key, value in members:
        path = (*above, key)
        yield path
        if isinstance(value, dict) or (isinstance(value, list) and len(value) < 4):
            yield from paths(value, path)


@pytest.mark.parametrize("value", [None, "x", {}, "gone"], ids=repr)
def test_no_damage_breaks_a_report(tmp_path, value):
    """Something else stands at each key of a result in turn: it is refused, or shown without it."""
    whole = result(cases=stored_runs.cases((1, 2)))
    folder = write(tmp_path / "run")
    for path in list(paths(whole)):
        damaged = copy.deepcopy(whole)
        section = damaged
        *above, last = path
        for key in above:
            section = section[key]
        if value == "gone":
            del section[last]
        else:
            section[last] = value
        (folder / "result.json").write_text(json.dumps(damaged))
        try:
            runs = collect([folder]).runs
        except UserError:
            continue
        show(runs, path)


def show(runs: tuple[StoredRun, ...], path) -> None:
    try:
        left_out = [plot for plot in described(runs) if not isinstance(plot, Drawing)]
        page = page_of(points_of(runs), unread=(), plots=[], plots_of_runs={}, left_out=left_out)
        assert rendering.html(page)
        assert rendering.markdown(page)
    except Exception as error:
        raise AssertionError(f"a change at {path} breaks the report") from error
