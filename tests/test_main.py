"""What a user of the command line sees: a line for each mistake, exit codes, sweeps, nothing left of a failed start."""

import dataclasses
import logging
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
from jaxgen.config.table import GROUPS, OPTIONS
from jaxgen.errors import ExitCode, UserError

ROOT = Path(jaxgen.__file__).parents[1]

MISTAKES = [
    (["cache=fixd"], ["cache=fixd is not an option", "fixed, none, dynamic", "did you mean cache=fixed?"]),
    (["cache=null"], ["cache=null is not an option", "fixed, none, dynamic"]),
    (["cache="], ["cache= is not an option", "fixed, none, dynamic"]),
    (["measure=5"], ["measure=5 is not an option", "default, quick, thorough"]),
    (["experiment=nope"], ["experiment=nope is not an option"]),
    (["cache=[fixed,none]"], ["cache takes one of fixed, none, dynamic", "-m cache=fixed,none"]),
    (["cahce=fixed"], ["cahce=fixed: there is no cahce", "model, cache, jit", "did you mean cache?"]),
    (["cache.lenght=3"], ["cache.lenght=3: cache=fixed has no key lenght", "it has max_len, bucket"]),
    (["measure.trails=3"], ["measure.trails=3: measure has no key trails", "did you mean measure.trials?"]),
    (["model.shapes.layers=3"], ["model.shapes.layers=3", "num_layers"]),
    (["cache=dynamic", "cache.max_len=3"], ["cache=dynamic has no keys at all", "cache=fixed has it"]),
    (["prompts.text=hi"], ["prompts=builtin has no key text; it has count", "prompts=text has it"]),
    (["+cache.zzz=2"], ["+cache.zzz=2: cache=fixed has no key zzz"]),
    (["++foo=1"], ["++foo=1: there is no foo"]),
    (["measure.trials=abc"], ["measure.trials=abc is impossible", "a whole number (default 4)"]),
    (["measure.trials=2.5"], ["measure.trials=2.5 is impossible", "a whole number"]),
    (["measure.trials=null"], ["measure.trials=null is impossible", "a whole number"]),
    (["cache.max_len=x"], ["cache.max_len=x is impossible", "a whole number or null (default null)"]),
    (["measure.margin=wide"], ["measure.margin=wide is impossible", "a number or null"]),
    (["workload.ignore_eos=perhaps"], ["workload.ignore_eos=perhaps", "true or false (default false)"]),
    (["dtype.kv=int3"], ["dtype.kv=int3 is impossible", "one of float32, bfloat16, float16"]),
    (["measure.isolation=Shared"], ["one of auto, shared, separate (default auto)"]),
    (["measure={trialz: 3}"], ["measure has no key trialz", "did you mean measure.trials?"]),
    (["process=5"], ["process=5 is impossible", "xla_flags, env, python"]),
    (["measure.trials=0", "measure.blocks=0"], ["measure.trials=0 must be 1 or more; measure.blocks=0"]),
    (["process.env.A=1", "measure.isolation=shared"], ["use measure.isolation=separate or auto"]),
    (["workload.max_new_tokens=???"], ["workload.max_new_tokens is missing", "set workload.max_new_tokens=..."]),
    (["workload.max_new_tokens=${foo}"], ["workload.max_new_tokens=${foo}: Interpolation key 'foo' not found"]),
    (["model=hf"], ["model=hf has no weights", "model.source=DIR_OR_HUB_ID"]),
    (["model=hf", "model.weights=random"], ["model.weights=random needs the shapes", "qwen3_0_6b"]),
    (["model=hf", "model.shapes.num_layers=2"], ["model.shapes.num_layers=2", "give all of it at once"]),
    (["prompts=text"], ["prompts=text has no prompt", "prompts.path=FILE"]),
    (["prompts=text", "prompts.text=7"], ["prompts.text[0]=7 is not a prompt", "quotes of its own"]),
    (["prompts=jsonl"], ["prompts=jsonl has no file", "prompts.path=FILE"]),
    (["cache"], ["cache is not an override", "write cache=... with one of fixed, none, dynamic"]),
    (["=3"], ["=3 has no key"]),
    (["cache..x=3"], ["cache..x is no key", "KEY=VALUE"]),
    (["prompts.text='a"], ["prompts.text='a cannot be read", "not closed"]),
    (["cache=fixed,none"], ["cache=fixed,none has several values", "add -m"]),
    (["~cache"], ["~cache: nothing can be taken out", "cache=..."]),
    (["+cache=none"], ["+cache=none would add a second cache", "write cache=none"]),
    (["baseline=[cache=none]"], ["baseline.cache=none", "\"baseline.overrides=['cache=none']\""]),
    (["baseline.overrides=[cache=none]"], ["\"baseline.overrides=['cache=none']\""]),
    (["baseline.cache=fixd"], ["baseline.cache=fixd is not an option", "fixed, none, dynamic"]),
    (["baseline.cahce=fixed"], ["baseline has no key cahce", "did you mean baseline.cache?"]),
    (["baseline=off", "baseline.jit=aot"], ["baseline.jit has nothing to change", "baseline=same"]),
    (["baseline.overrides=['cache=fixd']"], ["baseline.overrides: cache=fixd is not an option"]),
    (["baseline.overrides=['cache.len=3']"], ["baseline.overrides: cache.len=3: cache=none has no key len"]),
    (["baseline.overrides=['model.seed=x']"], ["baseline.overrides: model.seed=x is impossible", "a whole number"]),
    (["baseline.overrides=['measure.trials=3']"], ["measure.trials=3 cannot be set for the baseline alone"]),
    (["baseline.overrides=['gate=off']"], ["measure, baseline, gate, tracker are the same for both arms"]),
    (["baseline.overrides=['+model.x=3']"], ["+model.x=3", "only key=value and group=option"]),
    (["baseline.overrides=['~cache']"], ["~cache", "only key=value and group=option"]),
    (["baseline.overrides=['jit=aot,eager']"], ["one value only"]),
    (["baseline.overrides=['nope.x=3']"], ["there is no nope to change"]),
    (["--foo"], ["there is no flag --foo", "KEY=VALUE, without dashes", "--help"]),
    (["--cfg", "jobs"], ["--cfg: invalid choice: 'jobs'"]),
    (["-m", "--cfg", "job"], ["Only one of --run, --multirun, --cfg"]),
    (["-m", "cache=none,fixd"], ["cache=fixd is not an option"]),
    (["--config-dir", "nowhere"], ["nowhere' not found"]),
    (["hydra.searchpath=[nowhere]"], ["nowhere is not available"]),
    (["hydra.run.dir=/dev/null/x"], ["cannot write the run folder", "hydra.run.dir=DIR"]),
]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own for each test, and loggers of its own: Hydra closes all handlers that it finds.

    Among them may be one that absl made for pytest's own stderr, in a process where other tests have imported jax.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging, "_handlerList", [])
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield tmp_path
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers, root.level = handlers, level


@pytest.fixture
def executed(monkeypatch):
    """Stands in for the experiment: notes its calls, does what `answers` says for the candidate's jit strategy."""
    calls = []

    def execute(arms, folder):
        calls.append((arms, folder))
        answer = execute.answers.get(arms["candidate"].choices["jit"], ExitCode.OK)
        if isinstance(answer, BaseException):
            raise answer
        (folder / "result.json").write_text("{}")
        return answer

    execute.answers = {}
    execute.calls = calls
    monkeypatch.setitem(sys.modules, "jaxgen.experiment", types.SimpleNamespace(execute=execute))
    return execute


class TestMistakes:
    @pytest.mark.parametrize(("argv", "fragments"), MISTAKES, ids=lambda value: " ".join(value)[:50])
    def test_a_mistake_is_one_line_and_leaves_nothing_behind(self, argv, fragments, place, executed, capsys):
        assert main(argv) == ExitCode.USER_ERROR
        line = capsys.readouterr().err
        assert line.startswith("error: ")
        assert line.count("\n") == 1
        for fragment in fragments:
            assert fragment in line
        assert executed.calls == []
        assert list(place.iterdir()) == []

    @pytest.mark.parametrize(
        ("text", "fragment"),
        [
            ("defaults: [fixed, _self_]\nlenght: 3\n", "cache/mine.yaml: cache=fixed has no key lenght"),
            ("defaults: [fixed, _self_]\nmax_len: x\n", "cache/mine.yaml: cache.max_len=x is impossible"),
            ("max_len: 3\n", "cache was composed without a schema"),
            ("defaults: [/schema/jit/jit@_here_]\n", "or with another slot's"),
            ("defaults: [fixed\n", "mine.yaml"),
        ],
    )
    def test_a_mistake_in_a_file_names_the_file(self, text, fragment, place, executed, capsys):
        (place / "own" / "cache").mkdir(parents=True)
        (place / "own" / "cache" / "mine.yaml").write_text(text)
        assert main(["--config-dir", "own", "cache=mine"]) == ExitCode.USER_ERROR
        assert fragment in capsys.readouterr().err
        assert not (place / "runs").exists()


class TestRuns:
    def test_a_run_gets_its_arms_and_its_folder(self, place, executed):
        assert main(["jit=aot", "cache.max_len=9"]) == ExitCode.OK
        ((arms, folder),) = executed.calls
        assert list(arms) == ["candidate", "baseline"]
        assert folder.parents[1] == place / "runs"
        assert folder.name.endswith("_cache.max_len-9_jit-aot")
        assert {path.name for path in folder.iterdir()} == {".hydra", "jaxgen.log", "result.json"}

    def test_flags_may_stand_anywhere(self, executed):
        assert main(["cache=none", "-m", "jit=aot,partial"]) == ExitCode.OK
        assert [arms["candidate"].choices["jit"] for arms, _ in executed.calls] == ["aot", "partial"]

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
        executed.answers |= {"closure": ExitCode.INVALID, "partial": ExitCode.ARM_FAILED, "aot": ExitCode.OK}
        assert main(["-m", "jit=closure,partial,aot"]) == ExitCode.ARM_FAILED
        assert [folder.name for _, folder in executed.calls] == ["0", "1", "2"]
        assert len({folder.parent for _, folder in executed.calls}) == 1

    def test_a_user_error_in_one_job_does_not_stop_the_others(self, executed, capsys):
        assert main(["-m", "model=hf,tiny", "baseline=off"]) == ExitCode.USER_ERROR
        assert [arms["candidate"].choices["model"] for arms, _ in executed.calls] == ["tiny"]
        assert capsys.readouterr().err.startswith("error: job 0 (model=hf baseline=off): model=hf has no weights")

    def test_an_error_of_ours_in_one_job_does_not_stop_the_others(self, executed):
        executed.answers["closure"] = RuntimeError("a bug")
        assert main(["-m", "jit=closure,aot"]) == ExitCode.USER_ERROR
        assert len(executed.calls) == 2

    def test_an_interrupted_job_stops_the_sweep(self, executed):
        executed.answers["closure"] = ExitCode.INTERRUPTED
        assert main(["-m", "jit=closure,aot"]) == ExitCode.INTERRUPTED
        assert len(executed.calls) == 1

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
        assert max(map(len, text.splitlines())) <= 120

    def test_version(self, capsys):
        assert main(["--version"]) == ExitCode.OK
        assert capsys.readouterr().out == f"jaxgen {jaxgen.__version__}\n"

    def test_cfg_shows_the_configuration(self, place, capsys):
        assert main(["cache.max_len=5", "--cfg", "job", "-p", "cache"]) == ExitCode.OK
        assert "max_len: 5" in capsys.readouterr().out
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
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class TestProcess:
    @pytest.mark.parametrize("argv", [["--help"], ["cahce=3"], ["--cfg", "job"], ["model=hf"]], ids=" ".join)
    def test_neither_help_nor_a_mistake_imports_jax_or_scipy(self, argv):
        with python(["-X", "importtime", "-m", "jaxgen"], *argv) as process:
            imported = {line.rpartition("|")[2].strip() for line in process.communicate()[1].splitlines()}
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
            "import time\ndef execute(arms, folder):\n    print('running', flush=True)\n    time.sleep(60)\n"
        )
        code = (
            "import sys, experiment; sys.modules['jaxgen.experiment'] = experiment\n"
            "from jaxgen.__main__ import main; sys.exit(main(['baseline=off']))"
        )
        with python(["-c", code]) as process:
            assert process.stdout.readline() == "running\n"
            process.send_signal(signal.SIGINT)
            assert process.communicate()[1] == ""
        assert process.returncode == ExitCode.INTERRUPTED
