"""`jaxgen.run`: the command line's measurement as one call, its result as an object."""

import json
import subprocess
import sys

import pytest

import jaxgen
from jaxgen.errors import ExitCode, UserError
from support.small_runs import SMALL, finished_result


@pytest.fixture
def executed(monkeypatch):
    """The experiment replaced by one that leaves a finished result."""

    def execute(experiment, folder, *, pages):
        execute.experiment, execute.pages = experiment, pages
        finished_result(folder)
        return ExitCode.OK

    import jaxgen.api.run

    monkeypatch.setattr(jaxgen.api.run, "execute", execute)
    return execute


def test_a_run_gives_its_result(executed, tmp_path):
    result = jaxgen.run(*SMALL, "cache=dynamic", folder=tmp_path / "run")
    assert not executed.pages
    assert executed.experiment.candidate.choices["cache"] == "dynamic"
    assert (result.exit_code, result.metric) == (ExitCode.OK, "tokens_per_s")
    assert result.ratio == pytest.approx(2)
    assert result.ci95[0] <= result.ratio <= result.ci95[1]
    assert (result.verdict, result.reason) == (
        result.data["verdict"],
        result.data["verdict_reason"],
    )
    assert result.metrics()["tokens_per_s"]["median"] == 201.0
    assert result.metrics("baseline")["tokens_per_s"]["median"] == 100.5
    assert json.loads((result.folder / "result.json").read_text()) == result.data


def test_the_folder_is_one_below_runs_unless_it_is_given(executed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert jaxgen.run(*SMALL, "jit=aot").folder.parts[0] == "runs"


def test_a_mistake_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="folder=FOLDER"):
        jaxgen.run("hydra.run.dir=here")
    with pytest.raises(UserError, match="fixd"):
        jaxgen.run("cache=fixd")
    assert not list(tmp_path.iterdir())


def test_nobody_imports_jax_for_it():
    told = "import sys, jaxgen; jaxgen.run; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], timeout=60).returncode == 0
