"""The table of the arms on the terminal: what stands in which row, and what is left out."""

import math
import re

import numpy as np
import pytest

from jaxgen.errors import ExitCode
from jaxgen.measure.samples import Samples
from jaxgen.measure.statistics import summarise
from jaxgen.results.record import Record
from support.small_runs import (
    METRICS,
    VERDICT,
    arm,
    figures_of,
    finished_result,
    loaded_facts,
    trial_row,
    two_arms,
)
from support.terminal_lines import has, lines_of, row


def test_of_the_choices_only_those_that_vary_are_shown(tmp_path):
    lines = lines_of(finished_result(tmp_path))
    assert row(lines, "cache") == ["cache", "fixed", "none"]
    assert not any(line.startswith(("jit", "baseline")) for line in lines)


def test_means_and_the_ratio_stand_side_by_side(tmp_path):
    lines = lines_of(finished_result(tmp_path, **VERDICT))
    assert row(lines, "tokens") == [
        "tokens/s",
        "201.0 ± 1.1",
        "100.5 ± 0.55",
        "2.00 [1.97, 2.03]",
    ]
    assert row(lines, "latency")[1:] == ["19.90 ± 0.11", "39.80 ± 0.22", "2.00 [1.97, 2.03]"]


@pytest.mark.parametrize("seed", range(5))
def test_the_quotient_of_the_cells_is_the_ratio_beside_them(seed, tmp_path):
    """Noisy trials in processes of different sizes: the quotient of the medians is another."""
    rng = np.random.default_rng(seed)
    samples = Samples(two_arms(), METRICS)
    for block in range(10):
        for name, speed in (("candidate", 400.0), ("baseline", 100.0)):
            drawn = speed * math.exp(rng.normal(0, 0.3))
            place = {"process": int(block >= 7), "block": block}
            samples.add(trial_row(name, tokens_per_s=drawn) | place)
    record = Record(two_arms(), tmp_path)
    for name in two_arms():
        record.loaded(name, loaded_facts())
    record.show(*figures_of(samples), case=0)
    lines = lines_of(record.result | VERDICT)
    for metric, is_better_above in (("tokens", True), ("latency", False)):
        _, candidate, baseline, ratio = row(lines, metric)
        quotient = float(candidate.split()[0]) / float(baseline.split()[0])
        if not is_better_above:
            quotient = 1 / quotient
        assert quotient == pytest.approx(float(ratio.split()[0]), abs=0.0051)


@pytest.mark.parametrize("verdict", [None, "invalid"])
def test_without_a_verdict_that_has_one_no_ratio_is_shown(verdict, tmp_path):
    result = finished_result(tmp_path, status="failed", verdict=verdict)
    assert result["comparison"]["tokens_per_s"]["ratio"] == pytest.approx(2)  # it is kept on disk
    assert row(lines_of(result), "tokens")[1:] == ["201.0 ± 1.1", "100.5 ± 0.55"]


def test_compiles_warm_up_and_outputs_are_told(tmp_path):
    lines = lines_of(finished_result(tmp_path, **VERDICT))
    assert row(lines, "compiles")[1:] == ["0 in 6", "0 in 6"]
    assert row(lines, "compile + warm-up")[1:] == ["1.2 s", "1.2 s"]
    assert row(lines, "outputs")[1:] == ["identical", "12 tokens"]
    assert row(lines, "log-probs apart")[1:] == ["0.0000005"]


def test_log_probs_that_were_not_compared_are_no_zero(tmp_path):
    agreement = VERDICT["agreement"] | {"max_abs_logprob_diff": None}
    lines = lines_of(finished_result(tmp_path, **VERDICT | {"agreement": agreement}))
    assert has(lines, "outputs")
    assert not has(lines, "log-probs")


def test_one_arm_alone_has_a_column_of_its_own(tmp_path):
    arms = {"candidate": arm("candidate")}
    lines = lines_of(finished_result(tmp_path, arms=arms), arms=arms)
    assert row(lines, "tokens")[1:] == ["201.0 ± 1.1"]
    assert "baseline" not in lines[0]


def test_what_was_not_measured_is_a_dash(tmp_path):
    record = Record(two_arms(), tmp_path)
    for name in two_arms():
        record.loaded(name, loaded_facts())
    empty = {name: summarise([], **facts) for name, facts in METRICS.items()}
    for not_measured in record.result["arms"].values():
        not_measured["metrics"] = empty
    record.finish("failed", ExitCode.ARM_FAILED)
    lines = lines_of(record.result)
    assert row(lines, "tokens")[1:] == ["-", "-"]
    assert row(lines, "compile + warm-up")[1:] == ["-", "-"]


def test_a_run_that_failed_before_its_first_trial_can_be_shown(tmp_path):
    record = Record(two_arms(), tmp_path)
    record.finish("failed", ExitCode.ARM_FAILED)
    assert row(lines_of(record.result), "compile + warm-up")[1:] == ["-", "-"]


@pytest.mark.parametrize("speed", [3e-5, 0.012, 12345.678, 98765432.1])
def test_figures_have_no_exponents(speed, tmp_path):
    lines = lines_of(finished_result(tmp_path, speeds=(speed, speed / 1234)))
    figures = " ".join(row(lines, "tokens")[1:] + row(lines, "latency")[1:])
    assert not re.search(r"\de[+-]", figures)


@pytest.mark.parametrize("speeds", [(200.0, 100.0), (98765432.1, 12345.6), (0.123, 0.456)])
def test_the_table_fits_eighty_columns(speeds, tmp_path):
    lines = lines_of(finished_result(tmp_path, speeds=speeds, **VERDICT))
    assert max(map(len, lines)) <= 80
    assert lines[-1].startswith("cells: geometric means")
    assert [line.split("  ")[0] for line in lines[1:-1]] == [
        "cache",
        "tokens/s",
        "latency, ms",
        "compiles in trials",
        "compile + warm-up",
        "KV cache",
        "outputs",
        "log-probs apart",
    ]


def test_a_metric_of_one_sample_has_no_spread(tmp_path):
    result = finished_result(tmp_path)
    for each in result["arms"].values():
        each["metrics"] = {"tokens_per_s": summarise([50.0], unit="tokens/s", better="higher")}
    assert row(lines_of(result), "tokens")[1:3] == ["50.00", "50.00"]


def test_rows_that_neither_arm_fills_are_left_out(tmp_path):
    lines = lines_of(finished_result(tmp_path))
    assert row(lines, "KV cache")[1:] == ["1.0 kB", "1.0 kB"]
    for start in ("share of", "program temporaries", "peak memory", "precompile"):
        assert not has(lines, start)


def test_what_one_arm_lacks_is_a_dash(tmp_path):
    result = finished_result(tmp_path)
    result["arms"]["candidate"]["roofline"] |= {"mbu": 0.345, "mfu": 0.012}
    result["arms"]["baseline"]["memory"] |= {
        "host_peak_rss_bytes": 1_530_000_000,
        "program_temp_bytes": 4_200_000,
    }
    lines = lines_of(result)
    assert row(lines, "share of bandwidth")[1:] == ["34.5 %", "-"]
    assert row(lines, "share of FLOP/s")[1:] == ["1.2 %", "-"]
    assert row(lines, "peak memory, host")[1:] == ["-", "1.53 GB"]
    assert row(lines, "program temporaries")[1:] == ["-", "4.2 MB"]


def test_the_seconds_of_cold_and_warm_starts(tmp_path):
    result = finished_result(tmp_path)
    call = {"trace_s": 0.5, "lower_s": 0.25, "compile_s": 1.25}
    result["arms"]["candidate"]["startup"] |= {"cold": {"first_call": call}, "warm": None}
    assert row(lines_of(result), "precompile, cold / warm")[1:] == ["2.00 s / -", "-"]
