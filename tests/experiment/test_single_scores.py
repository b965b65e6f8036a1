"""Scoring measured in real workers: a grid, its file, and the gate over it both ways."""

import csv

import pytest

from jaxgen.errors import ExitCode, UserError
from support.small_runs import SCORING, execute_composed

pytestmark = pytest.mark.slow

GRID = (
    *SCORING,
    *(
        "workload.batch_sizes=[1,2]",
        "workload.num_labels=[2]",
        "workload.num_runs=4",
        "workload.item_tokens=3",
    ),
    *("baseline=same", "measure.isolation=shared", "measure.margin=0.9"),
)


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """An arm against itself over two cases: folder, exit code, result."""
    folder = tmp_path_factory.mktemp("grid")
    return folder, *execute_composed(folder, *GRID)


def faster(folder, path, factor):
    """The file of an earlier run whose first row was so many times as fast."""
    with (folder / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0]["throughput_items_per_sec"] = float(rows[0]["throughput_items_per_sec"]) * factor
    rows[0]["latency_p50_ms"] = float(rows[0]["latency_p50_ms"]) / factor
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_every_case_has_its_figures_and_agreement(grid):
    _, code, result = grid
    assert (code, result["status"]) == (ExitCode.OK, "completed")
    assert [case["params"] for case in result["cases"]] == [
        {"batch_size": 1, "num_labels": 2},
        {"batch_size": 2, "num_labels": 2},
    ]
    for case in result["cases"]:
        assert case["agreement"]["status"] == "identical"
        assert case["comparison"]["items_per_s"]["pairs"] == 4
        for arm in case["arms"].values():
            assert (arm["calls"]["n"], arm["metrics"]["items_per_s"]["n"]) == (4, 4)
            assert set(arm["compile"]["events_per_trial"]) == {0}
            assert arm["workload"]["prefix"]["hits"] == case["params"]["batch_size"]


def test_the_arms_are_the_same_program(grid):
    assert grid[2]["same_program"] is True
    assert grid[2]["arms"]["candidate"]["program"]["stablehlo_sha256"] is not None


def test_the_file_has_a_row_for_each_case(grid):
    with (grid[0] / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [
        (row["batch_size"], row["num_labels"], row["num_runs"], row["total_items"]) for row in rows
    ] == [
        ("1", "2", "4", "4"),
        ("2", "2", "4", "8"),
    ]


@pytest.mark.parametrize(("factor", "code", "status"), [(1000.0, 10, "REGRESSION")])
def test_the_gate_reads_it_both_ways(grid, factor, code, status, tmp_path):
    against = faster(grid[0], tmp_path / "old.csv", factor)
    found, result = execute_composed(tmp_path, *GRID, "gate=regression", f"gate.against={against}")
    assert found == code
    first = [row for row in result["gate"]["rows"] if row["params"]["batch_size"] == 1]
    assert {row["status"] for row in first} == {status}


def test_a_broken_file_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "old.csv").write_text("batch_size,speed\n1,2\n")
    with pytest.raises(
        UserError, match="a CSV must begin with the columns batch_size,num_labels,num_runs"
    ):
        execute_composed(tmp_path, *GRID, "gate=regression", f"gate.against={tmp_path / 'old.csv'}")
    assert not (tmp_path / "trials.csv").exists()


def test_a_wrong_score_makes_the_run_invalid(tmp_path):
    code, result = execute_composed(
        tmp_path,
        *SCORING,
        "measure=quick",
        "baseline=same",
        "baseline.overrides=['fault.wrong_token=true']",
    )
    assert (code, result["verdict"]) == (ExitCode.INVALID, "invalid")
    assert "item 0 differs by" in result["verdict_reason"]
    assert result["comparison"] == {}
