"""A finished result as tables and sentences: what stands in which row, and what is left out."""

import copy
import io
import re

import pytest
from rich.console import Console as Terminal

from jaxgen.console import summary
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
    paired,
    trial_row,
    two_arms,
)


def lines(result, *, arms=None):
    """What a terminal of eighty columns shows."""
    terminal = Terminal(file=io.StringIO(), width=80, highlight=False, color_system=None)
    for part in summary.parts(arms or two_arms(), result):
        terminal.print(part)
    return [line.rstrip() for line in terminal.file.getvalue().splitlines()]


def row(shown, start):
    return re.split(r"\s{2,}", next(line for line in shown if line.startswith(start)).strip())


def has(shown, start):
    return any(line.startswith(start) for line in shown)


class TestTable:
    def test_of_the_choices_only_those_that_vary_are_shown(self, tmp_path):
        shown = lines(finished_result(tmp_path))
        assert row(shown, "cache") == ["cache", "fixed", "none"]
        assert not any(line.startswith(("jit", "baseline")) for line in shown)

    def test_medians_and_the_ratio_stand_side_by_side(self, tmp_path):
        shown = lines(finished_result(tmp_path, **VERDICT))
        assert row(shown, "tokens") == [
            "tokens/s",
            "201.0 ± 1.1",
            "100.5 ± 0.55",
            "2.00 [2.00, 2.00]",
        ]
        assert row(shown, "latency")[1:] == ["19.90 ± 0.11", "39.80 ± 0.22", "2.00 [2.00, 2.00]"]

    @pytest.mark.parametrize("verdict", [None, "invalid"])
    def test_without_a_verdict_that_has_one_no_ratio_is_shown(self, verdict, tmp_path):
        result = finished_result(tmp_path, status="failed", verdict=verdict)
        assert result["comparison"]["tokens_per_s"]["ratio"] == pytest.approx(
            2
        )  # it is kept on disk
        assert row(lines(result), "tokens")[1:] == ["201.0 ± 1.1", "100.5 ± 0.55"]

    def test_compiles_warm_up_and_outputs_are_told(self, tmp_path):
        shown = lines(finished_result(tmp_path, **VERDICT))
        assert row(shown, "compiles")[1:] == ["0 in 6", "0 in 6"]
        assert row(shown, "compile + warm-up")[1:] == ["1.2 s", "1.2 s"]
        assert row(shown, "outputs")[1:] == ["identical", "12 tokens"]
        assert row(shown, "log-probs apart")[1:] == ["0.0000005"]

    def test_log_probs_that_were_not_compared_are_no_zero(self, tmp_path):
        agreement = VERDICT["agreement"] | {"max_abs_logprob_diff": None}
        shown = lines(finished_result(tmp_path, **VERDICT | {"agreement": agreement}))
        assert has(shown, "outputs")
        assert not has(shown, "log-probs")

    def test_one_arm_alone_has_a_column_of_its_own(self, tmp_path):
        arms = {"candidate": arm("candidate")}
        shown = lines(finished_result(tmp_path, arms=arms), arms=arms)
        assert row(shown, "tokens")[1:] == ["201.0 ± 1.1"]
        assert "baseline" not in shown[0]

    def test_what_was_not_measured_is_a_dash(self, tmp_path):
        record = Record(two_arms(), tmp_path)
        for name in two_arms():
            record.loaded(name, loaded_facts())
        empty = {name: summarise([], **facts) for name, facts in METRICS.items()}
        for each in record.result["arms"].values():
            each["metrics"] = empty
        record.finish("failed", ExitCode.ARM_FAILED)
        shown = lines(record.result)
        assert row(shown, "tokens")[1:] == ["-", "-"]
        assert row(shown, "compile + warm-up")[1:] == ["-", "-"]

    def test_a_run_that_failed_before_its_first_trial_can_be_shown(self, tmp_path):
        record = Record(two_arms(), tmp_path)
        record.finish("failed", ExitCode.ARM_FAILED)
        assert row(lines(record.result), "compile + warm-up")[1:] == ["-", "-"]

    @pytest.mark.parametrize("speed", [3e-5, 0.012, 12345.678, 98765432.1])
    def test_figures_have_no_exponents(self, speed, tmp_path):
        shown = lines(finished_result(tmp_path, speeds=(speed, speed / 1234)))
        figures = " ".join(row(shown, "tokens")[1:] + row(shown, "latency")[1:])
        assert not re.search(r"\de[+-]", figures)

    @pytest.mark.parametrize("speeds", [(200.0, 100.0), (98765432.1, 12345.6), (0.123, 0.456)])
    def test_the_table_fits_eighty_columns(self, speeds, tmp_path):
        shown = lines(finished_result(tmp_path, speeds=speeds, **VERDICT))
        assert max(map(len, shown)) <= 80
        assert [line.split("  ")[0] for line in shown[1:]] == [
            "cache",
            "tokens/s",
            "latency, ms",
            "compiles in trials",
            "compile + warm-up",
            "KV cache",
            "outputs",
            "log-probs apart",
        ]

    def test_a_metric_of_one_sample_has_no_spread(self, tmp_path):
        result = finished_result(tmp_path)
        for each in result["arms"].values():
            each["metrics"] = {"tokens_per_s": summarise([50.0], unit="tokens/s", better="higher")}
        assert row(lines(result), "tokens")[1:3] == ["50.00", "50.00"]


class TestScale:
    def test_rows_that_neither_arm_fills_are_left_out(self, tmp_path):
        shown = lines(finished_result(tmp_path))
        assert row(shown, "KV cache")[1:] == ["1.0 kB", "1.0 kB"]
        for start in ("share of", "program temporaries", "peak memory", "precompile"):
            assert not has(shown, start)

    def test_what_one_arm_lacks_is_a_dash(self, tmp_path):
        result = finished_result(tmp_path)
        result["arms"]["candidate"]["roofline"] |= {"mbu": 0.345, "mfu": 0.012}
        result["arms"]["baseline"]["memory"] |= {
            "host_peak_rss_bytes": 1_530_000_000,
            "program_temp_bytes": 4_200_000,
        }
        shown = lines(result)
        assert row(shown, "share of bandwidth")[1:] == ["34.5 %", "-"]
        assert row(shown, "share of FLOP/s")[1:] == ["1.2 %", "-"]
        assert row(shown, "peak memory, host")[1:] == ["-", "1.53 GB"]
        assert row(shown, "program temporaries")[1:] == ["-", "4.2 MB"]

    def test_the_seconds_of_cold_and_warm_starts(self, tmp_path):
        result = finished_result(tmp_path)
        call = {"trace_s": 0.5, "lower_s": 0.25, "compile_s": 1.25}
        result["arms"]["candidate"]["startup"] |= {"cold": {"first_call": call}, "warm": None}
        assert row(lines(result), "precompile, cold / warm")[1:] == ["2.00 s / -", "-"]


class TestNotes:
    def test_they_are_shown_as_they_are(self, tmp_path):
        assert "note: mind [this]" in lines(finished_result(tmp_path, notes=["mind [this]"]))

    def test_the_first_divergence_is_shown_with_both_texts(self, tmp_path):
        at = {
            "index": 2,
            "position": 7,
            "excerpt": {"candidate": "a «cat»", "baseline": "a [bold]"},
        }
        agreement = VERDICT["agreement"] | {"status": "rounding", "first_divergence": at}
        shown = lines(finished_result(tmp_path, **VERDICT | {"agreement": agreement}))
        first = shown.index("prompt 2 parts at new token 7:")
        assert shown[first + 1 : first + 3] == ["  candidate a «cat»", "  baseline  a [bold]"]

    def test_a_profile_is_a_table_for_each_arm_that_has_one(self, tmp_path):
        result = finished_result(tmp_path)
        operation = {
            "name": "fusion.1",
            "program": "step",
            "meaning": "dot",
            "count": 3,
            "total_s": 0.0125,
            "share": 0.25,
        }
        result["arms"]["candidate"]["profile"] = {"operations": [operation]}
        shown = lines(result)
        assert row(shown, "fusion.1") == ["fusion.1", "step dot", "3", "12.5", "25 %"]
        assert sum("where the time goes" in line for line in shown) == 1


@pytest.fixture
def grid(tmp_path):
    """Two depths, of which the second was not measured."""
    record = Record(two_arms(), tmp_path)
    for name in two_arms():
        record.loaded(name, loaded_facts(cases=[{"depth": 1}, {"depth": 4096}]))
    record.show(*figures_of(paired(2.0)), case=0)
    record.section(0)["verdict"] = "faster"
    return record.result


class TestCases:
    def test_each_case_is_a_row_that_ends_with_its_verdict(self, grid):
        grid["cases"][0]["arms"]["candidate"]["roofline"] = {"mbu": 0.5}
        shown = lines(grid)
        assert re.split(
            r"\s{2,}", next(line for line in shown if line.strip().startswith("1 ")).strip()
        ) == [
            "1",
            "201.0 ± 1.1",
            "50 %",
            "100.5 ± 0.55",
            "-",
            "2.00 [2.00, 2.00]",
            "faster",
        ]
        assert next(line for line in shown if line.strip().startswith("4096")).split() == [
            "4096",
            "-",
            "-",
            "-",
            "-",
        ]

    def test_a_grid_of_scores_shows_the_tail_of_the_candidate_s_requests(self, tmp_path):
        record = Record(two_arms(), tmp_path)
        metrics = {"items_per_s": {"unit": "items/s", "better": "higher"}}
        samples = Samples(("candidate", "baseline"), metrics)
        for name in two_arms():
            record.loaded(name, loaded_facts(cases=[{"batch_size": 4, "num_labels": 2}]))
            for pair in range(4):
                samples.add(trial_row(name, pair=pair, metrics={"items_per_s": 40.0}, call_s=[0.1]))
        record.show(*figures_of(samples), case=0)
        shown = lines(record.result)
        header = next(line for line in shown if "p95, ms" in line)
        assert re.search(r"items/s +p50, ms +p95, ms +p99, ms +items/s +ratio", header)
        cells = next(line for line in shown if line.strip().startswith("4 ")).split()
        assert cells[:2] == ["4", "2"]
        assert cells[4:8] == ["100", "100", "-", "40.00"]  # behind the median and its ±

    def test_no_case_measured_can_be_shown_too(self, tmp_path):
        record = Record(two_arms(), tmp_path)
        for name in two_arms():
            record.loaded(name, loaded_facts(cases=[{"depth": 1}]))
        assert has(lines(record.result), "cache")


GATE = {
    "status": "regression",
    "reason": "of 2 rows compared, 1 worse",
    "notes": ["the machine is another"],
    "rows": [
        {
            "metric": "tokens_per_s",
            "params": {"depth": 8},
            "old": 100.0,
            "new": 80.0,
            "change": -0.2,
            "status": "REGRESSION",
        },
        {
            "metric": "tpot_s",
            "params": {},
            "old": None,
            "new": 0.5,
            "change": None,
            "status": "NEW",
        },
    ],
}


class TestGate:
    def test_every_row_then_the_notes_then_the_outcome(self, tmp_path):
        shown = lines(finished_result(tmp_path, gate=GATE))
        assert row(shown, "tokens_per_s") == [
            "tokens_per_s depth=8",
            "100.0",
            "80.00",
            "-20.0 %",
            "REGRESSION",
        ]
        assert row(shown, "tpot_s") == ["tpot_s", "-", "0.5000", "-", "NEW"]
        assert shown[-2:] == [
            "note: the machine is another",
            " gate: regression  of 2 rows compared, 1 worse",
        ]

    def test_no_gate_no_table(self, tmp_path):
        assert not has(lines(finished_result(tmp_path)), "gate")


class TestStudies:
    def test_a_calibration_tells_the_floor_and_what_it_is_worth(self, tmp_path):
        told = {
            "floor": 0.0312,
            "repetitions": 20,
            "key": "cpu | EPYC | generate | tiny",
            "kept_in": "noise_floor.json",
            "false_verdict_rates": {
                "without_margin": 0.45,
                "at_default_margin": 0.1,
                "at_noise_floor": 0.0,
            },
            "default_margin": 0.02,
        }
        shown = " ".join(lines(finished_result(tmp_path, calibration=told)))
        assert "noise floor of cpu | EPYC | generate | tiny: 3.12 %" in shown
        assert "20 measurements of an arm against itself" in shown
        for words, rate in (
            ("without any margin", "45 %"),
            ("at the default of 2 %", "10 %"),
            ("the noise floor ", "0 %"),
        ):
            assert re.search(rf"{re.escape(words)} +{rate}", shown)
        assert "tokens/s" not in shown

    def test_a_study_that_failed_halfway_can_be_shown(self, tmp_path):
        assert lines(finished_result(tmp_path, calibration={"comparisons": []})) == []
        assert lines(finished_result(tmp_path, selftest={"same": []}, notes=["it failed"])) == [
            "note: it failed"
        ]

    def test_a_self_test_tells_its_rates_and_every_fault(self, tmp_path):
        told = {
            "rates": {"same_left_alone": 0.975, "slowdown_found": 1.0},
            "same": [{}] * 40,
            "slowed": [{}] * 40,
            "slowdown": 0.05,
            "margin": 0.02,
            "faults": {
                "clock": {"found": True, "reason": "the timer is wrong"},
                "recompile": {"found": False, "reason": "faster"},
            },
        }
        shown = lines(finished_result(tmp_path, selftest=copy.deepcopy(told)))
        assert row(shown, "equal arms left alone")[1:] == ["97.5 % of 40 measurements (margin 2 %)"]
        assert row(shown, "5 % slowdown found")[1:] == ["100 % of 40 measurements"]
        assert row(shown, "clock")[1:] == ["found: the timer is wrong"]
        assert row(shown, "recompile")[1:] == ["NOT FOUND: faster"]
