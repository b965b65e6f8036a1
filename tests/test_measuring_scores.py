"""Scoring measured in real workers: a grid, its file, and the gate over it both ways."""

import csv

import pytest
from small_runs import SCORING, execute_composed

from jaxgen.errors import ExitCode, UserError

pytestmark = pytest.mark.slow

GRID = (
    *SCORING,
    *("workload.batch_sizes=[1,2]", "workload.num_labels=[2]", "workload.num_runs=4", "workload.item_tokens=3"),
    *("baseline=same", "measure.isolation=shared", "measure.margin=0.9"),
)


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """An arm against itself over two cases: folder, exit code, result."""
    folder = tmp_path_factory.mktemp("grid")
    return folder, *execute_composed(folder, *GRID)


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
    assert [(row["batch_size"], row["num_labels"], row["num_runs"], row["total_items"]) for row in rows] == [
        ("1", "2", "4", "4"),
        ("2", "2", "4", "8"),
    ]


def test_a_broken_file_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "old.csv").write_text("batch_size,speed\n1,2\n")
    with pytest.raises(UserError, match="a CSV must begin with the columns batch_size,num_labels,num_runs"):
        execute_composed(tmp_path, *GRID, "gate=regression", f"gate.against={tmp_path / 'old.csv'}")
    assert not (tmp_path / "trials.csv").exists()
