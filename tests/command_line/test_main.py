"""What a user of the command line sees: exit codes, sweeps, help, no trace of a failed start."""

import dataclasses
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

import jaxgen
from jaxgen.__main__ import main
from jaxgen.config.run_folder import short_name
from jaxgen.config.table import GROUPS, OPTIONS, PLAIN_SLOTS, conf_dir
from jaxgen.errors import ExitCode, UserError

ROOT = Path(jaxgen.__file__).parents[1]

pytestmark = pytest.mark.usefixtures("place")


class TestRuns:
    def test_a_run_gets_its_arms_and_its_folder(self, place, executed):
        assert main(["jit=aot", "cache.max_len=9"]) == ExitCode.OK
        ((experiment, folder),) = executed.calls
        assert list(experiment.arms) == ["candidate", "baseline"]
        assert folder.parents[1] == place / "runs"
        assert folder.name.endswith("_cache.max_len-9_jit-aot")
        assert {path.name for path in folder.iterdir()} == {".hydra", "jaxgen.log", "result.json"}

    def test_flags_may_stand_anywhere(self, executed):
        assert main(["cache=none", "-m", "jit=aot,partial"]) == ExitCode.OK
        assert [experiment.candidate.choices["jit"] for experiment, _ in executed.calls] == [
            "aot",
            "partial",
        ]

    def test_no_two_runs_share_a_folder(self, executed):
        assert main([]) == main([]) == ExitCode.OK
        assert len({folder for _, folder in executed.calls}) == 2

    @pytest.mark.parametrize("code", ExitCode)
    def test_the_experiment_s_exit_code_is_the_command_s(self, code, executed):
        executed.answers["closure"] = code
        assert main(["baseline=off"]) == code

    def test_an_error_found_later_keeps_what_was_written(self, place, executed, capsys):
        executed.answers["closure"] = UserError("cache.max_len=3 cannot hold 9 tokens")
        (place / "out").mkdir()
        (place / "out" / "result.json").write_text("{}")
        assert main(["hydra.run.dir=out"]) == ExitCode.USER_ERROR
        assert (place / "out" / "result.json").exists()
        assert capsys.readouterr().err == "error: cache.max_len=3 cannot hold 9 tokens\n"

    def test_an_error_of_ours_shows_its_traceback_and_is_logged(self, place, executed, capsys):
        executed.answers["closure"] = RuntimeError("a bug")
        assert main([]) == ExitCode.USER_ERROR
        assert "Traceback" in capsys.readouterr().err
        assert "RuntimeError: a bug" in next(place.rglob("jaxgen.log")).read_text()

    def test_ctrl_c_is_130(self, executed):
        executed.answers["closure"] = KeyboardInterrupt()
        assert main([]) == ExitCode.INTERRUPTED


class TestSweeps:
    def test_a_sweep_ends_with_the_worst_code_after_all_jobs(self, executed):
        executed.answers |= {
            "closure": ExitCode.INVALID,
            "partial": ExitCode.ARM_FAILED,
            "aot": ExitCode.OK,
        }
        assert main(["-m", "jit=closure,partial,aot"]) == ExitCode.ARM_FAILED
        assert [folder.name for _, folder in executed.calls] == ["0", "1", "2"]
        assert len({folder.parent for _, folder in executed.calls}) == 1

    def test_a_user_error_in_one_job_does_not_stop_the_others(self, executed, capsys):
        assert main(["-m", "model=hf,tiny", "baseline=off"]) == ExitCode.USER_ERROR
        models = [experiment.candidate.choices["model"] for experiment, _ in executed.calls]
        assert models == ["tiny"]
        assert capsys.readouterr().err.startswith(
            "error: job 0 (model=hf baseline=off): model=hf has no weights"
        )

    def test_an_interpolation_that_leads_nowhere_is_the_mistake_of_its_job_alone(
        self, executed, capsys
    ):
        points = "workload.max_new_tokens=${x.y},3"
        assert main(["-m", points, "baseline=off"]) == ExitCode.USER_ERROR
        assert len(executed.calls) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: job 0 (workload.max_new_tokens=$")
        assert "workload.max_new_tokens: Interpolation key 'x.y' not found" in error

    def test_an_error_of_ours_in_one_job_does_not_stop_the_others(self, executed):
        executed.answers["closure"] = RuntimeError("a bug")
        assert main(["-m", "jit=closure,aot"]) == ExitCode.USER_ERROR
        assert len(executed.calls) == 2

    def test_an_interrupted_job_stops_the_sweep(self, executed):
        executed.answers["closure"] = ExitCode.INTERRUPTED
        assert main(["-m", "jit=closure,aot"]) == ExitCode.INTERRUPTED
        assert len(executed.calls) == 1

    def test_a_folder_that_one_stands_in_is_never_removed(self, place, executed, monkeypatch):
        (place / "runs").mkdir()
        monkeypatch.chdir(place / "runs")
        assert main(["-m", "model=hf", "jit=closure,aot"]) == ExitCode.USER_ERROR
        assert list((place / "runs").iterdir()) == []

    def test_a_sweep_of_which_nothing_ran_leaves_nothing(self, place, executed):
        assert main(["-m", "model=hf", "jit=closure,aot"]) == ExitCode.USER_ERROR
        assert list(place.iterdir()) == []


class TestHelp:
    def test_help_names_every_group_option_and_key(self, capsys):
        assert main(["--help"]) == ExitCode.OK
        text = capsys.readouterr().out
        for group, options in GROUPS.items():
            assert f"{group} {', '.join(options)}" in " ".join(text.split())
        for group, _, spec in OPTIONS:
            for field in dataclasses.fields(spec):
                assert f" {group}.{field.name}" in text
        for slot, spec in PLAIN_SLOTS.items():
            for field in dataclasses.fields(spec):
                assert f" {slot}.{field.name}" in text
        assert max(map(len, text.splitlines())) <= 120

    def test_help_gives_defaults_that_are_words_or_lists_and_experiments_none(self, capsys):
        assert main(["--help"]) == ExitCode.OK
        text = " ".join(capsys.readouterr().out.split())
        for line in (
            "workload.query='I pledge allegiance'",
            "workload.labels=[' to',' of',' for']",
        ):
            assert line in text
        assert "tracker.project=jaxgen" in text
        assert (
            "none is the default; experiment=NAME"
            in text.partition("study single")[2].partition("arc, ")[0]
        )

    def test_version(self, capsys):
        assert main(["--version"]) == ExitCode.OK
        assert capsys.readouterr().out == f"jaxgen {jaxgen.__version__}\n"

    def test_cfg_shows_the_configuration(self, place, capsys):
        assert main(["cache.max_len=5", "--cfg", "job", "-p", "cache"]) == ExitCode.OK
        assert "max_len: 5" in capsys.readouterr().out
        assert list(place.iterdir()) == []

    @pytest.mark.parametrize("kind", ["searchpath", "defaults"])
    def test_info_shows_what_is_composed_and_from_where(self, kind, place, capsys):
        assert main(["--info", kind]) == ExitCode.OK
        assert {"searchpath": str(conf_dir()), "defaults": "cache/fixed"}[
            kind
        ] in capsys.readouterr().out
        assert list(place.iterdir()) == []

    @pytest.mark.parametrize(
        ("overrides", "name"),
        [
            ("", "default"),
            ("cache=dynamic,jit=aot", "cache-dynamic_jit-aot"),
            ("prompts.text='a b/../c'", "prompts.text-a-b-..-c"),
            ("x" * 300, "x" * 80),
        ],
    )
    def test_a_run_s_name_is_short_and_plain(self, overrides, name):
        assert short_name(overrides) == name


def python(code, *argv):
    """A fresh interpreter in the test's folder, as a user's would be."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *code, *argv]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


class TestProcess:
    @pytest.mark.parametrize(
        "argv", [["--help"], ["cahce=3"], ["--cfg", "job"], ["model=hf"]], ids=" ".join
    )
    def test_neither_help_nor_a_mistake_imports_jax_or_scipy(self, argv):
        with python(["-X", "importtime", "-m", "jaxgen"], *argv) as process:
            imported = {
                line.rpartition("|")[2].strip() for line in process.communicate()[1].splitlines()
            }
        assert "jaxgen.errors" in imported
        assert not {"jax", "scipy", "numpy", "wandb"} & imported

    def test_a_reader_that_goes_away_is_no_error(self):
        code = "import sys; from jaxgen.__main__ import main; input(); sys.exit(main(['--help']))"
        with subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            process.stdout.close()
            process.stdin.write(b"\n")
            process.stdin.close()
            assert process.stderr.read() == b""

    def test_ctrl_c_during_a_run_is_130_without_a_traceback(self, place):
        (place / "experiment.py").write_text(
            "import time\n"
            "def execute(experiment, folder):\n"
            "    print('running', flush=True)\n"
            "    time.sleep(60)\n"
        )
        code = (
            "import sys, experiment; sys.modules['jaxgen.experiment.execute'] = experiment\n"
            "from jaxgen.__main__ import main; sys.exit(main(['baseline=off']))"
        )
        with python(["-c", code]) as process:
            assert process.stdout.readline() == "running\n"
            process.send_signal(signal.SIGINT)
            assert process.communicate()[1] == ""
        assert process.returncode == ExitCode.INTERRUPTED


class TestReport:
    """What is written when a sweep has ended."""

    @pytest.fixture
    def written(self, executed, monkeypatch):
        """Folders that were reported."""
        folders = []

        def write_report(paths):
            folders.extend(paths)
            if write_report.problem:
                raise write_report.problem
            return types.SimpleNamespace(html=paths[0] / "report.html")

        write_report.problem = None
        write_report.folders = folders
        stand_in = types.SimpleNamespace(write_report=write_report)
        monkeypatch.setitem(sys.modules, "jaxgen.report.writing", stand_in)
        return write_report

    def test_a_sweep_gets_one_of_all(self, place, executed, written):
        assert main(["-m", "jit=closure,aot"]) == ExitCode.OK
        assert written.folders == [executed.calls[0][1].parent]

    def test_where_it_is_or_why_there_is_none_is_told(self, executed, written, capsys):
        assert main(["-m", "jit=closure,aot"]) == ExitCode.OK
        assert "report.html" in capsys.readouterr().out
        written.problem = UserError("the disk is full")
        assert main(["-m", "jit=closure,aot"]) == ExitCode.OK
        assert "no report was written: the disk is full" in capsys.readouterr().err
        written.problem = ZeroDivisionError("a bug")
        assert main(["-m", "jit=closure,aot"]) == ExitCode.OK
        assert "no report was written (ZeroDivisionError: a bug)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("jaxgen cache=pa", ["cache=paged"]),
        ("jaxgen cache=none cache.", ["cache.pad=", "cache.window="]),
    ],
)
def test_a_shell_completes_groups_options_and_keys(typed, offered):
    shell = os.environ | {
        "COMP_LINE": typed,
        "COMP_POINT": str(len(typed)),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "jaxgen", "-sc", "query=bash"]
    done = subprocess.run(command, env=shell, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == offered
