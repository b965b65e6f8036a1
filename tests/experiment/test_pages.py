"""The pages that a run leaves beside its numbers, and a run whose pages fail."""

import pytest

from jaxgen.errors import ExitCode, UserError
from jaxgen.experiment import execute
from jaxgen.report import writing
from jaxgen.specs.study import Single
from support.small_runs import experiment_of, finished_result, read_result


@pytest.fixture
def measured(monkeypatch):
    """A study that ends as a measurement does."""

    def study(experiment, record, console):
        record.result.update(finished_result(record.folder))
        return ExitCode.OK

    monkeypatch.setitem(execute._STUDIES, Single, study)


def test_a_finished_run_has_pages_and_plots(measured, tmp_path):
    assert execute.execute(experiment_of(), tmp_path) == ExitCode.OK
    assert (tmp_path / "report.html").exists()
    assert (tmp_path / "report.md").exists()
    assert not [note for note in read_result(tmp_path)["notes"] if "report" in note]


@pytest.mark.parametrize("problem", [UserError("the disk is full"), RuntimeError("a bug")], ids=str)
def test_pages_that_fail_cost_nothing_but_a_note(problem, measured, tmp_path, monkeypatch, capsys):
    def write_report(paths):
        raise problem

    monkeypatch.setattr(writing, "write_report", write_report)
    assert execute.execute(experiment_of(), tmp_path) == ExitCode.OK
    assert any(
        "no report was written" in note and str(problem) in note
        for note in read_result(tmp_path)["notes"]
    )
    assert "no report was written" in capsys.readouterr().out


def test_an_interrupted_run_ends_at_once(monkeypatch, tmp_path):
    def study(experiment, record, console):
        raise KeyboardInterrupt

    monkeypatch.setitem(execute._STUDIES, Single, study)
    assert execute.execute(experiment_of(), tmp_path) == ExitCode.INTERRUPTED
    assert not (tmp_path / "report.html").exists()
