"""What lies on disk at every moment of a run: a whole result.json, each trial as it ends, nothing half-written."""

import csv
import errno
import json
import os
from collections.abc import Callable

import pytest
from small_runs import loaded_facts, read_result, trial_row, two_arms

from jaxgen.errors import UserError
from jaxgen.record import Record


@pytest.fixture
def record(tmp_path):
    """The record of a run whose arms are loaded."""
    made = Record(two_arms(), tmp_path)
    for arm in ("candidate", "baseline"):
        made.loaded(arm, loaded_facts())
    return made


def lines(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def add_pairs(record, *, blocks=3, pairs=2, speed=2.0):
    for block in range(blocks):
        for pair in range(pairs):
            record.add_trial(trial_row("baseline", block=block, pair=pair, tokens_per_s=100.0 + pair))
            record.add_trial(trial_row("candidate", block=block, pair=pair, tokens_per_s=speed * (100.0 + pair)))


class TestResult:
    def test_it_is_there_from_the_start_and_says_running(self, tmp_path):
        Record(two_arms(), tmp_path)
        result = read_result(tmp_path)
        assert (result["schema_version"], result["status"], result["verdict"]) == (1, "running", None)
        assert result["arms"].keys() == {"candidate", "baseline"}

    STEPS: tuple[tuple[str, Callable], ...] = (
        ("loaded", lambda record: record.loaded("candidate", loaded_facts())),
        ("warmed", lambda record: record.warmed("candidate", {"warmup_s": 2.0})),
        ("a trial", lambda record: record.add_trial(trial_row("candidate"))),
        ("summarised", lambda record: (record.summarise(), record.save())),
        ("outputs", lambda record: record.write_outputs({"candidate": [{"index": 0}]})),
    )

    def test_it_is_whole_and_says_running_after_every_step(self, tmp_path):
        record = Record(two_arms(), tmp_path)
        for name, step in self.STEPS:
            step(record)
            assert read_result(tmp_path)["status"] == "running", name
        record.finish("completed")
        assert read_result(tmp_path)["status"] == "completed"
        assert {path.name for path in tmp_path.iterdir()} == {"result.json", "trials.csv", "outputs.jsonl"}

    def test_what_is_not_known_is_null_and_never_zero(self, tmp_path):
        record = Record(two_arms(), tmp_path)
        record.finish("failed")
        arm = read_result(tmp_path)["arms"]["candidate"]
        known = {"choices", "config"}
        values = [value for key, block in arm.items() if key not in known for value in _leaves(block)]
        assert set(map(str, values)) == {"None", "0"}
        assert [key for key, block in arm.items() if 0 in _leaves(block)] == ["compile"]  # void_trials, a count

    def test_a_metric_without_samples_is_null(self, record):
        record.summarise()
        metric = record.result["arms"]["candidate"]["metrics"]["tokens_per_s"]
        assert (metric["n"], metric["samples"], metric["mean"], metric["median"]) == (0, [], None, None)

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
    return [leaf for value in block for leaf in _leaves(value)] if isinstance(block, list) else [block]


class TestTrials:
    def test_a_trial_is_on_disk_as_soon_as_it_ends(self, record):
        for done in range(1, 4):
            record.add_trial(trial_row("candidate", pair=done))
            assert len(lines(record.folder)) == done

    def test_the_columns_are_place_metrics_events(self, record):
        record.add_trial(trial_row("baseline", block=2, pair=1, tokens_per_s=80.0, compile_events=3, void=True))
        assert (record.folder / "trials.csv").read_text().splitlines() == [
            "process,block,pair,position,arm,tokens_per_s,latency_s,compile_events,void,repeats",
            "0,2,1,0,baseline,80.0,0.05,3,True,1",
        ]

    def test_what_a_trial_could_not_measure_is_an_empty_field(self, record):
        record.add_trial(trial_row("candidate") | {"metrics": {"tokens_per_s": 5.0, "latency_s": None}})
        assert lines(record.folder)[0]["latency_s"] == ""

    def test_a_void_trial_is_kept_but_does_not_count(self, record):
        record.add_trial(trial_row("candidate", tokens_per_s=1.0, void=True, compile_events=3, functions={"step": 3}))
        record.add_trial(trial_row("candidate", tokens_per_s=100.0))
        record.summarise()
        arm = record.result["arms"]["candidate"]
        assert [line["void"] for line in lines(record.folder)] == ["True", "False"]
        assert arm["metrics"]["tokens_per_s"]["samples"] == [100.0]
        assert arm["compile"] == {"events_per_trial": [0], "warm": True, "functions": {}, "void_trials": 1}

    def test_compiles_of_trials_that_count_are_summed_by_function(self, record):
        for functions in ({"step": 1, "prefill": 1}, {"step": 2}):
            record.add_trial(trial_row("candidate", compile_events=6, functions=functions))
        record.summarise()
        assert record.result["arms"]["candidate"]["compile"] == {
            "events_per_trial": [6, 6],
            "warm": False,
            "functions": {"step": 3, "prefill": 1},
            "void_trials": 0,
        }

    def test_a_folder_that_is_used_again_starts_anew(self, record):
        record.add_trial(trial_row("candidate"))
        record.write_outputs({"candidate": [{"index": 0}]})
        Record(two_arms(), record.folder)
        assert {path.name for path in record.folder.iterdir()} == {"result.json"}


class TestComparison:
    def test_the_ratio_is_above_one_where_the_candidate_is_better(self, record):
        add_pairs(record, speed=2.0)
        assert record.compare()["ratio"] == pytest.approx(2.0)
        assert record.result["comparison"]["latency_s"]["ratio"] == pytest.approx(2.0)

    def test_pairs_match_by_process_block_and_pair_whatever_their_order(self, record):
        for process, block, pair, speed in ((0, 0, 0, 2.0), (0, 0, 1, 4.0), (0, 1, 0, 8.0), (1, 0, 0, 16.0)):
            place = {"process": process, "block": block, "pair": pair}
            record.add_trial(trial_row("candidate", tokens_per_s=100.0 * speed * (1 + pair)) | place)
        for process, block, pair in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)):
            place = {"process": process, "block": block, "pair": pair}
            record.add_trial(trial_row("baseline", tokens_per_s=100.0 * (1 + pair)) | place)
        found = record.compare()
        assert (found["pairs"], found["blocks"]) == (4, 3)
        assert found["ratio"] == pytest.approx((8**0.5 * 8 * 16) ** (1 / 3))

    def test_a_trial_without_its_partner_is_left_out(self, record):
        add_pairs(record, blocks=2)
        record.add_trial(trial_row("candidate", block=2, tokens_per_s=1e6))
        assert record.compare()["pairs"] == 4

    def test_a_pair_of_which_one_value_is_null_is_left_out(self, record):
        add_pairs(record, blocks=2)
        record.add_trial(trial_row("baseline", block=2))
        record.add_trial(trial_row("candidate", block=2) | {"metrics": {"tokens_per_s": 200.0, "latency_s": None}})
        record.compare()
        assert record.result["comparison"]["tokens_per_s"]["pairs"] == 5
        assert record.result["comparison"]["latency_s"]["pairs"] == 4

    def test_a_void_trial_gives_its_place_to_the_one_that_repeats_it(self, record):
        record.add_trial(trial_row("baseline"))
        record.add_trial(trial_row("candidate", tokens_per_s=1.0, void=True))
        record.add_trial(trial_row("candidate", tokens_per_s=300.0))
        assert record.compare()["ratio"] == pytest.approx(3.0)

    def test_one_arm_alone_is_compared_with_nothing(self, tmp_path):
        record = Record({"candidate": two_arms()["candidate"]}, tmp_path)
        record.loaded("candidate", loaded_facts())
        record.add_trial(trial_row("candidate"))
        assert record.compare() is None
        assert record.result["comparison"] == {}


ENVIRONMENT = {
    "git": {"commit": "c", "dirty": False},
    "packages": {"jax": "1"},
    "device_kind": "cpu",
    "device_count": 1,
}


class TestIdentity:
    def identity(self, folder, *, arms=None, facts=None, environment=None):
        record = Record(arms or two_arms(), folder)
        for arm in record.result["arms"]:
            record.loaded(arm, facts or loaded_facts())
        record.result["environment"] = ENVIRONMENT | (environment or {})
        record.identify()
        return record.result["run_id"]

    def test_equal_runs_have_equal_ids(self, tmp_path):
        assert self.identity(tmp_path) == self.identity(tmp_path)

    def test_where_and_when_do_not_matter(self, tmp_path):
        (tmp_path / "other").mkdir()
        assert self.identity(tmp_path) == self.identity(
            tmp_path / "other", facts=loaded_facts(load_s=9.0), environment={"load_average_before": [3.0]}
        )

    def test_another_configuration_has_another_id(self, tmp_path):
        arms = two_arms()
        arms["baseline"].resolved["cache"] = {"max_len": 7}
        assert self.identity(tmp_path, arms=arms) != self.identity(tmp_path)

    def test_other_weights_have_another_id(self, tmp_path):
        other = loaded_facts()
        other["weights"]["fingerprint"] = "another"
        assert self.identity(tmp_path, facts=other) != self.identity(tmp_path)

    @pytest.mark.parametrize(
        "changed",
        [
            {"git": {"commit": "d", "dirty": False}},
            {"git": {"commit": "c", "dirty": True}},
            {"packages": {"jax": "2"}},
            {"device_kind": "gpu"},
            {"device_count": 2},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_another_code_or_device_has_another_id(self, changed, tmp_path):
        assert self.identity(tmp_path, environment=changed) != self.identity(tmp_path)


class TestOutputs:
    def test_each_answer_of_each_arm_is_a_line(self, record):
        record.write_outputs({"candidate": [{"index": 0, "text": "é"}, {"index": 1}], "baseline": [{"index": 0}]})
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
        "write", [lambda record: record.save(), lambda record: record.write_outputs({"candidate": [{"index": 0}]})]
    )
    def test_a_full_disk_keeps_the_old_result_and_nothing_half_written(self, write, record, full):
        record.result["verdict"] = "faster"
        with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); .*hydra\.run\.dir=DIR"):
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
            Record(two_arms(), tmp_path / "gone")

    def test_a_trial_that_cannot_be_kept_is_the_user_s_to_mend(self, record):
        (record.folder / "trials.csv").mkdir()
        with pytest.raises(UserError, match=r"trials\.csv cannot be written"):
            record.add_trial(trial_row("candidate"))
