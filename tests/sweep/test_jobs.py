"""Sweeps by launchers: jobs in processes of their own end in the same record.

What is missing for a launcher is said in one line.
"""

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

import jaxgen
from jaxgen.__main__ import main
from jaxgen.config import job, schema
from jaxgen.config.experiment import load_experiment
from jaxgen.errors import ExitCode
from jaxgen.results.files import MULTIRUN, SWEEP
from jaxgen.sweep.jobs import Jobs
from jaxgen.sweep.rows import POINTS, PointEnd, measured_row, write_row
from jaxgen.sweep.table import Sweep
from support.small_runs import ALONE, SMALL, read_result

ROOT = Path(jaxgen.__file__).parents[1]
SUBMITIT = "hydra_plugins.hydra_submitit_launcher"

pytestmark = pytest.mark.usefixtures("place")


def installed(name):
    """Whether a launcher's package is there."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


with_submitit = pytest.mark.skipif(
    not installed(SUBMITIT), reason="the extra slurm is not installed"
)


class TestElsewhere:
    @pytest.mark.slow
    @with_submitit
    def test_jobs_of_a_launcher_end_in_the_sweep_s_record(self, place):
        """One at a time: the local executor would start all of them at once."""
        argv = [
            "-m",
            "hydra/launcher=submitit_local",
            "hydra.sweeper.max_batch_size=1",
            "hydra.sweep.dir=out",
        ]
        argv += [*SMALL, *ALONE, "measure.blocks=1", "measure.trials=0,1"]
        command = [sys.executable, "-m", "jaxgen", *argv]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == ExitCode.USER_ERROR
        points = json.loads((place / "out" / SWEEP).read_text())["points"]
        ends = [(point["exit_code"], point["status"]) for point in points]
        assert ends == [(1, None), (0, "completed")], points
        assert "measure.trials=0" in points[0]["reason"]
        assert "the sweep" in ended.stdout
        assert not (place / "out" / POINTS).exists()
        assert "hydra/launcher=submitit_local" in read_result(place / "out" / "1")["command"]

    def test_the_classes_of_a_configuration_are_found_by_name(self):
        """A launcher's process would get copies of them otherwise.

        Some versions of cloudpickle make such copies without fields.
        """
        schema.register()
        root = ConfigStore.instance().load("schema/run.yaml").node
        kinds = [OmegaConf.get_type(node) for node in (root, root.sweep, root.process)]
        assert [pickle.loads(pickle.dumps(kind)) for kind in kinds] == kinds

    def test_a_copy_of_the_jobs_knows_that_it_is_one(self, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["jaxgen", "-m", "jit=aot,closure"])
        copy = pickle.loads(pickle.dumps(Jobs()))
        assert copy._command == ("jaxgen", "-m", "jit=aot,closure")

    def test_a_job_that_ended_without_a_word_is_a_failed_point(self, place):
        row = measured_row(["jit=aot"], place / "0", PointEnd(ExitCode.OK), number=0)
        write_row(row, place)
        sweep = Sweep()
        sweep.gather(place, [["jit=aot"], ["jit=closure"]])
        assert [row["exit_code"] for row in sweep.rows] == [0, 30]
        assert "ended without a word" in sweep.rows[1]["reason"]
        assert len(json.loads((place / SWEEP).read_text())["points"]) == 2

    def test_a_job_of_several_tasks_is_refused_once(self, place, executed, monkeypatch, capsys):
        copy = pickle.loads(pickle.dumps(Jobs()))
        monkeypatch.setenv("SLURM_NTASKS", "2")
        here = job.Job(place / "0", 0, ("jit=aot",))
        monkeypatch.setattr("jaxgen.sweep.jobs.this_job", lambda: here)
        cfg = SimpleNamespace(mesh={}, sweep=SimpleNamespace(dry_run=False))
        assert copy(cfg) == ExitCode.USER_ERROR
        monkeypatch.setenv("SLURM_PROCID", "1")
        assert copy(cfg) == ExitCode.OK
        assert capsys.readouterr().err.count("has 2 tasks") == 1
        assert executed.calls == []
        assert (place / POINTS / "0.json").exists()

    def test_a_dry_run_measures_nothing_there_either(self, place, executed, monkeypatch):
        """Where a file asks for it, of which the command line knows nothing."""
        copy = pickle.loads(pickle.dumps(Jobs()))
        monkeypatch.setattr(
            "jaxgen.sweep.jobs.this_job", lambda: job.Job(place / "0", 0, ("jit=aot",))
        )
        monkeypatch.setattr(
            "jaxgen.sweep.points.compose_experiment",
            lambda cfg: load_experiment(["jit=aot", "sweep.dry_run=true"]),
        )
        assert copy(SimpleNamespace(mesh={}, sweep=SimpleNamespace(dry_run=True))) == ExitCode.OK
        assert executed.calls == []
        sweep = Sweep()
        sweep.gather(place, [["jit=aot"]])
        assert sweep.rows[0]["reason"].startswith("to be run")
        assert list(place.iterdir()) == []


class TestLaunchers:
    @with_submitit
    @pytest.mark.parametrize("name", ["slurm_cpu", "slurm_gpu", "slurm_multinode"])
    def test_each_can_be_shown(self, name, place, capsys):
        assert (
            main(["-m", f"hydra/launcher={name}", "--cfg", "hydra", "-p", "hydra.launcher"])
            == ExitCode.OK
        )
        printed = capsys.readouterr().out
        assert "submitit_launcher.SlurmLauncher" in printed
        assert "tasks_per_node: 1\n" in printed
        assert list(place.iterdir()) == []

    @with_submitit
    def test_without_a_cluster_there_is_one_line(self, place, executed, capsys):
        assert main(["-m", "hydra/launcher=slurm_cpu", "jit=aot,closure"]) == ExitCode.USER_ERROR
        printed = capsys.readouterr().err
        assert printed.startswith("error: the launcher ended the sweep (Could not detect")
        assert printed.count("\n") == 1
        assert executed.calls == []

    @pytest.mark.parametrize(
        "typed", ["sweep.dry_run=true", "sweep.dry_run=True", "++sweep.dry_run=yes"]
    )
    def test_a_dry_run_submits_nothing(self, typed, place, executed, capsys):
        assert main(["-m", "hydra/launcher=nonsense", "jit=aot,closure", typed]) == ExitCode.OK
        assert "to be run" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "typed", ["console.level=quiet", "++console.level=quiet", "console.level='quiet'"]
    )
    def test_a_quiet_sweep_is_quiet_however_that_is_written(self, typed):
        adapted = job.adapt_overrides(["jit=aot", typed])
        assert adapted == ["jit=aot", typed, "hydra/hydra_logging=none"]

    def test_the_last_word_counts(self):
        typed = ["hydra/launcher=joblib", "sweep.dry_run=true", "sweep.dry_run=false"]
        assert job.adapt_overrides(typed) == typed

    @pytest.mark.skipif(
        installed("hydra_plugins.hydra_ray_launcher"), reason="the extra ray is installed"
    )
    def test_a_launcher_that_is_not_installed_is_named_with_its_extra(self, place, capsys):
        assert main(["-m", "hydra/launcher=ray", "jit=aot,closure"]) == ExitCode.USER_ERROR
        assert capsys.readouterr().err == (
            "error: hydra/launcher: ray comes with hydra-ray-launcher, which is not installed; "
            "pip install 'jaxgen[ray]'\n"
        )

    def test_a_slurm_config_without_its_extra_names_it_too(self, place, monkeypatch, capsys):
        """As if the plugin had not put its options in store."""
        from hydra.core.config_store import ConfigStore

        launchers = ConfigStore.instance().repo["hydra"]["launcher"]
        for name in ("submitit_slurm.yaml", "submitit_local.yaml"):
            monkeypatch.delitem(launchers, name, raising=False)
        assert main(["-m", "hydra/launcher=slurm_gpu", "jit=aot,closure"]) == ExitCode.USER_ERROR
        assert capsys.readouterr().err == (
            "error: hydra/launcher: submitit_slurm comes with hydra-submitit-launcher, "
            "which is not installed; pip install 'jaxgen[slurm]'\n"
        )


OWN = "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {jit: 'aot,closure'}}}\n"


@pytest.mark.parametrize(
    ("typed", "points"),
    [
        (["-m", "jit=aot,closure"], [["jit=aot"], ["jit=closure"]]),
        (
            ["-m", "jit=aot,closure", "hydra.sweeper.max_batch_size=1"],
            [["jit=aot"], ["jit=closure"]],
        ),
        (["experiment=own"], [["jit=aot", "experiment=own"], ["jit=closure", "experiment=own"]]),
        (["-m", "jit=glob(a*)"], []),
    ],
)
def test_the_points_are_those_of_hydra_s_own_sweeper(typed, points, place, executed):
    (place / "own" / "experiment").mkdir(parents=True)
    (place / "own" / "experiment" / "own.yaml").write_text(OWN)
    assert main(["--config-dir", "own", *typed, "hydra.sweep.dir=out"]) == ExitCode.OK
    assert job.points_of(place / "out") == points
    if points:
        strategies = [experiment.candidate.choices["jit"] for experiment, _ in executed.calls]
        assert strategies == ["aot", "closure"]


def test_of_a_sweep_that_has_not_begun_or_has_a_sweeper_of_another_kind_no_point_is_known(place):
    assert job.points_of(place) == []
    (place / MULTIRUN).write_text(
        "hydra: {sweeper: {_target_: optuna}, overrides: {task: [jit=aot]}}\n"
    )
    assert job.points_of(place) == []


def test_a_launcher_s_job_that_died_is_found_by_what_hydra_composed(place):
    target = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
    params = "{'measure.seed': '0,1'}"
    (place / MULTIRUN).write_text(
        f"hydra: {{sweeper: {{_target_: {target}, params: {params}}}, overrides: {{task: []}}}}\n"
    )
    row = measured_row(["measure.seed=0"], place / "0", PointEnd(ExitCode.OK), number=0)
    write_row(row, place)
    jobs = Jobs()
    jobs.gather(place)
    assert jobs.codes == [ExitCode.OK, ExitCode.ARM_FAILED]
    assert jobs.sweep.rows[1]["overrides"] == {"measure.seed": "1"}
