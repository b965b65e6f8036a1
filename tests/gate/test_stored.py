"""What a gate reads of an earlier run, and which files it refuses, by name."""

import json
import math
from pathlib import Path

import pytest

from jaxgen.errors import UserError
from jaxgen.gate import score_csv, stored
from jaxgen.measure.statistics import summarise
from jaxgen.results.record import Record
from support.small_runs import trial_row, two_arms
from support.stored_results import cases, csv_text, result, write

ROW = "4,2,20,80,312.5,12.8,14.5,,13.0,0.26"


def by_key(rows):
    return {row.key: row for row in rows}


def test_a_result_gives_the_candidates_medians_and_spreads(tmp_path):
    rows = by_key(stored.read(write(tmp_path / "result.json", result())).rows)
    assert set(rows) == {("", "tokens_per_s"), ("", "latency_s")}
    speed = rows["", "tokens_per_s"]
    assert (speed.value, speed.n, speed.better, speed.unit) == (100.0, 6, "higher", "tokens/s")
    assert speed.spread == pytest.approx(0.0063, abs=1e-4)


def test_a_folder_means_its_result(tmp_path):
    write(tmp_path / "result.json", result())
    assert len(stored.read(str(tmp_path)).rows) == 2


def test_a_result_with_cases_gives_a_row_for_each_of_them(tmp_path):
    rows = by_key(
        stored.read(write(tmp_path / "result.json", result(cases=cases({1: 1.0, 8: 2.0})))).rows
    )
    assert rows["batch_size=8 num_labels=2", "tokens_per_s"].value == 200.0
    assert len(rows) == 4


def test_a_metric_without_samples_has_no_value(tmp_path):
    empty = result()
    empty["arms"]["candidate"]["metrics"] = {
        "tpot_s": summarise([None, None], unit="s", better="lower")
    }
    (row,) = stored.read(write(tmp_path / "result.json", empty)).rows
    assert (row.value, row.n, row.spread) == (None, 0, None)


def test_a_csv_gives_throughput_and_latency_in_si_units(tmp_path):
    rows = by_key(stored.read(write(tmp_path / "scores.csv", csv_text(ROW))).rows)
    case = "batch_size=4 num_labels=2"
    speed, latency = rows[case, "items_per_s"], rows[case, "latency_s"]
    assert (speed.value, speed.n, speed.better) == (312.5, 20, "higher")
    assert (latency.value, latency.better) == (pytest.approx(0.0128), "lower")
    assert speed.spread == latency.spread == pytest.approx(0.02)


def test_a_csv_may_hold_the_environment_too(tmp_path):
    header = ",".join([*score_csv.COLUMNS, "device_kind", "jax", "remark"])
    read = stored.read(
        write(tmp_path / "scores.csv", csv_text(f'{ROW},cpu,0.10.2,"a, b"', header=header))
    )
    assert read.environment == {"device_kind": "cpu", "jax": "0.10.2"}


@pytest.mark.parametrize(
    "text", ["\ufeff" + csv_text(ROW), csv_text(ROW).replace("\n", "\r\n"), csv_text(ROW, "", " ")]
)
def test_a_csv_that_went_through_a_spreadsheet_is_read(tmp_path, text):
    (tmp_path / "scores.csv").write_bytes(text.encode())
    assert len(stored.read(str(tmp_path / "scores.csv")).rows) == 2


def test_one_run_has_no_spread(tmp_path):
    text = csv_text("4,2,1,4,312.5,12.8,12.8,,12.8,0.0")
    assert [row.spread for row in stored.read(write(tmp_path / "scores.csv", text)).rows] == [
        None,
        None,
    ]


def test_a_csv_without_rows_is_read_as_nothing(tmp_path):
    assert stored.read(write(tmp_path / "scores.csv", csv_text())).rows == []


REFUSED = {
    "no such file": ("absent.json", None, "absent.json does not exist (relative paths start at"),
    "a folder without a result": (".", None, "result.json does not exist"),
    "truncated": ("result.json", '{\n"schema_version": 1,\n', "broken JSON in line 3, column 1"),
    "empty": ("result.json", "", "broken JSON in line 1"),
    "a list": ("result.json", "[1]", "no result.json of jaxgen"),
    "other json": ("result.json", '{"a": 1}', "no result.json of jaxgen"),
    "another version": (
        "result.json",
        result(schema_version=2),
        "its schema_version is 2, and this jaxgen reads 1",
    ),
    "running": ("result.json", result(status="running"), "its run is still running, or was killed"),
    "failed": ("result.json", result(status="failed"), "its run is of status failed"),
    "no arms": ("result.json", result(arms=None), "damaged"),
    "metrics of another shape": (
        "result.json",
        result(arms={"candidate": {"metrics": {"a": 1}}}),
        "damaged",
    ),
    "cases of another shape": ("result.json", result(cases=[1]), "damaged"),
    "a comparison of another shape": (
        "result.json",
        result(comparison={"tokens_per_s": {"ratio": 2.0, "ci95": [0, 1], "blocks": 3}}),
        "damaged",
    ),
    "other columns": (
        "scores.csv",
        "batch_size,throughput\n1,2\n",
        "and it has batch_size,throughput",
    ),
    "columns in another order": (
        "scores.csv",
        csv_text(ROW, header=",".join(reversed(score_csv.COLUMNS))),
        "must begin with the columns batch_size,num_labels,num_runs",
    ),
    "no columns": ("scores.csv", "", "and it has none"),
    "a picture": ("scores.csv", b"\x89PNG\xff\xfe", "cannot be read"),
    "a text": (
        "scores.csv",
        csv_text(ROW, ROW.replace("312.5", "fast")),
        "line 3: throughput_items_per_sec=fast is no",
    ),
    "infinite": (
        "scores.csv",
        csv_text(ROW.replace("312.5", "inf")),
        "throughput_items_per_sec=inf is no positive",
    ),
    "no throughput": (
        "scores.csv",
        csv_text(ROW.replace("312.5", "")),
        "throughput_items_per_sec=nothing is no",
    ),
    "zero": (
        "scores.csv",
        csv_text(ROW.replace("312.5", "0")),
        "throughput_items_per_sec=0 is no positive number",
    ),
    "half a label": (
        "scores.csv",
        csv_text(ROW.replace("4,2,", "4,2.5,")),
        "num_labels=2.5 is no positive count",
    ),
    "too few values": ("scores.csv", csv_text("4,2,20"), "line 2: 3 values for 10 columns"),
    "a case twice": (
        "scores.csv",
        csv_text(ROW, ROW),
        "line 3: a second row of batch_size=4 num_labels=2",
    ),
    "many problems": (
        "scores.csv",
        csv_text(*["4,2"] * 7),
        "line 6: 2 values for 10 columns; and 2 more",
    ),
}


@pytest.mark.parametrize(("name", "content", "fragment"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_yardstick_is_refused_by_name(tmp_path, name, content, fragment):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        write(path, content)
    with pytest.raises(UserError) as refused:
        stored.read(str(path))
    message = str(refused.value)
    assert message.startswith(f"gate.against={path} is nothing to compare with: ")
    assert fragment in message
    assert "\n" not in message


def test_the_finished_reference_results_can_be_compared_with():
    found = sorted((Path(__file__).parents[2] / "runs" / "reference").glob("*/result.json"))
    finished = [path for path in found if json.loads(path.read_text())["status"] == "completed"]
    assert finished
    for path in finished:
        assert all(
            row.value is None or math.isfinite(row.value) for row in stored.read(str(path)).rows
        )


def test_the_trials_of_a_run_are_refused_with_the_way_to_its_result(tmp_path):
    """The file is written as a run writes it, so that its columns are those of today."""
    Record(two_arms(), tmp_path).add_trial(trial_row("candidate"))
    with pytest.raises(
        UserError, match=r"the trials\.csv of a run; give the result\.json beside it"
    ):
        stored.read(str(tmp_path / "trials.csv"))
