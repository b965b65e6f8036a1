"""Results that are hostile, poor or damaged: a report shows them as they are or refuses them by name."""

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
    told = result(notes=[HOSTILE], command=HOSTILE, verdict_reason=HOSTILE)
    told["arms"]["candidate"] = arm(2.0, cache=HOSTILE, model=HOSTILE)
    told["arms"]["candidate"]["failure"] = {
        "kind": HOSTILE,
        "message": HOSTILE,
        "traceback": HOSTILE,
    }
    told["environment"] = told["environment"] | {"cpu": HOSTILE}
    pages = texts(write(tmp_path / "run", told))
    parsed = outline(pages["html"])
    assert len(parsed.of("script")) == 1
    assert not parsed.of("img")
    assert not any(key.startswith("on") for _, attributes in parsed.seen for key in attributes)
    outside = re.sub(r"^(`{3,})\n.*?\n\1$", "", pages["md"], flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"(?<!\\)<(script|img)", outside)
    tables = [line for line in outside.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables[:4]} == {5}


def test_what_is_null_is_left_out_and_not_drawn_as_zero(tmp_path):
    told = result()
    for each in told["arms"].values():
        each["memory"] = dict.fromkeys(each["memory"])
        each["roofline"] = dict.fromkeys(each["roofline"])
        each["startup"]["compile_s"] = None
        del each["metrics"]["ttft_s"]
    written = write_report([write(tmp_path / "run", told)])
    assert {each.name for each in written.left_out} == {"memory", "roofline", "latency"}
    page = written.markdown.read_text()
    assert "Not known of every arm, and missing in its bar: compile, first calls." in page
    assert " 0 " not in page.split("## Environment")[0]


def described(runs):
    """Every plot of some runs, not yet drawn."""
    points = points_of(runs)
    return [
        *choose.overview(points),
        *choose.of_run([point for point in points if point.run is runs[0]]),
    ]


def places(block, above=()):
    """The path to everything in a result."""
    for key, value in block.items() if isinstance(block, dict) else enumerate(block):
        yield (*above, key)
        if isinstance(value, dict) or (isinstance(value, list) and len(value) < 4):
            yield from places(value, (*above, key))


@pytest.mark.parametrize("value", [None, "x", {}, "gone"], ids=repr)
def test_no_damage_breaks_a_report(tmp_path, value):
    """Each place of a result in turn is something else: it is refused by name, or shown without what is missing."""
    whole = result(cases=stored_runs.cases((1, 2)))
    folder = write(tmp_path / "run")
    for path in list(places(whole)):
        told = copy.deepcopy(whole)
        at = told
        for key in path[:-1]:
            at = at[key]
        if value == "gone":
            del at[path[-1]]
        else:
            at[path[-1]] = value
        (folder / "result.json").write_text(json.dumps(told))
        try:
            runs = collect([folder]).runs
        except UserError:
            continue
        shown(runs, path)


def shown(runs: tuple[StoredRun, ...], path) -> None:
    try:
        left_out = [each for each in described(runs) if not isinstance(each, Drawing)]
        page = page_of(points_of(runs), unread=(), plots=[], plots_of_runs={}, left_out=left_out)
        assert rendering.html(page)
        assert rendering.markdown(page)
    except Exception as error:
        raise AssertionError(f"a change at {path} breaks the report") from error
