"""What the record makes of figures, cases and environments, and the run's identity."""

import json
from typing import ClassVar

import pytest

from jaxgen.errors import ExitCode
from jaxgen.results.record import Record
from jaxgen.specs.measure import Isolation
from support.small_runs import (
    figures_of,
    loaded_facts,
    paired,
    read_result,
    two_arms,
    warm_call,
)


class TestFigures:
    def test_they_are_shown_of_both_arms_and_saved(self, record):
        record.show(*figures_of(paired(2.0)), case=0)
        result = read_result(record.folder)
        assert result["comparison"]["latency_s"]["ratio"] == pytest.approx(2.0)
        assert {
            name: arm["metrics"]["tokens_per_s"]["n"] for name, arm in result["arms"].items()
        } == {
            "candidate": 6,
            "baseline": 6,
        }
        assert result["arms"]["candidate"]["compile"]["warm"] is True
        assert result["arms"]["candidate"]["weights"]["bytes"] == 4096

    def test_warm_up_calls_are_summed_over_cases(self, record):
        record.warmed("candidate", [warm_call(), warm_call(seconds=0.25)])
        record.warmed("candidate", [warm_call(persistent_cache_hits=1)])
        startup = read_result(record.folder)["arms"]["candidate"]["startup"]
        assert (startup["warmup_s"], startup["trace_s"], startup["compile_s"]) == (2.75, 1.5, 0.375)
        assert (startup["persistent_cache_hits"], startup["persistent_cache_misses"]) == (1, 6)
        assert [call["seconds"] for call in startup["calls"]] == [1.25, 0.25, 1.25]
        assert startup["load_s"] == 1.5

    def test_without_warm_up_calls_nothing_is_known_of_them(self, record):
        record.warmed("candidate", [])
        startup = read_result(record.folder)["arms"]["candidate"]["startup"]
        known = {
            startup[key]
            for key in ("trace_s", "lower_s", "compile_s", "warmup_s", "persistent_cache_hits")
        }
        assert known == {None}

    def test_the_call_behind_the_warm_up_is_told_apart(self, record):
        record.answered(
            "baseline", warm_call(events=0, compile_s=0.0), facts={"batches": 1}, case=0
        )
        startup = record.result["arms"]["baseline"]["startup"]
        assert startup["next_call"]["events"] == 0
        assert record.result["arms"]["baseline"]["workload"] == {"batches": 1}
        assert startup["compile_s"] is None


class TestCases:
    @pytest.fixture
    def grid(self, tmp_path):
        made = Record(two_arms(), tmp_path)
        for arm in ("candidate", "baseline"):
            made.loaded(arm, loaded_facts(cases=[{"depth": 1}, {"depth": 8}]))
        return made

    def test_without_a_grid_there_are_none(self, record):
        assert record.result["cases"] == []
        assert record.section(0) is record.result

    def test_with_one_each_has_a_block_that_knows_its_parameters(self, grid):
        result = read_result(grid.folder)
        assert [case["params"] for case in result["cases"]] == [{"depth": 1}, {"depth": 8}]
        for case in result["cases"]:
            assert case["arms"].keys() == {"candidate", "baseline"}
            assert (case["verdict"], case["agreement"], case["comparison"]) == (None, None, {})

    def test_figures_go_into_their_case_alone(self, grid):
        grid.show(*figures_of(paired(2.0)), case=1)
        first, second = read_result(grid.folder)["cases"]
        assert first["arms"]["candidate"]["metrics"] == {}
        assert second["arms"]["candidate"]["metrics"]["tokens_per_s"]["n"] == 6
        assert second["comparison"]["tokens_per_s"]["ratio"] == pytest.approx(2.0)
        assert grid.result["comparison"] == {}
        assert grid.result["arms"]["candidate"]["metrics"] == {}

    def test_every_answer_says_its_case(self, grid):
        grid.write_outputs(
            [
                {"candidate": [{"index": 0}], "baseline": [{"index": 0}]},
                {"candidate": [{"index": 0}]},
            ]
        )
        text = (grid.folder / "outputs.jsonl").read_text()
        assert [json.loads(line) for line in text.splitlines()] == [
            {"arm": "candidate", "case": {"depth": 1}, "index": 0},
            {"arm": "baseline", "case": {"depth": 1}, "index": 0},
            {"arm": "candidate", "case": {"depth": 8}, "index": 0},
        ]

    def test_cases_that_are_not_answered_yet_have_no_lines(self, grid):
        grid.write_outputs([{"candidate": [{"index": 0}]}, {}])
        assert len((grid.folder / "outputs.jsonl").read_text().splitlines()) == 1


class TestEnvironment:
    HERE: ClassVar[dict] = {"platform": "cpu", "device_kind": "cpu", "import_s": 1.0, "pid": 7}

    def test_it_stands_there_once_where_it_is_the_same(self, record):
        other = {**self.HERE, "import_s": 2.0, "pid": 8}
        record.environment(
            {"candidate": self.HERE, "baseline": other}, isolation=Isolation.separate
        )
        assert record.result["environment"].keys() == {
            "platform",
            "device_kind",
            "load_average_before",
        }
        assert [arm["startup"]["import_s"] for arm in record.result["arms"].values()] == [1.0, 2.0]
        assert "environment" not in record.result["arms"]["baseline"]
        assert record.result["measurement"]["isolation"] == "separate"

    def test_an_arm_s_own_stands_with_the_arm(self, record):
        other = {**self.HERE, "xla_flags": "--xla"}
        record.environment(
            {"candidate": self.HERE, "baseline": other}, isolation=Isolation.separate
        )
        assert record.result["arms"]["baseline"]["environment"]["xla_flags"] == "--xla"
        assert "environment" not in record.result["arms"]["candidate"]


ENVIRONMENT = {
    "git": {"commit": "c", "dirty": False},
    "packages": {"jax": "1"},
    "device_kind": "cpu",
    "device_count": 1,
}


class TestIdentity:
    def identity(self, folder, *, arms=None, facts=None, environment=None):
        record = Record(arms or two_arms(), folder)
        for arm in record.result["arms"]:
            record.loaded(arm, facts or loaded_facts())
        record.result["environment"] = ENVIRONMENT | (environment or {})
        record.finish("completed", ExitCode.OK)
        return record.result["run_id"]

    def test_equal_runs_have_equal_ids(self, tmp_path):
        assert self.identity(tmp_path) == self.identity(tmp_path)

    def test_where_and_when_do_not_matter(self, tmp_path):
        (tmp_path / "other").mkdir()
        assert self.identity(tmp_path) == self.identity(
            tmp_path / "other",
            facts=loaded_facts(load_s=9.0),
            environment={"load_average_before": [3.0]},
        )

    def test_another_configuration_has_another_id(self, tmp_path):
        arms = two_arms()
        arms["baseline"].resolved["cache"] = {"max_len": 7}
        assert self.identity(tmp_path, arms=arms) != self.identity(tmp_path)

    def test_where_converted_weights_are_kept_does_not_matter(self, tmp_path):
        ids = set()
        for store in ("/here", "/there", None):
            arms = two_arms()
            for arm in arms.values():
                arm.resolved["model"] = {"name": "tiny", "store": store}
            ids.add(self.identity(tmp_path, arms=arms))
            assert arms["candidate"].resolved["model"]["store"] == store
        assert len(ids) == 1

    def test_other_weights_have_another_id(self, tmp_path):
        other = loaded_facts()
        other["weights"]["fingerprint"] = "another"
        assert self.identity(tmp_path, facts=other) != self.identity(tmp_path)

    @pytest.mark.parametrize(
        "changed",
        [
            {"git": {"commit": "d", "dirty": False}},
            {"git": {"commit": "c", "dirty": True}},
            {"packages": {"jax": "2"}},
            {"device_kind": "gpu"},
            {"device_count": 2},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_another_code_or_device_has_another_id(self, changed, tmp_path):
        assert self.identity(tmp_path, environment=changed) != self.identity(tmp_path)
