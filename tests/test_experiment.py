"""Whole runs in real workers, as small as they can be: what they leave, and how they end when something goes wrong."""

import contextlib
import csv
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from small_runs import SMALL, execute_small, read_result

import jaxgen
from jaxgen.errors import ExitCode, UserError
from jaxgen.pool import Pool

pytestmark = pytest.mark.slow

ROOT = Path(jaxgen.__file__).parents[1]

ALONE = ("baseline=off", "measure.isolation=shared")
"""One worker is enough."""

ENDLESS = ("measure.blocks=1000000", "measure.max_seconds=600", "measure.target_ci=0.000001")
"""Trials that go on until something happens."""

STATISTICS = "unit better samples n mean std median min max p50 p90 p95 p99"
CONTRACT = {
    "": "schema_version status verdict run_id arms comparison agreement cases environment",
    "arms": "candidate baseline",
    "arms.*": "choices config weights startup metrics compile memory roofline program failure",
    "arms.*.choices": "model cache jit dtype mesh workload prompts measure baseline tracker gate",
    "arms.*.config": "model cache jit dtype mesh workload prompts measure baseline tracker gate process",
    "arms.*.weights": "source fingerprint random bytes",
    "arms.*.startup": "load_s trace_s lower_s compile_s warmup_s persistent_cache_hits persistent_cache_misses",
    "arms.*.metrics": "tokens_per_s latency_s ttft_s tpot_s",
    "arms.*.metrics.*": STATISTICS,
    "arms.*.compile": "events_per_trial warm functions",
    "arms.*.memory": "weights_bytes kv_cache_bytes device_peak_bytes program_temp_bytes program_alias_bytes "
    "host_peak_rss_bytes",
    "arms.*.roofline": "bytes_per_step flops_per_step bandwidth_bytes_per_s peak_flops_per_s mbu mfu",
    "arms.*.program": "stablehlo_sha256 module_bytes",
    "comparison": "tokens_per_s latency_s ttft_s tpot_s",
    "comparison.*": "ratio ci95 blocks pairs p_value",
    "agreement": "status tokens_compared first_divergence max_abs_logprob_diff kl_max tolerance",
    "environment": "packages device_kind device_count cpu xla_flags jax_environment jax_config git "
    "load_average_before load_average_after",
}
"""The keys of result.json that others read; `*` stands for each key there is."""


def at(value, path):
    """All values under a path."""
    found = [value]
    for part in filter(None, path.split(".")):
        found = [child for each in found for child in (each.values() if part == "*" else [each[part]])]
    return found


def trials(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def workers_of(pid, *, besides=()):
    """The worker processes of a run, and what they started; `besides` are those that were there before."""
    return [child for child in psutil.Process(pid).children(recursive=True) if child not in besides]


@pytest.fixture(scope="module")
def ab(tmp_path_factory):
    """One run of a fixed cache against none, each arm in its own process; the folder, the exit code, the result."""
    folder = tmp_path_factory.mktemp("ab")
    before = workers_of(os.getpid())
    code, result = execute_small(folder)
    assert not workers_of(os.getpid(), besides=before)
    return folder, code, result


class TestComparison:
    def test_it_ends_completed_with_exit_code_0(self, ab):
        _, code, result = ab
        assert (code, result["status"]) == (ExitCode.OK, "completed")
        assert result["verdict"] in ("faster", "slower", "equivalent", "inconclusive")
        assert result["measurement"]["isolation"] == "separate"

    @pytest.mark.parametrize("path", CONTRACT)
    def test_the_result_has_the_keys_of_the_contract(self, path, ab):
        for block in at(ab[2], path):
            assert set(CONTRACT[path].split()) <= block.keys()

    def test_the_outputs_are_identical(self, ab):
        assert ab[2]["agreement"]["status"] == "identical"
        assert ab[2]["agreement"]["tokens_compared"] == 4

    def test_no_trial_of_either_arm_sees_a_compile_event(self, ab):
        for arm in ab[2]["arms"].values():
            assert arm["compile"]["events_per_trial"] == [0] * 6
            assert (arm["compile"]["warm"], arm["compile"]["void_trials"]) == (True, 0)

    def test_every_trial_is_a_row_and_a_sample(self, ab):
        folder, _, result = ab
        rows = trials(folder)
        for name, arm in result["arms"].items():
            samples = [float(row["tokens_per_s"]) for row in rows if row["arm"] == name]
            assert samples == arm["metrics"]["tokens_per_s"]["samples"]
            assert len(samples) == 6
        assert {row["repeats"] for row in rows} == {str(result["measurement"]["repeats"])}

    def test_the_parts_of_a_trial_add_up(self, ab):
        for row in trials(ab[0]):
            assert float(row["ttft_s"]) + 3 * float(row["tpot_s"]) == pytest.approx(float(row["latency_s"]))
            assert float(row["tokens_per_s"]) * float(row["latency_s"]) == pytest.approx(4)

    def test_both_arms_answers_are_kept(self, ab):
        rows = [json.loads(line) for line in (ab[0] / "outputs.jsonl").read_text().splitlines()]
        assert [(row["arm"], row["index"]) for row in rows] == [("candidate", 0), ("baseline", 0)]
        assert rows[0].keys() >= {"prompt_tokens", "tokens", "text", "finish_reason"}
        assert rows[0]["tokens"] == rows[1]["tokens"]

    def test_random_weights_are_labelled(self, ab):
        assert all(arm["weights"]["random"] for arm in ab[2]["arms"].values())
        assert any("random weights" in note for note in ab[2]["notes"])

    def test_startup_is_timed_in_its_parts(self, ab):
        for arm in ab[2]["arms"].values():
            startup = arm["startup"]
            assert all(startup[part] > 0 for part in ("load_s", "trace_s", "lower_s", "compile_s"))
            assert startup["warmup_s"] > startup["compile_s"]

    def test_the_environment_is_that_of_the_workers(self, ab):
        environment = ab[2]["environment"]
        assert environment["platform"] == "cpu"
        assert environment["device_count"] == 1  # this process has four
        assert "environment" not in ab[2]["arms"]["baseline"]

    def test_nothing_half_written_is_left(self, ab):
        assert {path.name for path in ab[0].iterdir()} == {"result.json", "trials.csv", "outputs.jsonl", "jaxgen.log"}


def test_both_arms_can_share_one_process_and_its_weights(tmp_path):
    code, result = execute_small(tmp_path, "measure.isolation=shared", "measure.target_ci=0.000001", "baseline=same")
    assert code == ExitCode.OK
    assert result["measurement"]["isolation"] == "shared"
    assert result["agreement"]["status"] == "identical"
    for arm in result["arms"].values():
        assert set(arm["compile"]["events_per_trial"]) == {0}
    assert result["arms"]["baseline"]["startup"]["load_s"] < result["arms"]["candidate"]["startup"]["load_s"]


def test_a_strategy_that_recompiles_is_told_and_not_invalid(tmp_path):
    code, result = execute_small(tmp_path, "baseline=same", "baseline.jit=partial", "measure.isolation=shared")
    assert (code, result["verdict"]) == (ExitCode.OK, "faster")
    assert any("recompiled 2 functions in every trial: loop, prefill" in note for note in result["notes"])
    assert min(result["arms"]["baseline"]["compile"]["events_per_trial"]) >= 2
    assert set(result["arms"]["candidate"]["compile"]["events_per_trial"]) == {0}


def test_a_short_warm_up_makes_the_run_invalid(tmp_path):
    code, result = execute_small(
        tmp_path, "measure.warmup_tokens=2", "cache=dynamic", "baseline.cache=fixed", "measure.isolation=shared"
    )
    assert (code, result["status"], result["verdict"]) == (ExitCode.INVALID, "completed", "invalid")
    assert result["comparison"] == {}
    assert "cache=dynamic compiled inside the clock" in result["verdict_reason"]
    assert "measure.warmup_tokens=2" in result["verdict_reason"]
    assert "cache=fixed" not in result["verdict_reason"]
    assert result["arms"]["candidate"]["compile"]["events_per_trial"][0] > 0


class TestProcessSettings:
    def test_an_arm_s_environment_reaches_its_worker_and_the_result(self, tmp_path):
        _, result = execute_small(
            tmp_path,
            "baseline=same",
            "baseline.overrides=['process.env.JAX_DEFAULT_MATMUL_PRECISION=highest',"
            "'process.xla_flags=--xla_cpu_enable_fast_math=false']",
        )
        assert result["measurement"]["isolation"] == "separate"
        theirs = result["arms"]["baseline"]["environment"]
        assert theirs["jax_environment"]["JAX_DEFAULT_MATMUL_PRECISION"] == "highest"
        assert theirs["jax_config"]["jax_default_matmul_precision"] == "highest"
        assert theirs["xla_flags"].endswith("--xla_cpu_enable_fast_math=false")
        assert "JAX_DEFAULT_MATMUL_PRECISION" not in result["environment"]["jax_environment"]
        assert "environment" not in result["arms"]["candidate"]

    def test_an_arm_may_have_an_interpreter_that_prints_a_lot(self, tmp_path):
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nhead -c 1000000 /dev/zero | tr "\\0" x\necho\nexec {sys.executable} "$@"\n')
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        code, result = execute_small(tmp_path, "baseline=off", f"process.python={python}")
        assert (code, result["status"]) == (ExitCode.OK, "completed")
        assert (tmp_path / "jaxgen.log").stat().st_size > 1_000_000

    @pytest.mark.parametrize("python", ["/no/such/python", "/"], ids=["missing", "folder"])
    def test_an_interpreter_that_cannot_be_started_is_the_user_s_to_mend(self, python, tmp_path):
        with pytest.raises(UserError, match=f"^process.python={python} cannot be started .* give the path"):
            execute_small(tmp_path, "baseline=off", f"process.python={python}")
        assert read_result(tmp_path)["status"] == "failed"

    def test_an_interpreter_that_is_none_fails_its_arm(self, tmp_path):
        code, result = execute_small(tmp_path, "baseline=off", "process.python=/bin/true")
        assert code == ExitCode.ARM_FAILED
        failure = result["arms"]["candidate"]["failure"]
        assert (failure["kind"], failure["signal"]) == ("died", None)
        assert "ended with exit code 0 during 'hello'" in failure["message"]


class TestFailures:
    def test_a_worker_killed_in_a_trial_leaves_the_other_arm_s_data(self, tmp_path, monkeypatch):
        commands = []
        call = Pool.call

        def watched(self, arm, command, **arguments):
            commands.append((arm, command))
            if commands.count(("baseline", "trial")) == 3:
                threading.Timer(0.3, os.kill, (self.pids["baseline"], signal.SIGKILL)).start()
                arguments["repeats"] = 1_000_000
            return call(self, arm, command, **arguments)

        monkeypatch.setattr(Pool, "call", watched)
        before = workers_of(os.getpid())
        code, result = execute_small(tmp_path)
        failure = result["arms"]["baseline"]["failure"]
        assert (code, result["status"], result["verdict"]) == (ExitCode.ARM_FAILED, "failed", None)
        assert (failure["kind"], failure["signal"], failure["traceback"]) == ("killed", "SIGKILL", None)
        assert "was killed by SIGKILL during 'trial'" in failure["message"]
        assert result["arms"]["candidate"]["failure"] is None
        assert result["arms"]["candidate"]["metrics"]["tokens_per_s"]["n"] >= 2
        assert result["arms"]["baseline"]["metrics"]["tokens_per_s"]["n"] == 2
        assert len(trials(tmp_path)) >= 4
        assert not workers_of(os.getpid(), besides=before)

    def test_out_of_memory_is_told_shortly_with_its_traceback(self, tmp_path):
        """24 TB of cache: no machine gives that, so that none has to be filled."""
        huge = ("model.shapes.head_dim=100000", "model.shapes.num_kv_heads=6", "model.shapes.hidden_size=8")
        code, result = execute_small(tmp_path, *ALONE, *huge, "cache.max_len=10000000")
        failure = result["arms"]["candidate"]["failure"]
        assert (code, result["status"]) == (ExitCode.ARM_FAILED, "failed")
        assert (failure["kind"], failure["signal"]) == ("out_of_memory", None)
        assert "Out of memory" in failure["message"]
        assert "\n" not in failure["message"]
        assert "Traceback" in failure["traceback"]


@contextlib.contextmanager
def command_line(folder, *overrides):
    """`python -m jaxgen` in a session of its own, as a terminal starts it."""
    command = [sys.executable, "-m", "jaxgen", *SMALL, *overrides, f"hydra.run.dir={folder}"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def wait_for_trials(folder, process, *, count=4, seconds=120):
    """Waits until so many trials are on disk."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if (folder / "trials.csv").exists() and len(trials(folder)) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"no {count} trials; exit code {process.poll()}")


class TestSignals:
    @pytest.mark.parametrize(
        ("sent", "arms"), [(signal.SIGINT, ("baseline=same",)), (signal.SIGTERM, ALONE)], ids=["Ctrl-C", "SIGTERM"]
    )
    def test_an_interrupted_run_keeps_its_trials_and_ends_its_workers(self, sent, arms, tmp_path):
        with command_line(tmp_path, *arms, *ENDLESS) as process:
            wait_for_trials(tmp_path, process)
            workers = workers_of(process.pid)
            os.killpg(process.pid, sent)  # as a terminal does it: to the whole foreground group
            out, err = process.communicate(timeout=60)
        result = read_result(tmp_path)
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert process.returncode == ExitCode.INTERRUPTED
        assert (err, len(workers), alive) == ("", 2 if arms is not ALONE else 1, [])
        assert (result["status"], result["verdict"]) == ("failed", None)
        assert result["arms"]["candidate"]["metrics"]["tokens_per_s"]["n"] >= 2
        assert len(trials(tmp_path)) >= 4
        assert "interrupted: what was measured until then is kept" in " ".join(out.split())

    def test_workers_end_by_themselves_when_the_parent_is_killed(self, tmp_path):
        with command_line(tmp_path, *ALONE, *ENDLESS) as process:
            wait_for_trials(tmp_path, process, count=2)
            workers = workers_of(process.pid)
            process.kill()
            process.communicate(timeout=60)
        _, alive = psutil.wait_procs(workers, timeout=30)
        assert (len(workers), alive) == (1, [])
        assert read_result(tmp_path)["status"] == "running"

    def test_a_reader_that_goes_away_does_not_cost_the_result(self, tmp_path):
        with command_line(tmp_path, *ALONE) as process:
            process.stdout.close()
            assert process.stderr.read() == ""
        assert read_result(tmp_path)["status"] == "completed"
