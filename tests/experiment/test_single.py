"""Whole measurements in real workers: several processes, a grid, startups, a gate."""

import json

import pytest

from jaxgen.config.experiment import load_experiment
from jaxgen.errors import ExitCode
from jaxgen.experiment.gating import judge_gate
from jaxgen.gate import regression
from jaxgen.results.record import Record
from support.small_runs import ALONE, SMALL, execute_small, trials_of, two_arms

pytestmark = pytest.mark.slow

TWINS = (
    "baseline=same",
    "measure.isolation=shared",
    "measure.processes=2",
    "measure.blocks=4",
    "measure.target_ci=0.000001",
)
WIDE = "measure.margin=0.9"
"""No noise of a busy machine passes for a difference."""


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """An arm against itself in two processes, profiled and dumped: folder, exit code, result."""
    folder = tmp_path_factory.mktemp("twins")
    code, result = execute_small(
        folder, *TWINS, WIDE, "measure.profile=true", "measure.dump_hlo=true"
    )
    return folder, code, result


class TestTwins:
    def test_they_are_the_same_program_and_no_faster(self, twins):
        _, code, result = twins
        assert code == ExitCode.OK
        assert result["verdict"] in ("equivalent", "inconclusive")
        assert result["same_program"] is True
        assert (
            "the two arms are the same program: their lowered StableHLO is equal" in result["notes"]
        )
        assert result["agreement"]["status"] == "identical"
        assert result["agreement"]["max_abs_logprob_diff"] == 0

    def test_they_share_one_process_and_its_weights(self, twins):
        arms = twins[2]["arms"]
        assert twins[2]["measurement"]["isolation"] == "shared"
        assert arms["baseline"]["weights"] == arms["candidate"]["weights"]
        for arm in arms.values():
            assert set(arm["compile"]["events_per_trial"]) == {0}
            assert arm["memory"]["host_peak_rss_bytes"] is None
            assert "measure.isolation=separate" in arm["memory"]["reasons"]["host_peak_rss_bytes"]

    def test_every_process_has_its_share_of_the_blocks(self, twins):
        folder, _, result = twins
        places = {(row["process"], row["block"]) for row in trials_of(folder)}
        assert places == {("0", "0"), ("0", "1"), ("1", "2"), ("1", "3")}
        for compared in result["comparison"].values():
            assert (compared["processes"], compared["blocks"]) == (2, 4)
        assert result["comparison"]["tokens_per_s"]["spread"]["process"] is not None
        assert result["measurement"]["stopped_because"] == ["blocks limit"] * 2

    def test_the_figures_are_those_of_all_processes(self, twins):
        folder, _, result = twins
        for name, arm in result["arms"].items():
            samples = [
                float(row["tokens_per_s"]) for row in trials_of(folder) if row["arm"] == name
            ]
            assert arm["metrics"]["tokens_per_s"]["samples"] == samples

    def test_each_arm_s_profile_is_a_file_and_a_table(self, twins):
        folder, _, result = twins
        for name, arm in result["arms"].items():
            assert (folder / "profile" / name / arm["profile"]["trace"]).stat().st_size > 0
            assert arm["profile"]["operations"]
            assert arm["profile"]["reason"] is None

    def test_each_arm_s_programs_are_kept_as_text(self, twins):
        for name in twins[2]["arms"]:
            files = {path.name: path for path in (twins[0] / "hlo" / name).iterdir()}
            assert {"prefill.stablehlo.txt", "prefill.hlo.txt"} <= files.keys()
            assert "stablehlo" in files["prefill.stablehlo.txt"].read_text()
            assert "HloModule" in files["prefill.hlo.txt"].read_text()


def precise(result):
    """The same result, its ratios known to 2 %: a few blocks know less than a gate needs."""
    known = json.loads(json.dumps(result))
    for compared in known["comparison"].values():
        compared["ci95"] = [0.98 * compared["ratio"], 1.02 * compared["ratio"]]
    return known


def stored(folder, result, *, faster=1.0, arms=("candidate", "baseline")):
    """A result kept elsewhere, its candidate so many times as fast; only these arms have figures.

    Without the baseline there is no ratio either.
    """
    kept = precise(result)
    for compared in kept["comparison"].values():
        compared["ratio"] *= faster
        compared["ci95"] = [faster * end for end in compared["ci95"]]
    if "baseline" not in arms:
        kept["comparison"] = {}
        del kept["arms"]["baseline"]
    for name, arm in kept["arms"].items():
        for metric in arm["metrics"].values():
            factor = faster if metric["better"] == "higher" else 1 / faster
            factor = factor if name == "candidate" else 1.0
            metric["median"] *= factor
            metric["samples"] = [sample * factor for sample in metric["samples"]]
        arm["metrics"] = arm["metrics"] if name in arms else {}
    path = folder / "stored.json"
    path.write_text(json.dumps(kept))
    return path


class TestGate:
    @pytest.fixture
    def gated(self, twins, tmp_path):
        """Holds the twins' own result against what is stored."""

        def hold(path):
            experiment = load_experiment([*SMALL, "gate=regression", f"gate.against={path}"])
            record = Record(two_arms(), tmp_path)
            record.result |= precise(twins[2])
            stored = regression.stored_result(experiment.gate)
            return judge_gate(experiment, record, stored), record.result["gate"]

        return hold

    def test_a_result_passes_its_own_gate(self, gated, twins, tmp_path):
        code, block = gated(stored(tmp_path, twins[2]))
        assert (code, block["status"]) == (ExitCode.OK, "passed")
        assert {row["status"] for row in block["rows"]} == {"OK"}
        assert {row["change"] for row in block["rows"]} == {0.0}
        assert block["notes"] == [
            "the baseline, unchanged, moved by +0.0% in tokens_per_s, which is within noise"
        ]

    @pytest.mark.parametrize(
        ("kept", "code", "status"),
        [
            ({"faster": 1000.0}, ExitCode.REGRESSION, "regression"),
            ({"faster": 0.001}, ExitCode.OK, "passed"),
            ({"arms": ()}, ExitCode.INVALID, "nothing to compare"),
        ],
        ids=["then it was faster", "then it was slower", "nothing in common"],
    )
    def test_what_was_then_decides(self, kept, code, status, gated, twins, tmp_path):
        found, block = gated(stored(tmp_path, twins[2], **kept))
        assert (found, block["status"]) == (code, status)

    def test_a_regression_ends_a_run_with_exit_code_10(self, twins, tmp_path, capsys):
        against = stored(tmp_path, twins[2], faster=1000.0, arms=("candidate",))
        code, result = execute_small(tmp_path, *ALONE, "gate=regression", f"gate.against={against}")
        assert (code, result["status"], result["verdict"]) == (
            ExitCode.REGRESSION,
            "completed",
            None,
        )
        assert result["gate"]["status"] == "regression"
        assert {row["status"] for row in result["gate"]["rows"]} == {"REGRESSION"}
        assert "gate: regression" in capsys.readouterr().out


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Two depths with a fixed cache against none: folder, exit code, result."""
    folder = tmp_path_factory.mktemp("grid")
    return folder, *execute_small(folder, "measure.isolation=shared", "workload.depths=[1,8]", WIDE)


class TestGrid:
    def test_each_depth_is_a_case_with_figures_and_a_verdict(self, grid):
        _, code, result = grid
        assert (code, result["status"]) == (ExitCode.OK, "completed")
        assert [case["params"] for case in result["cases"]] == [{"depth": 1}, {"depth": 8}]
        for case in result["cases"]:
            assert case["verdict"] in ("faster", "slower", "equivalent", "inconclusive")
            assert case["agreement"]["status"] == "identical"
            assert case["comparison"]["tpot_s"]["blocks"] == 3
            assert case["stability"].keys() == {"drift", "outliers", "advice"}
            for arm in case["arms"].values():
                assert arm["metrics"]["tpot_s"]["n"] == 6
                assert arm["roofline"]["mbu"] > 0

    def test_the_run_s_verdict_is_over_its_cases(self, grid):
        assert grid[2]["verdict_reason"].startswith("of 2 cases: ")
        assert grid[2]["comparison"] == {}
        assert grid[2]["agreement"] is None
        assert all(arm["metrics"] == {} for arm in grid[2]["arms"].values())

    def test_a_deeper_prefix_is_more_work_without_a_cache(self, grid):
        shallow, deep = (
            case["arms"]["baseline"]["roofline"]["flops_per_step"] for case in grid[2]["cases"]
        )
        assert shallow < deep

    def test_trials_and_outputs_say_their_case(self, grid):
        rows = [json.loads(line) for line in (grid[0] / "outputs.jsonl").read_text().splitlines()]
        assert {row["case"] for row in trials_of(grid[0])} == {"0", "1"}
        assert {(row["arm"], row["case"]["depth"], len(row["prompt_tokens"])) for row in rows} == {
            (arm, depth, depth) for arm in ("candidate", "baseline") for depth in (1, 8)
        }

    def test_no_trial_of_any_case_compiles(self, grid):
        for case in grid[2]["cases"]:
            for arm in case["arms"].values():
                assert (set(arm["compile"]["events_per_trial"]), arm["compile"]["warm"]) == (
                    {0},
                    True,
                )
