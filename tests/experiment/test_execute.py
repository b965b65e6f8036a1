"""Whole runs in real workers, as small as can be: what they leave, how they end if one fails."""

import json
import os
import signal
import stat
import sys
import threading

import pytest

from jaxgen.errors import ExitCode, UserError
from jaxgen.executor.pool import Pool
from support.small_runs import ALONE, execute_small, read_result, trials_of, workers_of

pytestmark = pytest.mark.slow

STATISTICS = "unit better samples n mean std median min max p50 p90 p95 p99"
CONTRACT = {
    "": (
        "schema_version status verdict verdict_reason run_id arms comparison agreement "
        "cases environment measurement stability same_program notes"
    ),
    "arms": "candidate baseline",
    "arms.*": (
        "choices config weights mesh startup metrics compile memory roofline program failure"
    ),
    "arms.*.choices": (
        "model cache jit dtype mesh workload prompts measure baseline tracker gate study"
    ),
    "arms.*.config": (
        "model cache jit dtype mesh workload prompts measure baseline tracker gate "
        "study process fault"
    ),
    "arms.*.weights": "source fingerprint random bytes",
    "arms.*.startup": (
        "load_s trace_s lower_s compile_s warmup_s persistent_cache_hits "
        "persistent_cache_misses calls next_call import_s"
    ),
    "arms.*.metrics": "tokens_per_s latency_s ttft_s tpot_s",
    "arms.*.metrics.*": STATISTICS,
    "arms.*.compile": "events_per_trial warm functions void_trials",
    "arms.*.memory": (
        "weights_bytes kv_cache_bytes device_peak_bytes program_temp_bytes "
        "program_alias_bytes host_peak_rss_bytes reasons"
    ),
    "arms.*.roofline": (
        "bytes_per_step flops_per_step bandwidth_bytes_per_s peak_flops_per_s mbu mfu "
        "of prefill working_set_bytes bandwidth_form"
    ),
    "arms.*.program": "stablehlo_sha256 module_bytes programs cost copies",
    "comparison": "tokens_per_s latency_s ttft_s tpot_s",
    "comparison.*": "ratio ci95 blocks pairs p_value processes spread start_spread trimmed",
    "agreement": (
        "status tokens_compared first_divergence max_abs_logprob_diff kl_max kl_mean "
        "tolerance tolerance_reason reasons warnings prompts_compared prompts_diverging "
        "forced"
    ),
    "measurement": "isolation margin margin_source stopped_because repeats",
    "stability": "drift outliers advice",
    "stability.drift": "candidate baseline",
    "environment": (
        "packages device_kind device_count cpu xla_flags jax_environment jax_config git "
        "load_average_before load_average_after foreign_cpu_share foreign_device_load"
    ),
}
"""The keys of result.json that others read; `*` stands for each key there is."""


def at(value, path):
    """All values under a path."""
    found = [value]
    for part in filter(None, path.split(".")):
        found = [
            child for each in found for child in (each.values() if part == "*" else [each[part]])
        ]
    return found


@pytest.fixture(scope="module")
def ab(tmp_path_factory):
    """One run of a fixed cache against none: the folder, the exit code and the result."""
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
        rows = trials_of(folder)
        for name, arm in result["arms"].items():
            samples = [float(row["tokens_per_s"]) for row in rows if row["arm"] == name]
            assert samples == arm["metrics"]["tokens_per_s"]["samples"]
            assert len(samples) == 6
        repeats = {row["arm"]: int(row["repeats"]) for row in rows}
        assert repeats == result["measurement"]["repeats"]

    def test_the_parts_of_a_trial_add_up(self, ab):
        for row in trials_of(ab[0]):
            assert float(row["ttft_s"]) + 3 * float(row["tpot_s"]) == pytest.approx(
                float(row["latency_s"])
            )
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

    def test_nothing_behind_the_warm_up_compiles(self, ab):
        for arm in ab[2]["arms"].values():
            assert arm["startup"]["next_call"]["events"] == 0

    def test_logits_are_compared_on_the_same_tokens(self, ab):
        agreement = ab[2]["agreement"]
        assert 0 <= agreement["max_abs_logprob_diff"] <= agreement["tolerance"]
        assert agreement["kl_max"] is not None
        assert (agreement["reasons"], agreement["warnings"], agreement["first_divergence"]) == (
            [],
            [],
            None,
        )

    def test_an_arm_s_place_on_the_absolute_scale_is_known(self, ab):
        for arm in ab[2]["arms"].values():
            roofline = arm["roofline"]
            for key in (
                "bytes_per_step",
                "flops_per_step",
                "bandwidth_bytes_per_s",
                "peak_flops_per_s",
                "mbu",
                "mfu",
            ):
                assert roofline[key] > 0
            assert roofline["of"] == "tpot_s"
            assert roofline["prefill"].keys() == {"bytes", "flops", "mbu", "mfu"}

    def test_different_programs_have_different_hashes(self, ab):
        one, other = (arm["program"] for arm in ab[2]["arms"].values())
        assert len(one["stablehlo_sha256"]) == len(other["stablehlo_sha256"]) == 64
        assert one["stablehlo_sha256"] != other["stablehlo_sha256"]
        assert min(one["module_bytes"], other["module_bytes"]) > 1000
        assert ab[2]["same_program"] is False

    def test_memory_is_told_or_why_not(self, ab):
        fixed, none = (arm["memory"] for arm in ab[2]["arms"].values())
        assert (fixed["kv_cache_bytes"], none["kv_cache_bytes"]) == (2 * 128 * 2 * 32 * 4, 0)
        assert fixed["program_alias_bytes"] >= fixed["kv_cache_bytes"]
        for memory in (fixed, none):
            assert memory["program_temp_bytes"] >= 0
            assert memory["host_peak_rss_bytes"] > 10_000_000  # each arm has a process of its own
            assert memory["device_peak_bytes"] is None
            assert memory["reasons"] == {
                "device_peak_bytes": "the cpu backend keeps no account of device memory"
            }

    def test_the_margin_is_told_with_its_source(self, ab):
        measurement = ab[2]["measurement"]
        assert (measurement["margin"], measurement["margin_source"].split(";")[0]) == (
            0.02,
            "the default",
        )
        assert measurement["stopped_because"] == ["blocks limit"]

    def test_the_environment_is_that_of_the_workers(self, ab):
        environment = ab[2]["environment"]
        assert environment["platform"] == "cpu"
        assert environment["device_count"] == 1  # this process has four
        assert "environment" not in ab[2]["arms"]["baseline"]

    def test_nothing_half_written_is_left(self, ab):
        assert {path.name for path in ab[0].iterdir()} == {
            "result.json",
            "trials.csv",
            "outputs.jsonl",
            "jaxgen.log",
        }


def test_a_strategy_that_recompiles_is_told_and_not_invalid(tmp_path):
    code, result = execute_small(
        tmp_path, "baseline=same", "baseline.jit=partial", "measure.isolation=shared"
    )
    assert (code, result["verdict"]) == (ExitCode.OK, "faster")
    assert any(
        "recompiled 2 functions in every trial: loop, prefill" in note for note in result["notes"]
    )
    assert min(result["arms"]["baseline"]["compile"]["events_per_trial"]) >= 2
    assert set(result["arms"]["candidate"]["compile"]["events_per_trial"]) == {0}


def test_a_short_warm_up_makes_the_run_invalid(tmp_path):
    code, result = execute_small(
        tmp_path,
        "measure.warmup_tokens=2",
        "cache=dynamic",
        "baseline.cache=fixed",
        "measure.isolation=shared",
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
        python.write_text(
            f'#!/bin/sh\nhead -c 1000000 /dev/zero | tr "\\0" x\necho\nexec {sys.executable} "$@"\n'
        )
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        code, result = execute_small(tmp_path, "baseline=off", f"process.python={python}")
        assert (code, result["status"]) == (ExitCode.OK, "completed")
        assert (tmp_path / "jaxgen.log").stat().st_size > 1_000_000

    @pytest.mark.parametrize("python", ["/no/such/python", "/"], ids=["missing", "folder"])
    def test_an_interpreter_that_cannot_be_started_is_the_user_s_to_mend(self, python, tmp_path):
        with pytest.raises(
            UserError, match=f"^process.python={python} cannot be started .* give the path"
        ):
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
                threading.Timer(
                    0.3, os.kill, (self.environments["baseline"]["pid"], signal.SIGKILL)
                ).start()
                arguments["repeats"] = 1_000_000
            return call(self, arm, command, **arguments)

        monkeypatch.setattr(Pool, "call", watched)
        before = workers_of(os.getpid())
        code, result = execute_small(tmp_path)
        failure = result["arms"]["baseline"]["failure"]
        assert (code, result["status"], result["verdict"]) == (ExitCode.ARM_FAILED, "failed", None)
        assert (failure["kind"], failure["signal"], failure["traceback"]) == (
            "killed",
            "SIGKILL",
            None,
        )
        assert "was killed by SIGKILL during 'trial'" in failure["message"]
        assert result["arms"]["candidate"]["failure"] is None
        assert result["arms"]["candidate"]["metrics"]["tokens_per_s"]["n"] >= 2
        assert result["arms"]["baseline"]["metrics"]["tokens_per_s"]["n"] == 2
        assert len(trials_of(tmp_path)) >= 4
        assert not workers_of(os.getpid(), besides=before)

    def test_out_of_memory_is_told_shortly_with_its_traceback(self, tmp_path):
        """24 TB of cache: no machine gives that, so that none has to be filled."""
        huge = (
            "model.shapes.head_dim=100000",
            "model.shapes.num_kv_heads=6",
            "model.shapes.hidden_size=8",
        )
        code, result = execute_small(tmp_path, *ALONE, *huge, "cache.max_len=10000000")
        failure = result["arms"]["candidate"]["failure"]
        assert (code, result["status"]) == (ExitCode.ARM_FAILED, "failed")
        assert (failure["kind"], failure["signal"]) == ("out_of_memory", None)
        assert "Out of memory" in failure["message"]
        assert "\n" not in failure["message"]
        assert "Traceback" in failure["traceback"]
