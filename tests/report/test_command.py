"""`python -m jaxgen.report` as it is typed: exit codes, mistakes, the list and its filters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxgen.errors import ExitCode
from jaxgen.report.__main__ import main
from support.stored_runs import RATIO, arm, invalid, result, sweep, write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder `runs` with four runs, in which the test stands."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs"
    gpt2 = {
        "candidate": arm(1.0, model="gpt2", cache="paged"),
        "baseline": arm(1.0, model="gpt2", cache="dynamic"),
    }
    write(root / "2026-11-20" / "one", result(started_at="2026-11-20T10:00:00+00:00"))
    write(root / "2026-11-21" / "two", invalid(started_at="2026-11-21T10:00:00+00:00"))
    write(
        root / "2026-11-21" / "three",
        result(started_at="2026-11-21T09:00:00+00:00", arms=gpt2, verdict="slower"),
    )
    (root / "broken").mkdir()
    (root / "broken" / "result.json").write_text("{")
    return root


def listed(capsys, *argv):
    """The rows of the list."""
    assert main(["--list", *argv]) == 0
    return capsys.readouterr().out.splitlines()[1:]


def test_a_report_names_the_files_that_it_wrote(tmp_path, capsys):
    folder = sweep(tmp_path / "sweep")
    assert main([str(folder)]) == 0
    printed = capsys.readouterr()
    pages = [str(folder / "report.html"), str(folder / "report.md")]
    assert printed.out.splitlines()[:2] == pages
    assert printed.err == "not shown: 3: its run is still running, or was killed\n"


MISTAKES = {
    "nothing": ([], "nothing to report"),
    "no such path": (["missing"], "missing does not exist"),
    "a filter without a list": (["runs", "--where", "cache=fixed"], "add --list"),
    "a filter that is none": (["--list", "--where", "fixed"], "--where fixed is no key=value"),
    "a key that no run has": (["--list", "--where", "cahce=fixed"], "no run has cahce; try date"),
    "an option that is none": (["--bad"], "unrecognized arguments: --bad"),
    "a list of two folders": (["--list", "runs", "runs"], "--list takes one folder"),
    "a list of no folder": (["--list", "missing"], "missing is no folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_1(runs, capsys, mistake):
    argv, words = MISTAKES[mistake]
    assert main(argv) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.count("\n") == 1


def test_the_list_shows_every_run_from_the_oldest(runs, capsys):
    rows = listed(capsys)
    assert [row.split()[-1] for row in rows[:3]] == [
        "2026-11-20/one",
        "2026-11-21/three",
        "2026-11-21/two",
    ]
    assert "cache=fixed / cache=none" in rows[0]
    assert RATIO in rows[0]
    assert "invalid" in rows[2]
    assert RATIO not in rows[2]
    assert "not shown" in rows[3]
    assert "broken JSON" in rows[3]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["cache=fixed"], ["one", "two"]),
        (["verdict=slower"], ["three"]),
        (["model=gpt2"], ["three"]),
        (["model=g*"], ["three"]),
        (["cache=fixed", "verdict=invalid"], ["two"]),
        (["baseline.cache=dynamic"], ["three"]),
        (["workload.batch_size=4"], ["one", "three", "two"]),
        (["cache.max_len=null", "date=2026-11-21"], ["three", "two"]),
    ],
)
def test_filters_are_anded(runs, capsys, filters, expected):
    options = []
    for condition in filters:
        options += ["--where", condition]
    rows = listed(capsys, "runs", *options)
    assert [row.split("/")[-1].strip() for row in rows] == expected


def test_a_filter_that_nothing_passes_says_so(runs, capsys):
    assert main(["--list", "--where", "verdict=equivalent"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "no run in runs passes"


def test_an_old_result_is_listed_with_the_reason_why_it_is_not_shown(runs, capsys):
    write(runs / "old", result(schema_version=0))
    *_, row = listed(capsys)
    assert row.lstrip().startswith("not shown")
    assert row.rstrip().endswith(
        "old: its schema_version is 0, and this jaxgen reads 1; measure again"
    )


def test_what_a_filter_cannot_be_asked_of_is_named_beside_the_list(runs, capsys):
    write(runs / "old", result(schema_version=0))
    assert main(["--list", "--where", "verdict=slower"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 2
    assert [line.split(":")[1] for line in printed.err.splitlines()] == [" broken", " old"]
    assert "its schema_version is 0" in printed.err


WITHOUT_VERDICT = {
    "nothing": ({}, "-"),
    "a gate": ({"gate": {"rows": [], "status": "passed", "reason": "no row is worse"}}, "passed"),
    "a calibration": ({"calibration": {"comparisons": []}}, "calibration"),
    "a selftest": ({"selftest": {"same": [], "slowed": []}}, "selftest"),
}


@pytest.mark.parametrize("what", WITHOUT_VERDICT)
def test_a_run_without_a_verdict_is_listed_by_what_else_it_found(what, tmp_path, capsys):
    found, shown = WITHOUT_VERDICT[what]
    write(tmp_path / "one", result(verdict=None, verdict_reason=None, comparison={}, **found))
    (row,) = listed(capsys, str(tmp_path))
    assert row.split()[-3:] == [shown, "-", "one"]
    assert main(["--list", str(tmp_path), "--where", f"verdict={shown}"]) == 0
    assert "one" in capsys.readouterr().out


def test_the_command_works_where_no_jax_is(runs, tmp_path):
    """A list does not import matplotlib either."""
    code = (
        "import sys; sys.modules.update(jax=None, matplotlib=None);"
        "from jaxgen.report.__main__ import main; sys.exit(main(['--list', 'runs']))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "2026-11-20/one" in ended.stdout


def test_sync_without_anything_logged_is_one_line_and_exit_1(tmp_path, capsys):
    write(tmp_path / "one", result())
    assert main(["--sync", str(tmp_path / "one")]) == ExitCode.USER_ERROR
    assert capsys.readouterr().err.startswith("error: ")


def test_sync_takes_runs_and_nothing_else(tmp_path, capsys):
    assert main(["--sync", str(tmp_path), "--out", str(tmp_path)]) == ExitCode.USER_ERROR
    assert "--sync takes run folders" in capsys.readouterr().err
