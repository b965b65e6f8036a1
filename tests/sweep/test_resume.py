"""A point of a sweep is skipped only where the same question has an answer by this code, here."""

import json
import os
import time

import pytest

from jaxgen.__main__ import main
from jaxgen.config.experiment import load_experiment
from jaxgen.errors import ExitCode
from jaxgen.executor.process_settings import worker_settings
from jaxgen.machine import provenance
from jaxgen.results.files import RESULT, SWEEP
from jaxgen.results.schema import SCHEMA_VERSION
from jaxgen.sweep.resume import decide
from jaxgen.sweep.rows import PointEnd
from jaxgen.sweep.table import Sweep
from support.small_runs import SMALL


def stored(experiment, folder, **changed):
    """A result of this experiment as a run on this machine would leave it."""
    arms = {}
    for name, arm in experiment.arms.items():
        arms[name] = {"config": arm.resolved, "metrics": {}}
    environment = {
        "git": provenance.git(),
        "cpu": provenance.cpu_model(),
        "packages": provenance.packages(),
    }
    result = {
        "schema_version": SCHEMA_VERSION,
        "status": "completed",
        "verdict": "faster",
        "verdict_reason": None,
        "started_at": "2100-01-01T00:00:00+00:00",
        "finished_at": "2100-01-01T00:01:30+00:00",
        "environment": environment,
        "arms": arms,
        "comparison": {},
    }
    folder.mkdir(exist_ok=True)
    (folder / RESULT).write_text(json.dumps(result | changed))


def decision_of(folder, *overrides):
    return decide(load_experiment([*SMALL, *overrides]), folder)


@pytest.fixture
def folder(tmp_path):
    stored(load_experiment(SMALL), tmp_path)
    return tmp_path


def test_the_same_again_is_done(folder):
    decision = decision_of(folder)
    assert (decision.skip, decision.why, decision.seconds) == (True, "done before", 90.0)
    assert decision_of(folder, "tracker=wandb").skip  # who else hears of it does not matter
    assert decision_of(folder, "console.level=verbose").skip


def test_without_a_result_there_is_something_to_do(tmp_path):
    decision = decision_of(tmp_path)
    assert (decision.skip, decision.why) == (False, "there is no result yet")
    for damaged in ("{", "{}", "[]"):
        (tmp_path / RESULT).write_text(damaged)
        decision = decision_of(tmp_path)
        assert (decision.skip, decision.why) == (False, "there is no result yet")


def test_a_result_of_another_version_is_none_and_that_is_told(folder):
    stored(load_experiment(SMALL), folder, schema_version=0)
    assert (decision_of(folder).skip, decision_of(folder).why) == (
        False,
        "its result is of schema_version 0, not 1",
    )


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["sweep.resume=false"], "sweep.resume=false"),
        (["workload.max_new_tokens=3"], "its configuration is another"),
        (["baseline=off"], "its configuration is another"),
    ],
    ids=str,
)
def test_another_question_is_asked_anew(overrides, why, folder):
    decision = decision_of(folder, *overrides)
    assert (decision.skip, decision.why) == (False, why)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"git": {"commit": "0", "dirty": False}}, "jaxgen's code is another"),
        ({"cpu": "abacus"}, "the machine is another"),
        ({"packages": {"jax": "0.1"}}, "the installed packages are others"),
    ],
    ids=str,
)
def test_another_code_or_machine_is_asked_anew(changed, why, tmp_path):
    experiment = load_experiment(SMALL)
    here = {
        "git": provenance.git(),
        "cpu": provenance.cpu_model(),
        "packages": provenance.packages(),
    }
    stored(experiment, tmp_path, environment=here | changed)
    assert (decision_of(tmp_path).skip, decision_of(tmp_path).why) == (False, why)


def test_newer_weights_are_asked_anew(tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_text("")
    source = f"model.source={weights}"
    stored(load_experiment([*SMALL, source]), tmp_path)
    assert decision_of(tmp_path, source).skip
    later = time.time() + 200 * 365 * 86400
    os.utime(weights / "model.safetensors", (later, later))
    assert decision_of(tmp_path, source).why == "its weights are newer"


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["prompts=text", "prompts.path={}"], "its prompts are newer"),
        ([*SMALL[4:6], "gate=regression", "gate.against={}"], "its gate's yardstick is newer"),
    ],
    ids=["prompts", "gate"],
)
def test_newer_prompts_and_yardsticks_are_measured_anew(overrides, why, tmp_path):
    path = tmp_path / "file"
    path.write_text("once upon a time")
    experiment = load_experiment([*SMALL[:4], *(word.format(path) for word in overrides)])
    stored(experiment, tmp_path)
    assert decide(experiment, tmp_path).skip
    later = time.time() + 200 * 365 * 86400
    os.utime(path, (later, later))
    assert decide(experiment, tmp_path).why == why


CHANGED = {"commit": "0", "dirty": True, "diff_sha256": "1"}


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        (CHANGED, CHANGED, True),
        (CHANGED, CHANGED | {"diff_sha256": "2"}, False),
        (CHANGED | {"diff_sha256": None}, CHANGED | {"diff_sha256": None}, False),
        (
            {"commit": "0", "dirty": False},
            {"commit": "0", "dirty": False, "diff_sha256": None},
            True,
        ),
        (None, None, True),
        (CHANGED, None, False),
    ],
    ids=["same changes", "other changes", "unknown changes", "clean", "wheel", "wheel now"],
)
def test_changes_that_were_not_committed_are_compared(before, now, same, tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "git", lambda: before)
    stored(load_experiment(SMALL), tmp_path)
    monkeypatch.setattr(provenance, "git", lambda: now)
    assert decision_of(tmp_path).skip is same


@pytest.mark.parametrize("name", ["XLA_FLAGS", "JAX_DEFAULT_MATMUL_PRECISION"])
def test_other_flags_of_the_shell_are_asked_anew(name, tmp_path, monkeypatch):
    experiment = load_experiment(SMALL)
    here = {
        "git": provenance.git(),
        "cpu": provenance.cpu_model(),
        "packages": provenance.packages(),
    }
    stored(experiment, tmp_path, environment=here | worker_settings(experiment.candidate.run))
    assert decision_of(tmp_path).skip
    monkeypatch.setenv(name, "highest")
    assert decision_of(tmp_path).why == "XLA_FLAGS or JAX_* are others"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({}, ExitCode.OK),
        ({"verdict": "invalid"}, ExitCode.INVALID),
        ({"gate": {"status": "regression"}}, ExitCode.REGRESSION),
        ({"gate": {"status": "passed"}}, ExitCode.OK),
        ({"exit_code": 10}, ExitCode.REGRESSION),
    ],
    ids=str,
)
def test_what_is_skipped_counts_as_its_result_says(changed, code, tmp_path):
    stored(load_experiment(SMALL), tmp_path, **changed)
    assert (decision_of(tmp_path).skip, decision_of(tmp_path).code) == (True, code)


def test_what_failed_is_run_again_unless_that_is_not_wanted(tmp_path):
    stored(load_experiment(SMALL), tmp_path, status="failed")
    assert (decision_of(tmp_path).skip, decision_of(tmp_path).why) == (False, "failed before")
    assert decision_of(tmp_path, "sweep.retry=none").skip
    assert decision_of(tmp_path, "sweep.retry=none").code == ExitCode.ARM_FAILED
    stored(load_experiment(SMALL), tmp_path, status="failed", exit_code=1)
    assert decision_of(tmp_path, "sweep.retry=none").code == ExitCode.USER_ERROR
    stored(load_experiment(SMALL), tmp_path, status="running")
    assert not decision_of(tmp_path, "sweep.retry=none").skip


def test_what_was_interrupted_is_never_done(tmp_path):
    stored(load_experiment(SMALL), tmp_path, status="failed", exit_code=130)
    assert (decision_of(tmp_path, "sweep.retry=none").skip, decision_of(tmp_path).why) == (
        False,
        "stopped before its end",
    )


def test_a_plan_whose_calls_are_counted_is_described_in_pairs(tmp_path):
    experiment = load_experiment(["workload=score", "workload.num_runs=20"])
    described = decide(experiment, tmp_path).describe(experiment.measure)
    assert described == (
        "to be run (there is no result yet): 20 pairs of trials a case, loading and compiling"
    )


class TestCommand:
    """From the command line, with the experiment replaced by one that leaves a result."""

    @pytest.fixture
    def leaving(self, executed, monkeypatch):
        import sys

        def execute(experiment, folder):
            code = executed(experiment, folder)
            stored(experiment, folder)
            return code

        monkeypatch.setattr(sys.modules["jaxgen.experiment.execute"], "execute", execute)
        return executed

    def sweep(self, *more):
        return main(["-m", "jit=closure,partial", "hydra.sweep.dir=swept", *more])

    def test_an_interrupted_sweep_goes_on_where_it_stopped(self, place, leaving, capsys):
        leaving.answers["partial"] = ExitCode.INTERRUPTED
        assert self.sweep() == ExitCode.INTERRUPTED
        (place / "swept" / "1" / RESULT).unlink()
        assert "hydra.sweep.dir=" in capsys.readouterr().err
        leaving.answers.clear()
        assert [self.sweep(), self.sweep()] == [ExitCode.OK] * 2
        run = [experiment.candidate.choices["jit"] for experiment, _ in leaving.calls]
        assert run == ["closure", "partial", "partial"]
        points = json.loads((place / "swept" / SWEEP).read_text())["points"]
        assert [point["verdict"] for point in points] == ["faster"] * 2

    def test_points_that_were_not_reached_again_stay_on_record(self, tmp_path):
        first = Sweep()
        first.add(["jit=0"], tmp_path / "0", PointEnd(ExitCode.OK))
        first.add(["jit=1"], tmp_path / "1", PointEnd(ExitCode.INVALID))
        Sweep().add(["jit=0"], tmp_path / "0", PointEnd(ExitCode.INTERRUPTED))
        points = json.loads((tmp_path / SWEEP).read_text())["points"]
        assert [point["exit_code"] for point in points] == [ExitCode.INTERRUPTED, ExitCode.INVALID]

    def test_a_dry_run_shows_every_point_and_measures_none(self, place, leaving, capsys):
        code = main(
            [
                "-m",
                "cache=fixed,dynamic",
                "workload.batching=continuous",
                "baseline=off",
                "sweep.dry_run=true",
            ]
        )
        assert code == ExitCode.USER_ERROR
        printed = " ".join(capsys.readouterr().out.split())
        assert "to be run (there is no result yet)" in printed
        assert "needs cache=fixed or" in printed
        assert not leaving.calls
        assert not list(place.rglob("sweep.json"))

    def test_a_dry_run_of_one_is_a_mistake(self, place, executed, capsys):
        assert main(["sweep.dry_run=true"]) == ExitCode.USER_ERROR
        assert "give -m" in capsys.readouterr().err
