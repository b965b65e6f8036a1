"""What may be said of finished measurements: margins, verdicts, what spoils them, exit codes."""

import math

import pytest

from jaxgen.errors import ExitCode
from jaxgen.experiment import judge, programs
from jaxgen.experiment.start_noise import conditions_of
from jaxgen.measure import start_spread
from jaxgen.measure.case import Outcome
from jaxgen.measure.samples import Samples
from jaxgen.results.record import Record
from jaxgen.specs.measure import DEFAULT_MARGIN, Isolation, Measure
from support.small_runs import METRICS, experiment_of, loaded_facts, paired, trial_row, two_arms

AGREED = {"status": "identical", "reasons": [], "warnings": []}
HERE = {"device_kind": "cpu", "cpu": "EPYC 9R14"}
PROBE = {
    "bandwidth_bytes_per_s": 1e9,
    "peak_flops_per_s": 1e12,
    "bandwidth_samples": [1e9, 1e9],
    "flops_samples": [1e12, 1e12],
    "working_set_bytes": 4096,
    "bandwidth_form": "sum",
    "level": "memory",
}


@pytest.fixture
def judged(tmp_path):
    """Judges one case of a run; returns its block of the result."""

    def judged(samples=None, *, arms=None, plan=None, case=0, grid=None, **outcome):
        experiment = experiment_of(arms, measure=plan or Measure())
        arms = experiment.arms
        record = Record(arms, tmp_path)
        for name in arms:
            record.loaded(name, loaded_facts(cases=grid or [{}]))
        record.result["environment"] = dict(HERE)
        record.result["measurement"] = {"isolation": "separate"}
        samples = samples or paired(2.0, samples=Samples(arms, METRICS))
        found = Outcome(samples, **({"agreed": AGREED} | outcome))
        judge.judge_case(experiment, record, found, case=case)
        return record.section(case), record.result

    return judged


class TestMargin:
    def test_by_default_it_is_two_percent_whatever_was_calibrated(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        key = start_spread.key_of(conditions_of(two_arms()["candidate"], HERE))
        start_spread.save(key, {"deviation": 0.07, "freedom": 7})
        margin, source = judge.margin_of(experiment_of())
        assert margin == DEFAULT_MARGIN == 0.02
        assert source == "the default"

    @pytest.mark.parametrize("margin", [0.0, 0.3])
    def test_what_the_user_says_goes_before_it(self, margin):
        asked = experiment_of(measure=Measure(margin=margin))
        assert judge.margin_of(asked) == (margin, "measure.margin")

    def test_it_decides_the_verdict_and_stands_in_the_result(self, judged):
        block, _ = judged(paired(1.05), plan=Measure(margin=0.07))
        assert block["verdict"] == "equivalent"
        assert "7 % (measure.margin" in block["verdict_reason"]
        assert (block["measurement"]["margin"], block["measurement"]["isolation"]) == (
            0.07,
            "separate",
        )


class TestVerdict:
    @pytest.mark.parametrize(
        ("speed", "word"),
        [(2.0, "faster"), (0.5, "slower"), (1.001, "equivalent")],
        ids=lambda value: str(value),
    )
    def test_the_interval_against_the_margin_decides(self, speed, word, judged):
        block, _ = judged(paired(speed))
        assert block["verdict"] == word
        assert block["comparison"]["tokens_per_s"]["ratio"] == pytest.approx(speed)

    def test_a_wide_interval_is_inconclusive(self, judged):
        assert judged(paired(1.0, noise=0.3))[0]["verdict"] == "inconclusive"

    def test_the_reason_calls_the_arms_by_what_they_differ_in(self, judged):
        assert judged()[0]["verdict_reason"].startswith(
            "cache=fixed is 2.00x faster than cache=none"
        )

    def test_one_arm_alone_has_no_verdict(self, judged):
        alone = {"candidate": two_arms()["candidate"]}
        block, _ = judged(arms=alone, agreed=None)
        assert (block["verdict"], block["verdict_reason"]) == (None, None)

    def test_one_arm_alone_can_be_invalid(self, judged):
        alone = {"candidate": two_arms()["candidate"]}
        block, _ = judged(arms=alone, agreed=None, dirty=["the candidate compiled in 3 trials"])
        assert block["verdict"] == "invalid"
        assert (
            block["verdict_reason"]
            == "the measurement is invalid: the candidate compiled in 3 trials"
        )

    def test_a_warning_of_the_agreement_becomes_a_note(self, judged):
        _, result = judged(agreed=AGREED | {"warnings": ["the logits lie apart"]})
        assert result["notes"] == ["the logits lie apart"]

    def test_what_a_start_can_do_is_in_the_interval(self, judged):
        """Three blocks without any noise: 1.5 % is what one start alone may have made."""
        block, result = judged(paired(1.015), plan=Measure(margin=0.005))
        assert block["verdict"] == "inconclusive"
        comparison = block["comparison"]["tokens_per_s"]
        assert math.log(comparison["ci95"][1] / 1.015) == pytest.approx(2.1604 * 0.0072, rel=1e-3)
        assert comparison["start_spread"]["freedom"] == 13
        assert result["notes"] == []

    def test_processes_that_lie_too_far_apart_are_noted(self, judged):
        samples = paired(1.0, blocks=4)
        for block in range(4, 8):
            place = {"process": 1, "block": block}
            samples.add(trial_row("baseline", tokens_per_s=100.0) | place)
            samples.add(trial_row("candidate", tokens_per_s=120.0) | place)
        _, result = judged(samples)
        assert any("the 2 pairs of processes lie further apart" in note for note in result["notes"])

    def test_a_few_slow_blocks_that_move_the_ratio_are_noted(self, judged):
        """Seven blocks alike and three slow ones of one arm: the two means part."""
        samples = Samples(two_arms(), METRICS)
        for block in range(40):
            slow = 5.0 if block < 5 else 1.0
            samples.add(trial_row("baseline", block=block, tokens_per_s=100.0))
            samples.add(trial_row("candidate", block=block, tokens_per_s=100.0 / slow))
        _, result = judged(samples)
        assert any(
            "a few blocks move the ratio: without the 20% highest and lowest it is 1.000" in note
            for note in result["notes"]
        )


class TestInvalid:
    def test_what_spoilt_the_trials_is_told_and_no_speed_up_is_left(self, judged):
        block, _ = judged(
            dirty=["cache=none compiled in 3 trials", "cache=fixed wrote other outputs"]
        )
        assert block["verdict"] == "invalid"
        assert block["verdict_reason"] == (
            "the measurement is invalid: cache=none compiled in 3 trials; "
            "cache=fixed wrote other outputs"
        )
        assert block["comparison"] == {}
        assert "2.00" not in block["verdict_reason"]

    def test_different_outputs_are_told_with_their_reasons(self, judged):
        block, _ = judged(
            agreed={"status": "different", "reasons": ["prompt 0 parts at token 3"], "warnings": []}
        )
        assert block["verdict"] == "invalid"
        assert (
            "the outputs of cache=fixed and cache=none differ; prompt 0 parts at token 3"
            in block["verdict_reason"]
        )

    def test_impossible_samples_are_found(self, judged):
        samples = paired(2.0)
        samples.add(dict(samples.valid("candidate")[0], block=9))
        block, _ = judged(samples)
        assert "the arms have different numbers of trials" in block["verdict_reason"]

    @pytest.mark.parametrize(
        ("work", "told"),
        [
            ({"bytes": 1e9, "flops": 1.0}, "cache=fixed reaches 5000% of the memory bandwidth"),
            ({"bytes": 1.0, "flops": 1e12}, "cache=fixed reaches 5000% of the peak FLOP/s"),
        ],
        ids=["bytes", "flops"],
    )
    def test_more_than_the_machine_can_do_means_that_the_timer_is_wrong(self, work, told, judged):
        samples = paired(2.0, pairs=1)  # the candidate's latency is 0.02 s
        scale = {"candidate": {"steps": {"latency_s": work}, "probe": PROBE}}
        block, _ = judged(samples, scale=scale)
        assert block["verdict"] == "invalid"
        assert told in block["verdict_reason"]
        assert "the timer is wrong" in block["verdict_reason"]


class TestRoofline:
    def test_shares_of_what_was_probed_stand_with_the_arm(self, judged):
        work = {"bytes": 4e6, "flops": 1e10}
        scale = {"candidate": {"steps": {"tokens_per_s": None, "latency_s": work}, "probe": PROBE}}
        block, _ = judged(paired(2.0, pairs=1), scale=scale)
        found = block["arms"]["candidate"]["roofline"]
        assert (found["mbu"], found["mfu"]) == (pytest.approx(0.2), pytest.approx(0.5))
        assert (found["bytes_per_step"], found["flops_per_step"], found["of"]) == (
            4e6,
            1e10,
            "latency_s",
        )
        assert found["prefill"] == {"bytes": None, "flops": None, "mbu": None, "mfu": None}
        assert block["verdict"] == "faster"

    def test_a_share_above_one_that_the_clock_need_not_explain_is_noted(self, judged):
        work = {"bytes": 3e7, "flops": 1e10}
        scale = {"candidate": {"steps": {"tokens_per_s": None, "latency_s": work}, "probe": PROBE}}
        block, result = judged(paired(2.0, pairs=1), scale=scale)
        assert block["arms"]["candidate"]["roofline"]["mbu"] == pytest.approx(1.5)
        assert block["verdict"] == "faster"
        (told,) = result["notes"]
        assert told.startswith(
            "cache=fixed reached more than 100 % of the memory bandwidth that the probe measured"
        )

    def test_both_arms_are_held_to_one_ceiling(self, judged):
        scale = {}
        for arm, bandwidth in (("candidate", 1e9), ("baseline", 2e9)):
            probe = {**PROBE, "bandwidth_bytes_per_s": bandwidth, "flops_form": "gemm"}
            work = {"bytes": 4e6, "flops": 1e10}
            scale[arm] = {"steps": {"latency_s": work}, "probe": probe}
        block, _ = judged(paired(2.0, pairs=1), scale=scale)
        one, other = (arm["roofline"] for arm in block["arms"].values())
        assert one["bandwidth_bytes_per_s"] == other["bandwidth_bytes_per_s"] == 2e9
        assert one["mbu"] / other["mbu"] == pytest.approx(2.0)

    def test_what_its_work_takes_at_least_stands_beside_a_step(self, judged):
        work = {"bytes": 4e6, "flops": 1e10}
        probe = {**PROBE, "level": "L3"}
        scale = {"candidate": {"steps": {"latency_s": work}, "probe": probe}}
        block, _ = judged(paired(2.0, pairs=1), scale=scale)
        found = block["arms"]["candidate"]["roofline"]
        times = (found["step_s"], found["bytes_s"], found["flops_s"])
        assert times == pytest.approx((0.02, 0.004, 0.01))
        assert found["reads_from"] == "cache"

    def test_an_arm_without_a_probe_keeps_nulls(self, judged):
        block, _ = judged(scale={"candidate": {"steps": {}, "probe": None}})
        assert set(block["arms"]["candidate"]["roofline"].values()) == {None}


class TestStability:
    def test_outliers_drift_and_advice_stand_in_the_result(self, judged):
        block, _ = judged(paired(2.0, noise=0.05, blocks=4))
        stability = block["stability"]
        assert stability["drift"].keys() == {"candidate", "baseline"}
        assert stability["outliers"] == []
        assert stability["advice"].startswith(
            "more blocks (measure.blocks) would narrow the interval most"
        )

    def test_what_a_start_may_have_made_is_narrowed_by_more_processes(self, judged):
        block, _ = judged(paired(2.0, noise=0.001, blocks=4))
        assert block["stability"]["advice"].startswith("more processes (measure.processes)")

    def test_a_drift_that_matters_is_noted_by_the_arm_s_name(self, judged):
        samples = paired(2.0, blocks=8)
        for number, trial in enumerate(samples.valid("candidate")):
            trial["metrics"]["tokens_per_s"] *= 0.9**number
        _, result = judged(samples)
        (told,) = result["notes"]
        assert told.startswith("cache=fixed drifted by -")


class TestGrid:
    GRID = ({"depth": 1}, {"depth": 8})

    def test_a_case_s_verdict_stands_with_the_case_alone(self, judged):
        block, result = judged(grid=list(self.GRID), case=1)
        assert (block["params"], block["verdict"]) == ({"depth": 8}, "faster")
        assert block["measurement"]["margin"] == DEFAULT_MARGIN
        assert result["verdict"] is None
        assert result["cases"][0]["verdict"] is None

    @pytest.mark.parametrize(
        ("verdicts", "word", "told"),
        [
            (["faster", "faster"], "faster", "of 2 cases: faster in 2"),
            (
                ["faster", "slower", "faster"],
                "inconclusive",
                "of 3 cases: faster in 2, slower in 1",
            ),
            (["faster", "invalid"], "invalid", "of 2 cases: faster in 1, invalid in 1"),
            (
                ["equivalent", "inconclusive"],
                "inconclusive",
                "of 2 cases: equivalent in 1, inconclusive in 1",
            ),
            ([None, None], None, None),
            ([None, "invalid"], "invalid", "of 2 cases: invalid in 1"),
        ],
        ids=str,
    )
    def test_the_cases_make_one_verdict(self, verdicts, word, told, tmp_path):
        record = Record(two_arms(), tmp_path)
        record.result["cases"] = [{"verdict": verdict} for verdict in verdicts]
        judge.judge_grid(record)
        assert (record.result["verdict"], record.result["verdict_reason"]) == (word, told)


def facts(sha="abc", **changed):
    """What is found out about an arm after its trials."""
    examined = {
        "stablehlo_sha256": sha,
        "module_bytes": 1000,
        "programs": {},
        "cost": {"flops": 1e6, "bytes_accessed": 1e6},
        "copies": 0,
        "wide_copies": {"count": 0, "bytes": 0, "operations": []},
        "captured_bytes": 0,
        "program_temp_bytes": 64,
        "program_alias_bytes": 32,
        "reasons": {},
        "last_step": {"bytes": 1e6, "flops": 1e6},
    }
    peaks = {
        "host_peak_rss_bytes": 5000,
        "device_peak_bytes": None,
        "device_reason": "no account is kept",
    }
    return {"examined": examined | changed, "peaks": peaks, "profile": None}


class TestArms:
    @pytest.fixture
    def described(self, tmp_path):
        def describe(candidate, baseline=None, isolation=Isolation.separate):
            arms = two_arms()
            found = {"candidate": candidate} | ({"baseline": baseline} if baseline else {})
            record = Record({name: arms[name] for name in found}, tmp_path)
            programs.describe_arms(
                {name: arms[name] for name in found}, record, found, isolation=isolation
            )
            return record.result

        return describe

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [("abc", "abc", True), ("abc", "def", False), ("abc", None, None), (None, None, None)],
    )
    def test_the_same_program_is_told(self, one, other, same, described):
        result = described(facts(one), facts(other))
        assert result["same_program"] is same
        assert ("the two arms are the same program" in " ".join(result["notes"])) is bool(same)

    def test_one_arm_is_the_same_as_none(self, described):
        assert described(facts())["same_program"] is None

    def test_programs_and_memory_stand_with_the_arm(self, described):
        arm = described(facts(), facts())["arms"]["candidate"]
        assert (arm["program"]["stablehlo_sha256"], arm["program"]["module_bytes"]) == ("abc", 1000)
        assert (arm["memory"]["program_temp_bytes"], arm["memory"]["program_alias_bytes"]) == (
            64,
            32,
        )
        assert arm["memory"]["reasons"] == {"device_peak_bytes": "no account is kept"}
        assert "profile" not in arm

    def test_a_reason_stands_beside_what_it_is_the_reason_of(self, described):
        reasons = {"copies": "no cache is kept", "program_temp_bytes": "it is not said"}
        arm = described(facts(reasons=reasons), facts())["arms"]["candidate"]
        assert arm["program"]["reasons"] == {"copies": "no cache is kept"}
        assert arm["memory"]["reasons"]["program_temp_bytes"] == "it is not said"

    @pytest.mark.parametrize(
        ("isolation", "peak"), [(Isolation.separate, 5000), (Isolation.shared, None)]
    )
    def test_the_peak_of_the_host_is_an_arm_s_own_only_in_a_process_of_its_own(
        self, isolation, peak, described
    ):
        memory = described(facts(), facts(), isolation)["arms"]["baseline"]["memory"]
        assert memory["host_peak_rss_bytes"] == peak
        assert (
            "measure.isolation=separate" in memory["reasons"].get("host_peak_rss_bytes", "")
        ) is (peak is None)

    @pytest.mark.parametrize(
        ("isolation", "peak"), [(Isolation.separate, 7000), (Isolation.shared, None)]
    )
    def test_so_is_the_peak_of_the_device(self, isolation, peak, described):
        known = facts()
        known["peaks"] |= {"device_peak_bytes": 7000, "device_reason": None}
        memory = described(known, known, isolation)["arms"]["baseline"]["memory"]
        assert memory["device_peak_bytes"] == peak
        assert ("measure.isolation=separate" in memory["reasons"].get("device_peak_bytes", "")) is (
            peak is None
        )

    def test_one_arm_alone_has_its_process_to_itself(self, described):
        memory = described(facts(), isolation=Isolation.shared)["arms"]["candidate"]["memory"]
        assert memory["host_peak_rss_bytes"] == 5000

    def test_a_count_of_xla_s_that_is_far_from_ours_is_noted(self, described):
        far = facts(cost={"flops": 9e6, "bytes_accessed": 1e6})
        (told,) = described(far, facts("def"))["notes"]
        assert told.startswith(
            "cache=fixed: XLA counts 9e+06 FLOPs where 1e+06 were expected in a decode step"
        )

    def test_without_a_decode_step_there_is_nothing_to_hold_xla_s_count_against(self, described):
        assert described(facts(last_step=None), facts("def"))["notes"] == []

    def test_a_profile_stands_with_the_arm_that_has_one(self, described):
        result = described(facts() | {"profile": {"operations": []}}, facts("def"))
        assert result["arms"]["candidate"]["profile"] == {"operations": []}
        assert "profile" not in result["arms"]["baseline"]


class TestExitCode:
    @pytest.mark.parametrize(
        ("verdict", "gates", "code"),
        [
            ("faster", [], ExitCode.OK),
            ("slower", [], ExitCode.OK),
            (None, [ExitCode.OK], ExitCode.OK),
            ("faster", [ExitCode.REGRESSION], ExitCode.REGRESSION),
            ("faster", [ExitCode.OK, ExitCode.REGRESSION], ExitCode.REGRESSION),
            ("faster", [ExitCode.INVALID], ExitCode.INVALID),
            ("invalid", [], ExitCode.INVALID),
            ("invalid", [ExitCode.REGRESSION], ExitCode.INVALID),
            ("invalid", [ExitCode.OK], ExitCode.INVALID),
        ],
        ids=str,
    )
    def test_an_invalid_measurement_goes_before_any_gate(self, verdict, gates, code):
        assert judge.exit_code({"verdict": verdict}, gates) == code
