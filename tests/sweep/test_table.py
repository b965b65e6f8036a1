"""A sweep's record: every point a row, whatever became of it, on disk before the next begins."""

import csv
import io
import json
import math

import pytest
from rich.console import Console as Terminal

from jaxgen.__main__ import main
from jaxgen.errors import ExitCode
from jaxgen.results.files import SWEEP, SWEEP_TABLE
from jaxgen.sweep.rows import PointEnd
from jaxgen.sweep.table import Sweep
from support.small_runs import VERDICT, finished_result


@pytest.fixture
def sweep(tmp_path):
    """Three points: one measured, one that the user got wrong, one whose arm failed."""
    points = Sweep()
    (tmp_path / "0").mkdir()
    result = finished_result(tmp_path / "0", **VERDICT)
    (tmp_path / "0" / "result.json").write_text(json.dumps(result))
    points.add(["cache=fixed", "jit=aot"], tmp_path / "0", PointEnd(ExitCode.OK))
    wrong = PointEnd(ExitCode.USER_ERROR, reason="no such thing")
    points.add(["cache=none", "jit=aot"], tmp_path / "1", wrong)
    (tmp_path / "2").mkdir()
    result = finished_result(tmp_path / "2")
    result["arms"]["baseline"]["failure"] = {"message": "out of memory"}
    (tmp_path / "2" / "result.json").write_text(json.dumps(result | {"status": "failed"}))
    points.add(["cache=paged", "jit=aot"], tmp_path / "2", PointEnd(ExitCode.ARM_FAILED))
    return points


def test_every_point_is_a_row_with_its_figures_or_its_reason(sweep, tmp_path):
    measured, wrong, failed = json.loads((tmp_path / SWEEP).read_text())["points"]
    assert measured["overrides"] == {"cache": "fixed", "jit": "aot"}
    assert measured["metric"] == "tokens_per_s"
    # The geometric means, whose quotient is the ratio.
    assert measured["candidate"] == pytest.approx(200 * math.sqrt(1.01))
    assert measured["baseline"] == pytest.approx(100 * math.sqrt(1.01))
    assert measured["ratio"] == pytest.approx(2)
    assert (wrong["exit_code"], wrong["ratio"], wrong["reason"]) == (1, None, "no such thing")
    assert (failed["exit_code"], failed["status"], failed["reason"]) == (
        30,
        "failed",
        "out of memory",
    )
    assert failed["candidate"] == pytest.approx(200 * math.sqrt(1.01))
    assert (failed["ratio"], failed["low"]) == (None, None)  # no verdict, no speed-up


def test_the_csv_has_a_column_for_each_key(sweep, tmp_path):
    rows = list(csv.DictReader(io.StringIO((tmp_path / SWEEP_TABLE).read_text())))
    assert [row["cache"] for row in rows] == ["fixed", "none", "paged"]
    assert [row["candidate"][:5] for row in rows] == ["200.9", "", "200.9"]
    assert [row["folder"] for row in rows] == ["0", "1", "2"]


def test_the_files_are_there_after_each_point(tmp_path):
    points = Sweep()
    for number in range(2):
        points.add([f"jit={number}"], tmp_path / str(number), PointEnd(ExitCode.OK))
        assert len(json.loads((tmp_path / SWEEP).read_text())["points"]) == number + 1


def test_the_table_shows_what_varies_and_why_a_point_has_no_figures(sweep):
    terminal = Terminal(width=120)
    with terminal.capture() as shown:
        terminal.print(sweep.table())
    text = shown.get()
    assert "cache" in text
    assert "jit" not in text
    assert "no such thing" in text
    assert "2.00" in text


def test_what_a_gate_found_stands_beside_the_verdict(tmp_path):
    points = Sweep()
    for number, (status, code) in enumerate(
        {"passed": ExitCode.OK, "regression": ExitCode.REGRESSION}.items()
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        gate = {"status": status, "reason": "1 is worse"}
        (folder / "result.json").write_text(
            json.dumps(finished_result(folder) | VERDICT | {"gate": gate})
        )
        points.add([f"jit={number}"], folder, PointEnd(code))
    terminal = Terminal(width=150)
    with terminal.capture() as shown:
        terminal.print(points.table())
    assert shown.get().count("faster; gate: REGRESSION") == 1
    assert points.line().startswith("point 1 (jit=1): faster; gate: REGRESSION")
    assert [row["reason"] for row in points.rows] == [VERDICT["verdict_reason"], "1 is worse"]


def test_a_result_that_cannot_be_read_is_no_figures(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "result.json").write_text("{")
    points = Sweep()
    end = PointEnd(ExitCode.USER_ERROR, reason="RuntimeError: a bug")
    points.add(["jit=aot"], tmp_path / "0", end)
    assert (points.rows[0]["status"], points.rows[0]["reason"]) == (None, "RuntimeError: a bug")


def test_a_sweep_from_the_command_line_leaves_its_record_and_shows_it(place, executed, capsys):
    executed.answers["closure"] = ExitCode.INVALID
    executed.answers["partial"] = RuntimeError("a bug")
    assert main(["-m", "jit=closure,partial,aot"]) == ExitCode.INVALID
    (path,) = place.rglob(SWEEP)
    points = json.loads(path.read_text())["points"]
    assert [point["exit_code"] for point in points] == [20, 1, 0]
    assert points[1]["reason"] == "RuntimeError: a bug"
    assert "the sweep" in capsys.readouterr().out


def test_a_single_run_has_none(place, executed):
    assert main(["jit=closure"]) == ExitCode.OK
    assert not list(place.rglob(SWEEP))
