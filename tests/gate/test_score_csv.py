"""scores.csv: the columns that were asked for, in their order, and readable by the gate."""

import csv
import io

import pytest

from jaxgen.gate import stored
from jaxgen.gate.score_csv import score_table
from jaxgen.measure.statistics import summarise

COLUMNS = (
    "batch_size,num_labels,num_runs,total_items,throughput_items_per_sec,"
    "latency_p50_ms,latency_p95_ms,latency_p99_ms,latency_mean_ms,latency_std_ms"
)


def case(batch_size, num_labels, call_s):
    calls = summarise(call_s, unit="s", better="lower")
    params = {"batch_size": batch_size, "num_labels": num_labels}
    return {"params": params, "arms": {"candidate": {"calls": calls}, "baseline": {"calls": calls}}}


def table(*cases):
    environment = {"platform": "cpu", "cpu": "A processor, fast", "packages": {"jax": "0.10.2"}}
    return score_table({"environment": environment, "cases": list(cases)})


def test_the_columns_are_those_and_the_environment_comes_behind():
    header = table().splitlines()[0]
    assert header == f"{COLUMNS},platform,cpu,jax"


def test_a_row_is_all_calls_of_a_case():
    (row,) = csv.DictReader(io.StringIO(table(case(4, 2, [0.1, 0.2, 0.3]))))
    assert (row["batch_size"], row["num_labels"], row["num_runs"], row["total_items"]) == (
        "4",
        "2",
        "3",
        "12",
    )
    assert float(row["throughput_items_per_sec"]) == pytest.approx(12 / 0.6)
    assert [float(row[f"latency_{key}_ms"]) for key in ("p50", "mean", "std")] == pytest.approx(
        [200, 200, 100]
    )
    assert row["cpu"] == "A processor, fast"


def test_p99_of_few_calls_is_empty_and_of_many_is_there():
    few, many = csv.DictReader(io.StringIO(table(case(1, 2, [0.1] * 99), case(1, 4, [0.1] * 100))))
    assert (few["latency_p99_ms"], float(many["latency_p99_ms"])) == ("", pytest.approx(100))


def test_a_case_that_was_not_measured_has_no_row():
    assert len(table(case(1, 2, []), {"params": {}, "arms": {"candidate": {}}}).splitlines()) == 1


def test_the_gate_reads_what_is_written(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(table(case(4, 2, [0.1, 0.2, 0.3])))
    rows = {row.metric: row for row in stored.read(str(path)).rows}
    assert rows["items_per_s"].params == {"batch_size": 4, "num_labels": 2}
    assert rows["items_per_s"].value == pytest.approx(20)
    assert rows["latency_s"].value == pytest.approx(0.2)
