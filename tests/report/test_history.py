"""One question over time: which runs belong together, their steps, the tables and the page."""

import copy

import numpy as np
import pytest

from jaxgen.errors import ExitCode
from jaxgen.report import history
from jaxgen.report.__main__ import main
from jaxgen.report.run_list import find
from support.stored_runs import ENVIRONMENT, arm, cases, invalid, result, write

HALF_WIDTH = 0.027


def measured(number, ratio, **changed):
    """A run of day `number` with this ratio; each was measured with other code."""
    compared = {
        "ratio": ratio,
        "ci95": [ratio * np.exp(-HALF_WIDTH), ratio * np.exp(HALF_WIDTH)],
        "blocks": 12,
        "pairs": 12,
        "processes": 1,
    }
    day, hour = divmod(number, 24)
    made = result(
        started_at=f"2026-11-{1 + day:02}T{hour:02}:00:00+00:00",
        comparison={"tokens_per_s": compared, "latency_s": dict(compared)},
    )
    git = {"commit": f"{number:040x}", "dirty": number == 3}
    packages = {"jax": f"0.10.{number}"}
    made["environment"] = copy.deepcopy(ENVIRONMENT) | {"git": git, "packages": packages}
    return made | changed


def drawn(ratios, seed=0):
    rng = np.random.default_rng(seed)
    return [float(ratio * np.exp(rng.normal(0, HALF_WIDTH / 1.96))) for ratio in ratios]


@pytest.fixture
def runs(tmp_path):
    """Twelve runs of one question that became a tenth slower at the seventh."""
    for number, ratio in enumerate(drawn([2.0] * 6 + [1.8] * 6)):
        write(tmp_path / f"run{number:02}", measured(number, ratio), trials=False)
    return tmp_path


def histories_of(folder):
    return history.series_of(find(folder)[0])


def test_a_question_is_followed_through_commits_and_versions_of_jax(runs):
    (series,), notes = histories_of(runs)
    assert len(series.entries) == 12
    assert series.metric == "tokens_per_s"
    assert series.title == "tiny: cache=fixed against cache=none"
    assert [entry.run.name for entry in series.entries][:2] == ["run00", "run01"]
    assert series.entries[2].commit == f"{2:040x}"[:12]
    assert series.entries[3].commit.endswith("+")
    assert notes == []


def test_the_step_is_found_where_it_is(runs):
    (series,), _ = histories_of(runs)
    (step,) = series.steps
    assert step.index == 6
    assert step.change == pytest.approx(-0.1, abs=0.03)


def test_a_key_that_a_newer_jaxgen_has_ends_no_history(runs):
    newer = measured(13, 1.8)
    for side in newer["arms"].values():
        side["config"]["cache"]["colour"] = "blue"
    write(runs / "run13", newer, trials=False)
    (series,), _ = histories_of(runs)
    assert len(series.entries) == 13


@pytest.mark.parametrize("change", ["key", "option", "weights", "machine"])
def test_another_question_has_a_history_of_its_own(change, runs):
    for number in (13, 14):
        other = measured(number, 3.0)
        candidate = other["arms"]["candidate"]
        if change == "key":
            candidate["config"]["workload"]["batch_size"] = 9
        elif change == "option":
            other["arms"]["candidate"] = arm(2.0, cache="paged")
        elif change == "weights":
            candidate["weights"]["fingerprint"] = "other"
        else:
            other["environment"]["cpu"] = "Xeon"
        write(runs / f"run{number}", other, trials=False)
    histories, _ = histories_of(runs)
    assert [len(series.entries) for series in histories] == [12, 2]


def test_how_it_was_measured_is_no_other_question(runs):
    longer = measured(13, 1.8)
    for side in longer["arms"].values():
        side["config"]["measure"] = {"trials": 99}
        side["config"]["gate"] = {"against": "elsewhere"}
    write(runs / "run13", longer, trials=False)
    assert len(histories_of(runs)[0][0].entries) == 13


def test_runs_without_a_ratio_and_single_runs_are_counted(runs):
    write(runs / "invalid", invalid(), trials=False)
    other = measured(13, 2.0, arms={"candidate": arm(2.0, cache="paged"), "baseline": arm(1.0)})
    write(runs / "other", other, trials=False)
    histories, notes = histories_of(runs)
    assert len(histories) == 1
    assert notes == [
        "1 of 14 runs have no ratio with an interval",
        "1 questions were measured once and have no history",
    ]


def test_each_case_of_a_grid_has_a_history(tmp_path):
    for number in range(3):
        grid = measured(number, 2.0, cases=cases((1, 8)))
        write(tmp_path / f"run{number}", grid, trials=False)
    histories, _ = histories_of(tmp_path)
    assert sorted(series.title.rpartition(" ")[2] for series in histories) == ["depth=1", "depth=8"]


@pytest.mark.parametrize("seed", range(3))
def test_a_history_without_a_step_says_so(tmp_path, seed):
    for number, ratio in enumerate(drawn([2.0] * 10, seed)):
        write(tmp_path / f"run{number:02}", measured(number, ratio), trials=False)
    (series,), _ = histories_of(tmp_path)
    assert series.steps == ()


class TestCommand:
    def test_the_terminal_has_the_table_and_the_step(self, runs, capsys):
        assert main(["--history", str(runs)]) == ExitCode.OK
        shown = capsys.readouterr().out
        lines = shown.splitlines()
        (marked,) = [line for line in lines if "(p = " in line]
        assert marked.split()[0:2] == ["2026-11-01", "06:00"]
        assert marked.split()[-1] == "run06"
        assert "tokens_per_s: in 12 runs a step of " in shown
        assert lines[-1] == str(runs / "history.html")

    @pytest.mark.slow
    def test_the_page_has_the_plot_and_needs_no_network(self, runs, tmp_path):
        assert main(["--history", str(runs), "--out", str(tmp_path / "page")]) == ExitCode.OK
        page = (tmp_path / "page" / "history.html").read_text()
        assert "<svg" in page
        assert "run06" in page
        assert "Hawkins" in page
        assert "1 of 1 questions have a step." in page
        assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")

    def test_nothing_measured_twice_is_said(self, tmp_path, capsys):
        write(tmp_path / "runs" / "a", measured(0, 2.0), trials=False)
        assert main(["--history", str(tmp_path / "runs")]) == ExitCode.OK
        assert "there is no history yet" in capsys.readouterr().err
        assert not (tmp_path / "runs" / "history.html").exists()

    def test_filters_choose_the_runs(self, runs, capsys):
        assert main(["--history", str(runs), "--where", "date=2026-11-01"]) == ExitCode.OK
        assert "in 12 runs" in capsys.readouterr().out
        assert main(["--history", str(runs), "--where", "date=2026-12-01"]) == ExitCode.OK
        assert "no run in" in capsys.readouterr().err

    @pytest.mark.parametrize("flags", [["--list"], ["--wandb"], ["--sync"], ["another"]])
    def test_what_cannot_go_with_it_is_refused(self, flags, runs, capsys):
        assert main(["--history", str(runs), *flags]) == ExitCode.USER_ERROR
        assert capsys.readouterr().err.startswith("error: --history takes one folder")
