"""What lies on disk at every moment: a complete result.json, each trial, nothing half-written."""

import csv
import errno
import json
import os
from collections.abc import Callable
from typing import ClassVar

import pytest

from jaxgen.errors import ExitCode, UserError
from jaxgen.results.record import Record
from support.small_runs import (
    figures_of,
    loaded_facts,
    paired,
    read_result,
    trial_row,
    two_arms,
    warm_call,
)


def lines(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class TestResult:
    def test_it_is_there_from_the_start_and_says_running(self, tmp_path):
        Record(two_arms(), tmp_path).start()
        result = read_result(tmp_path)
        assert (result["schema_version"], result["status"], result["verdict"]) == (
            1,
            "running",
            None,
        )
        assert result["arms"].keys() == {"candidate", "baseline"}

    STEPS: ClassVar[tuple[tuple[str, Callable], ...]] = (
        ("loaded", lambda record: record.loaded("candidate", loaded_facts())),
        ("warmed", lambda record: record.warmed("candidate", [warm_call()])),
        ("a trial", lambda record: record.add_trial(trial_row("candidate"))),
        ("shown", lambda record: record.show(*figures_of(paired()), case=0)),
        ("outputs", lambda record: record.write_outputs([{"candidate": [{"index": 0}]}])),
    )

    def test_it_is_whole_and_says_running_after_every_step(self, tmp_path):
        record = Record(two_arms(), tmp_path)
        for name, step in self.STEPS:
            step(record)
            assert read_result(tmp_path)["status"] == "running", name
        record.finish("completed", ExitCode.OK)
        assert (read_result(tmp_path)["status"], read_result(tmp_path)["exit_code"]) == (
            "completed",
            0,
        )
        assert {path.name for path in tmp_path.iterdir()} == {
            "result.json",
            "trials.csv",
            "outputs.jsonl",
        }

    def test_what_is_not_known_is_null_and_never_zero(self, tmp_path):
        record = Record(two_arms(), tmp_path)
        record.finish("failed", ExitCode.ARM_FAILED)
        arm = read_result(tmp_path)["arms"]["candidate"]
        known = {"choices", "config"}
        values = [
            value for key, block in arm.items() if key not in known for value in _leaves(block)
        ]
        assert set(map(str, values)) == {"None", "0"}
        assert [key for key, block in arm.items() if 0 in _leaves(block)] == [
            "compile"
        ]  # void_trials, a count

    def test_it_holds_no_nan(self, record):
        record.result["arms"]["candidate"]["startup"]["load_s"] = float("nan")
        with pytest.raises(ValueError, match="JSON compliant"):
            record.save()
        assert read_result(record.folder)["arms"]["candidate"]["startup"]["load_s"] == 1.5

    def test_a_note_stands_there_once(self, record):
        record.note("mind this")
        record.note("mind this")
        assert record.result["notes"] == ["mind this"]

    def test_the_weights_are_told_by_arm(self, record):
        arm = read_result(record.folder)["arms"]["baseline"]
        assert arm["weights"]["random"] is True
        assert (arm["startup"]["load_s"], arm["memory"]["weights_bytes"]) == (1.5, 4096)
        assert arm["memory"]["kv_cache_bytes"] == 1024


def _leaves(block):
    if isinstance(block, dict):
        return [leaf for value in block.values() for leaf in _leaves(value)]
    return (
        [leaf for value in block for leaf in _leaves(value)] if isinstance(block, list) else [block]
    )


class TestTrials:
    def test_a_trial_is_on_disk_as_soon_as_it_ends(self, record):
        for done in range(1, 4):
            record.add_trial(trial_row("candidate", pair=done))
            assert len(lines(record.folder)) == done

    def test_the_columns_are_place_metrics_events(self, record):
        record.add_trial(
            trial_row("baseline", block=2, pair=1, tokens_per_s=80.0, compile_events=3, void=True)
        )
        assert (record.folder / "trials.csv").read_text().splitlines() == [
            (
                "case,process,block,pair,position,arm,tokens_per_s,latency_s,compile_events,void,"
                "repeats,wall_s,available_cpu_s,foreign_cpu_s,steal_s,throttled_s"
            ),
            "0,0,2,1,0,baseline,80.0,0.05,3,True,1,,,,,",
        ]

    def test_what_a_trial_could_not_measure_is_an_empty_field(self, record):
        record.add_trial(
            trial_row("candidate") | {"metrics": {"tokens_per_s": 5.0, "latency_s": None}}
        )
        assert lines(record.folder)[0]["latency_s"] == ""

    def test_a_void_trial_is_kept_and_marked(self, record):
        record.add_trial(trial_row("candidate", void=True, compile_events=3))
        record.add_trial(trial_row("candidate"))
        assert [(line["void"], line["compile_events"]) for line in lines(record.folder)] == [
            ("True", "3"),
            ("False", "0"),
        ]

    def test_trials_of_several_cases_and_processes_stand_in_one_file(self, record):
        for case, process in ((0, 0), (1, 0), (0, 1)):
            record.add_trial(trial_row("candidate", case=case) | {"process": process})
        assert [(line["case"], line["process"]) for line in lines(record.folder)] == [
            ("0", "0"),
            ("1", "0"),
            ("0", "1"),
        ]

    def test_a_folder_that_is_used_again_starts_anew(self, record):
        record.add_trial(trial_row("candidate"))
        record.write_outputs([{"candidate": [{"index": 0}]}])
        Record(two_arms(), record.folder).start()
        assert {path.name for path in record.folder.iterdir()} == {"result.json"}


class TestOutputs:
    def test_each_answer_of_each_arm_is_a_line(self, record):
        record.write_outputs(
            [{"candidate": [{"index": 0, "text": "é"}, {"index": 1}], "baseline": [{"index": 0}]}]
        )
        text = (record.folder / "outputs.jsonl").read_text()
        assert [json.loads(line) for line in text.splitlines()] == [
            {"arm": "candidate", "index": 0, "text": "é"},
            {"arm": "candidate", "index": 1},
            {"arm": "baseline", "index": 0},
        ]


class TestFailingDisk:
    """What a write that fails in its middle leaves."""

    @pytest.fixture
    def full(self, record, monkeypatch):
        def fsync(_descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        before = (record.folder / "result.json").read_text()
        monkeypatch.setattr(os, "fsync", fsync)
        return before

    @pytest.mark.parametrize(
        "write",
        [
            lambda record: record.save(),
            lambda record: record.write_outputs([{"candidate": [{"index": 0}]}]),
        ],
    )
    def test_a_full_disk_keeps_the_old_result_and_nothing_half_written(self, write, record, full):
        record.result["verdict"] = "faster"
        with pytest.raises(
            UserError, match=r"cannot be written \(No space left on device\); .*hydra\.run\.dir=DIR"
        ):
            write(record)
        assert (record.folder / "result.json").read_text() == full
        assert {path.name for path in record.folder.iterdir()} == {"result.json"}

    def test_an_interrupted_write_leaves_nothing_half_written(self, record, monkeypatch):
        def interrupt(_descriptor):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            record.save()
        assert {path.name for path in record.folder.iterdir()} == {"result.json"}

    def test_a_folder_that_is_gone_is_the_user_s_to_mend(self, tmp_path):
        with pytest.raises(UserError, match=r"result\.json cannot be written"):
            Record(two_arms(), tmp_path / "gone").start()

    def test_a_trial_that_cannot_be_kept_is_the_user_s_to_mend(self, record):
        (record.folder / "trials.csv").mkdir()
        with pytest.raises(UserError, match=r"trials\.csv cannot be written"):
            record.add_trial(trial_row("candidate"))
