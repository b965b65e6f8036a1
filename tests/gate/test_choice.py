"""Which stored runs a gate compares with, and how: ratios of the arms, or levels of one."""

import copy

import numpy as np
import pytest

from jaxgen.errors import ExitCode, UserError
from jaxgen.gate import regression
from jaxgen.gate.measured import environment_facts, rows_of
from jaxgen.gate.stored import Stored, StoredRuns, read_all
from support.stored_results import arm, cases, compared, result, write


def paired(ratio=2.0, half_width=0.027, *, level=1.0, sha="abc", **changes):
    """A run of two arms whose levels are `level` times those of the standard."""
    arms = {"candidate": arm(ratio * level), "baseline": arm(level, cache="none")}
    arms["baseline"]["program"] = {"stablehlo_sha256": sha}
    return result(arms=arms, comparison=compared(ratio, half_width), **changes)


def gated(now, *then, tmp_path, threshold=0.1, across=False):
    paths = [write(tmp_path / f"{number}.json", run) for number, run in enumerate(then)]
    stored = read_all(paths)
    return regression.gate_section(
        now, stored, threshold=threshold, noise_floor=0.02, across=across
    )


def statuses(gate):
    return {row["status"] for row in gate["rows"]}


class TestRatios:
    def test_a_machine_that_is_slower_today_is_no_regression(self, tmp_path):
        gate = gated(paired(level=0.7), paired(), tmp_path=tmp_path)
        assert (gate["status"], statuses(gate)) == ("passed", {"OK"})
        assert [row["unit"] for row in gate["rows"]] == ["x", "x"]
        assert "the baseline, unchanged, moved by -30.0%" in gate["notes"][0]

    def test_a_slower_candidate_is_one_though_the_machine_is_faster(self, tmp_path):
        gate = gated(paired(1.7, level=1.3), paired(), tmp_path=tmp_path)
        assert regression.exit_code(gate) is ExitCode.REGRESSION
        assert "tokens_per_s 2 -> 1.7 x (-15.0%)" in gate["reason"]

    def test_worse_by_less_than_the_threshold_passes(self, tmp_path):
        assert gated(paired(1.85), paired(), tmp_path=tmp_path)["status"] == "passed"
        gate = gated(paired(1.85), paired(), tmp_path=tmp_path, threshold=0.05)
        assert gate["status"] == "regression"

    @pytest.mark.parametrize("ratio", [2.0, 1.75])
    def test_noise_above_the_threshold_is_never_green(self, ratio, tmp_path):
        gate = gated(paired(ratio, 0.2), paired(), tmp_path=tmp_path)
        assert (gate["status"], statuses(gate)) == ("unsettled", {"UNSETTLED"})
        assert regression.exit_code(gate) is ExitCode.INVALID
        assert "too noisy for a regression of 10 %: tokens_per_s" in gate["reason"]

    def test_a_gain_beyond_all_noise_is_settled(self, tmp_path):
        gate = gated(paired(4.0, 0.2), paired(), tmp_path=tmp_path)
        assert gate["status"] == "passed"

    def test_a_loss_beyond_the_threshold_and_beyond_great_noise_is_a_regression(self, tmp_path):
        gate = gated(paired(1.0, 0.2), paired(), tmp_path=tmp_path)
        assert gate["status"] == "regression"

    def test_one_block_has_no_interval_and_settles_nothing(self, tmp_path):
        now = paired()
        for metric in now["comparison"].values():
            metric["ci95"] = None
        gate = gated(now, paired(), tmp_path=tmp_path)
        assert gate["status"] == "unsettled"
        assert "one block says nothing" in gate["rows"][0]["note"]

    def test_a_metric_without_a_ratio_may_move_as_far_as_the_baseline_did(self, tmp_path):
        now, then = paired(level=0.85), paired()
        for run in (now, then):
            del run["comparison"]["latency_s"]
        gate = gated(now, then, tmp_path=tmp_path)
        units = {row["metric"]: row["unit"] for row in gate["rows"]}
        assert units == {"tokens_per_s": "x", "latency_s": "s"}
        assert "REGRESSION" not in statuses(gate)

    def test_each_case_has_its_own_ratio(self, tmp_path):
        now, then = (result(cases=cases({1: 1.0, 4: 1.0})) for _ in range(2))
        for run, last in ((now, 1.6), (then, 2.0)):
            run["arms"] = paired()["arms"]
            for case, ratio in zip(run["cases"], (2.0, last), strict=True):
                case["arms"]["baseline"] = copy.deepcopy(case["arms"]["candidate"])
                case["comparison"] = compared(ratio)
        gate = gated(now, then, tmp_path=tmp_path)
        slow = [row["params"]["batch_size"] for row in gate["rows"] if row["status"] != "OK"]
        assert (gate["status"], slow) == ("regression", [4, 4])


class TestBaseline:
    @pytest.mark.parametrize("change", ["config", "weights", "program", "none"])
    def test_only_an_unchanged_baseline_stands_for_the_machine(self, change, tmp_path):
        now, then = paired(level=0.7), paired()
        baseline = now["arms"]["baseline"]
        if change == "config":
            baseline["config"]["workload"]["batch_size"] = 9
        elif change == "weights":
            baseline["weights"]["fingerprint"] = "other"
        elif change == "program":
            baseline["program"]["stablehlo_sha256"] = "other"
        else:
            del now["arms"]["baseline"]
        gate = gated(now, then, tmp_path=tmp_path)
        assert {row["unit"] for row in gate["rows"]} == {"tokens/s", "s"}
        assert any("levels are compared and not ratios" in note for note in gate["notes"])

    def test_code_that_both_arms_run_is_named_as_what_a_ratio_cannot_show(self, tmp_path):
        then = paired()
        then["environment"]["git"] = {"commit": "a" * 40}
        now = paired()
        now["environment"]["git"] = {"commit": "b" * 40}
        gate = gated(now, then, tmp_path=tmp_path)
        assert any("gate.commit=aaaaaaaaaaaa measures it" in note for note in gate["notes"])
        assert not any(
            "gate.commit" in note for note in gated(now, now, tmp_path=tmp_path)["notes"]
        )


class TestSeveral:
    def test_the_spread_of_the_stored_runs_is_noise(self, tmp_path):
        now = paired(1.7, 0.01)
        calm = [paired(ratio, 0.01) for ratio in (1.99, 2.0, 2.01)]
        rough = [paired(ratio, 0.01) for ratio in (1.6, 2.0, 2.5)]
        assert gated(now, *calm, tmp_path=tmp_path)["status"] == "regression"
        assert gated(now, *rough, tmp_path=tmp_path)["status"] == "unsettled"

    def test_levels_of_several_runs_know_how_far_the_machine_moves(self, tmp_path):
        one = gated(result(0.85), result(), tmp_path=tmp_path)
        several = gated(
            result(0.85), result(), result(1.2), result(0.9), result(1.1), tmp_path=tmp_path
        )
        assert (one["status"], several["status"]) == ("regression", "unsettled")
        assert "how far the 4 stored runs scatter" in several["notes"][0]

    def test_a_pattern_takes_all_that_it_matches_and_names_what_it_leaves_out(self, tmp_path):
        for number, run in enumerate((paired(), paired(), paired(status="failed"))):
            (tmp_path / f"run{number}").mkdir()
            write(tmp_path / f"run{number}" / "result.json", run)
        stored = read_all([f"{tmp_path}/run*"])
        assert [run.path for run in stored.runs] == [f"{tmp_path}/run0", f"{tmp_path}/run1"]
        (left_out,) = stored.left_out
        assert left_out.startswith(f"{tmp_path}/run2 (its run is of status failed")
        gate = regression.gate_section(paired(), stored, threshold=0.1, noise_floor=0.02)
        assert any(note.startswith("left out: ") for note in gate["notes"])

    def test_a_pattern_that_matches_nothing_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="nothing matches it"):
            read_all([f"{tmp_path}/run*"])
        (tmp_path / "run0").mkdir()
        (tmp_path / "run1").mkdir()
        with pytest.raises(UserError, match="none of 2 can be used"):
            read_all([f"{tmp_path}/run*"])

    def test_runs_of_another_candidate_are_left_out_by_name(self, tmp_path):
        other = paired()
        other["arms"]["candidate"]["choices"]["cache"] = "paged"
        gate = gated(paired(), paired(), other, tmp_path=tmp_path)
        assert any("its candidate is another: cache was paged" in note for note in gate["notes"])
        gate = gated(paired(), other, other, tmp_path=tmp_path)
        assert gate["status"] == "nothing to compare"
        assert gate["reason"].startswith("no stored run has this candidate: ")

    def test_a_run_of_another_machine_is_left_out_and_the_others_count(self, tmp_path):
        other = paired()
        other["environment"]["cpu"] = "Xeon"
        gate = gated(paired(), paired(), other, tmp_path=tmp_path)
        assert gate["status"] == "passed"
        assert any("(of another machine or software: cpu was Xeon" in n for n in gate["notes"])


class TestCommit:
    def judged(self, ratio, half_width=0.027):
        return regression.gate_section(
            paired(ratio, half_width), StoredRuns("commit abc"), threshold=0.05, noise_floor=0.02
        )

    @pytest.mark.parametrize(
        ("ratio", "half_width", "status"),
        [
            (1.0, 0.027, "passed"),
            (0.9, 0.027, "regression"),
            (0.97, 0.027, "passed"),
            (0.97, 0.1, "unsettled"),
        ],
    )
    def test_the_ratio_of_the_two_codes_is_judged_itself(self, ratio, half_width, status):
        gate = self.judged(ratio, half_width)
        assert (gate["status"], gate["against"]) == (status, "commit abc")
        assert gate["rows"][0]["old"] == 1.0
        assert gate["rows"][0]["noise"] == pytest.approx(np.expm1(half_width))

    def test_no_ratio_is_nothing_to_compare(self):
        gate = regression.gate_section(
            result(), StoredRuns("commit abc"), threshold=0.1, noise_floor=0.02
        )
        assert gate["status"] == "nothing to compare"


class TestRates:
    """The gate as it will be used: half-widths of 2.7 %, levels that drift from run to run."""

    HALF_WIDTH = 0.027

    def drawn(self, rng, ratio, *, drift):
        """A run of two arms on a machine that is somewhere else today."""
        measured = ratio * np.exp(rng.normal(0, self.HALF_WIDTH / 1.96))
        level = np.exp(rng.normal(0, drift))
        return paired(float(measured), self.HALF_WIDTH, level=float(level))

    def outcome(self, now, then):
        # In memory: a thousand files would be written and read for nothing.
        stored = Stored("then", rows_of(then), environment_facts(then["environment"]), then)
        gate = regression.gate_section(
            now, StoredRuns("then", (stored,)), threshold=0.05, noise_floor=0.02
        )
        return gate["status"]

    @pytest.mark.parametrize("drift", [0.0, 0.1, 0.2])
    def test_equal_runs_are_called_a_regression_in_less_than_two_of_a_hundred(self, drift):
        rng = np.random.default_rng(7)
        runs = 400
        red = 0
        for _ in range(runs):
            now, then = (self.drawn(rng, 2.0, drift=drift) for _ in range(2))
            red += self.outcome(now, then) == "regression"
        assert red < 0.02 * runs

    @pytest.mark.parametrize("drift", [0.0, 0.2])
    def test_a_tenth_slower_is_found_in_twenty_of_twenty(self, drift):
        rng = np.random.default_rng(11)
        for _ in range(20):
            now = self.drawn(rng, 2.0 * 0.9, drift=drift)
            then = self.drawn(rng, 2.0, drift=drift)
            assert self.outcome(now, then) == "regression"
