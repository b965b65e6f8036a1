"""A tracker is given what the run folder holds, nothing lost or invented; and when it is given."""

import json

import pytest

from jaxgen.errors import ExitCode, UserError
from jaxgen.experiment import execute, mirrors
from jaxgen.results.record import Record
from jaxgen.specs.study import Single
from jaxgen.specs.tracker import Mode, NoTracker, Wandb
from jaxgen.tracking import log_state, payload, sync, sync_log, track
from support.small_runs import (
    VERDICT,
    experiment_of,
    finished_result,
    read_result,
    trial_row,
    two_arms,
)


@pytest.fixture
def result(tmp_path):
    return finished_result(tmp_path) | VERDICT


class TestContents:
    def test_a_trial_is_a_row_of_numbers(self, tmp_path):
        record = Record(two_arms(), tmp_path)
        record.save()
        record.add_trial(trial_row("baseline"))
        record.add_trial(
            trial_row("candidate", metrics={"tokens_per_s": 5e-7, "ttft_s": None}, void=True)
        )
        _, trials = payload.read(tmp_path)
        (row,) = payload.history(trials, "candidate")
        position = {"case": 0, "process": 0, "block": 0, "pair": 0, "position": 0}
        assert row == {
            "index": 0,
            **position,
            "tokens_per_s": 5e-7,
            "compile_events": 0,
            "void": 1,
            "repeats": 1,
        }

    def test_a_run_without_trials_has_a_result(self, tmp_path):
        Record(two_arms(), tmp_path).finish("failed", ExitCode.ARM_FAILED)
        result, trials = payload.read(tmp_path)
        assert trials == []
        assert payload.summary(result, "candidate")["status"] == "failed"
        assert payload.comparison(result) == []

    def test_what_is_unknown_is_left_out(self, result):
        unknown = {"a": None, "b": {"c": None}}
        values = {"d": [None], "e": 0, "f": False}
        assert payload.without_nulls(unknown | values) == values
        assert result["arms"]["candidate"]["memory"]["device_peak_bytes"] is None
        assert payload.summary(result, "candidate")["memory"] == {
            "weights_bytes": 4096,
            "kv_cache_bytes": 1024,
        }

    def test_the_verdict_is_the_candidate_s(self, result):
        assert payload.summary(result, "candidate")["verdict"] == "faster"
        assert "verdict" not in payload.summary(result, "baseline")

    def test_the_samples_are_history_and_no_summary(self, result):
        metric = payload.summary(result, "candidate")["metrics"]["tokens_per_s"]
        assert metric["median"] == result["arms"]["candidate"]["metrics"]["tokens_per_s"]["median"]
        assert "samples" not in metric

    def test_every_metric_is_compared(self, result):
        rows = [dict(zip(payload.COMPARED, row, strict=True)) for row in payload.comparison(result)]
        ratio = result["comparison"]["tokens_per_s"]["ratio"]
        assert [(row["case"], row["metric"], row["ratio"]) for row in rows] == [
            ("", "tokens_per_s", ratio),
            ("", "latency_s", ratio),
        ]
        assert rows[0]["candidate"] / rows[0]["baseline"] == pytest.approx(ratio)

    def test_a_grid_s_cases_are_compared_each(self, result):
        case = {"arms": result["arms"], "comparison": result["comparison"]}
        grid = result | {
            "cases": [case | {"params": {"batch_size": size, "num_labels": 2}} for size in (1, 8)]
        }
        named = {row[0] for row in payload.comparison(grid)}
        assert named == {"batch_size=1, num_labels=2", "batch_size=8, num_labels=2"}

    def test_a_candidate_alone_has_means_and_no_ratio(self, result):
        alone = result | {"arms": {"candidate": result["arms"]["candidate"]}, "comparison": {}}
        (speed, _) = payload.comparison(alone)
        row = dict(zip(payload.COMPARED, speed, strict=True))
        assert row["candidate"] > 0
        assert (row["baseline"], row["ratio"], row["ci_low"]) == (None, None, None)


class TestNames:
    def test_a_run_s_group_is_its_folder(self, tmp_path):
        order = log_state.order_of(Wandb(), tmp_path / "11-22_cache-fixed", token="t")
        assert (order.group, order.name) == ("11-22_cache-fixed", "11-22_cache-fixed")

    @pytest.mark.parametrize("marker", ["multirun.yaml", "sweep.json"])
    def test_a_job_s_group_is_its_sweep(self, tmp_path, marker):
        sweep = tmp_path / "11-22-33"
        sweep.mkdir()
        (sweep / marker).touch()
        order = log_state.order_of(Wandb(), sweep / "7", token="t")
        assert (order.group, order.name) == ("11-22-33", "11-22-33-7")

    def test_a_folder_that_happens_to_be_a_number_is_no_job(self, tmp_path):
        assert log_state.order_of(Wandb(), tmp_path / "7", token="t").group == "7"

    def test_what_the_user_says_wins(self, tmp_path):
        order = log_state.order_of(Wandb(group="g", name="n"), tmp_path, token="t")
        assert (order.group, order.name) == ("g", "n")


class TestSyncLog:
    def test_only_errors_about_data_count_and_half_a_line_is_none(self, tmp_path):
        (tmp_path / "logs").mkdir()
        old = tmp_path / "logs" / "debug-sync.1.log"
        old.write_text('{"level":"ERROR","msg":"sender: old","sync_path":"w/one/r.wandb"}\n')
        earlier = sync_log.logs_of(tmp_path)
        lines = [
            {"level": "ERROR", "msg": "featurechecker: nothing", "sync_path": "w/one/r.wandb"},
            {"level": "INFO", "msg": "sender: fine", "sync_path": "w/one/r.wandb"},
            {"level": "ERROR", "msg": "sender: failed\n", "sync_path": "w/two/r.wandb"},
        ]
        text = "\n".join([*map(json.dumps, lines), '{"level":"ERR'])
        (tmp_path / "logs" / "debug-sync.2.log").write_text(text)
        assert sync_log.losses(tmp_path, earlier=earlier) == {"two": "sender: failed"}


class TestExperiment:
    """The tracker is called last, however the run ends, and can change nothing."""

    @pytest.fixture
    def tracked(self, tmp_path, monkeypatch):
        """The results that lay on disk when the tracker was called."""
        results = []

        def track_run(tracker, folder):
            results.append(read_result(folder))
            return ["wandb: a note"]

        monkeypatch.setattr(mirrors.tracking, "track", track_run)
        return results

    @pytest.mark.parametrize(
        ("ending", "code", "status"),
        [
            (None, ExitCode.INVALID, "completed"),
            (KeyboardInterrupt, ExitCode.INTERRUPTED, "failed"),
            (UserError("no"), None, "failed"),
            (ZeroDivisionError, None, "failed"),
        ],
        ids=["completed", "interrupted", "user error", "our error"],
    )
    def test_it_finds_the_result_on_disk(
        self, ending, code, status, tracked, tmp_path, monkeypatch
    ):
        def story(arms, record, console):
            record.result["verdict"] = "invalid"
            if ending:
                raise ending
            return ExitCode.INVALID

        monkeypatch.setitem(execute._STUDIES, Single, story)
        if code is None:
            with pytest.raises(ending if isinstance(ending, type) else type(ending)):
                execute.execute(experiment_of(), tmp_path)
        else:
            assert execute.execute(experiment_of(), tmp_path) == code
        assert [(result["status"], result["verdict"]) for result in tracked] == [
            (status, "invalid")
        ]
        assert "wandb: a note" not in tracked[0]["notes"]
        assert "wandb: a note" in read_result(tmp_path)["notes"]

    def test_a_note_that_cannot_be_written_changes_nothing(self, tracked, tmp_path, monkeypatch):
        monkeypatch.setitem(
            execute._STUDIES, Single, lambda arms, record, console: _spoil(record, monkeypatch)
        )
        assert execute.execute(experiment_of(), tmp_path) == ExitCode.OK
        assert read_result(tmp_path)["status"] == "completed"


def _spoil(record, monkeypatch):
    finish = record.finish

    def last(status, code):
        finish(status, code)
        monkeypatch.setattr(record, "save", lambda: (_ for _ in ()).throw(UserError("disk full")))

    monkeypatch.setattr(record, "finish", last)
    return ExitCode.OK


def test_no_tracker_leaves_nothing(tmp_path):
    assert track(NoTracker(), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", Mode)
def test_a_tracker_that_cannot_write_raises_nothing(mode, tmp_path):
    folder = tmp_path / "run"
    folder.write_text("not a folder")
    (note,) = track(Wandb(mode=mode), folder)
    assert note.startswith("wandb could not log this run (NotADirectoryError: ")


def test_nothing_to_send_is_the_user_s_to_know(tmp_path):
    with pytest.raises(UserError, match="holds nothing for wandb; a run with tracker=wandb"):
        sync(tmp_path)
