"""The gate: what is a regression, what is only noise, and what cannot be compared."""

import copy
import json
import re

import numpy as np
import pytest

from jaxgen.errors import ExitCode, UserError
from jaxgen.gate import regression
from jaxgen.gate.measured import Measured, rows_of
from jaxgen.gate.rows import compare_rows
from jaxgen.gate.stored import read_all
from jaxgen.specs.gate import NoGate, Regression
from support.stored_results import cases, csv_text, metrics, result, write

CASE = {"batch_size": 4, "num_labels": 2}


def speed(value, *, n=12, spread: float | None = 0.01, params=CASE):
    return Measured(params, "items_per_s", "items/s", "higher", value, n, spread)


def latency(value, *, n=12, spread=0.01):
    return Measured(CASE, "latency_s", "s", "lower", value, n, spread)


def one(new, old, *, threshold=0.1, noise_floor=0.02):
    (row,) = compare_rows(
        [new] if new else [], [old] if old else [], threshold=threshold, noise_floor=noise_floor
    )
    return row


def gated(now, then, tmp_path, *, threshold=0.1, noise_floor=0.02):
    stored = read_all([write(tmp_path / "result.json", then)])
    made = regression.gate_section(now, stored, threshold=threshold, noise_floor=noise_floor)
    return json.loads(json.dumps(made, allow_nan=False))


class TestRows:
    @pytest.mark.parametrize(
        ("new", "old", "status"),
        [
            (speed(89.0), speed(100.0), "REGRESSION"),
            (speed(90.0), speed(100.0), "OK"),  # worse by the threshold, not by more
            (speed(91.0), speed(100.0), "OK"),
            (speed(200.0), speed(100.0), "OK"),  # better
            (latency(1.11), latency(1.0), "REGRESSION"),
            (latency(1.1), latency(1.0), "OK"),  # 1.1 / 1.0 - 1 > 0.1 in floating point
            (latency(0.5), latency(1.0), "OK"),  # better
        ],
    )
    def test_worse_by_more_than_the_threshold_is_a_regression_in_either_direction(
        self, new, old, status
    ):
        assert one(new, old)["status"] == status

    def test_the_threshold_is_the_one_given(self):
        assert one(speed(94.0), speed(100.0), threshold=0.05)["status"] == "REGRESSION"
        assert one(speed(70.0), speed(100.0), threshold=0.5)["status"] == "OK"

    @pytest.mark.parametrize("noisy", ["new", "old", "both"])
    def test_what_the_noise_of_either_side_explains_is_no_regression(self, noisy):
        new = speed(80.0, n=4, spread=0.3 if noisy != "old" else 0.01)
        old = speed(100.0, n=4, spread=0.3 if noisy != "new" else 0.01)
        row = one(new, old)
        assert row["status"] == "UNSETTLED"
        assert re.match(r"worse by 20.0%, which noise, up to \d+\.\d%, explains", row["note"])

    def test_more_samples_see_through_the_same_noise(self):
        few = one(speed(80.0, n=4, spread=0.15), speed(100.0, n=4, spread=0.15))
        assert few["status"] == "UNSETTLED"
        assert (
            one(speed(80.0, n=40, spread=0.15), speed(100.0, n=40, spread=0.15))["status"]
            == "REGRESSION"
        )

    def test_the_noise_floor_is_the_least_that_is_allowed_for(self):
        row = one(speed(80.0, spread=0.0), speed(100.0, spread=0.0), noise_floor=0.3)
        assert row["status"] == "UNSETTLED"
        assert row["noise"] == pytest.approx(0.3)

    def test_the_noise_is_welchs_interval_widened_for_medians(self):
        # scipy.stats.ttest_ind_from_stats(0, 0.03, 8, 0, 0.05, 12, equal_var=False): t(17.9) =
        # 2.1018 at 97.5 %
        half = 2.1018 * (0.03**2 / 8 + 0.05**2 / 12) ** 0.5 * (np.pi / 2) ** 0.5
        row = one(speed(100.0, n=8, spread=0.03), speed(100.0, n=12, spread=0.05), noise_floor=0.0)
        assert row["noise"] == pytest.approx(np.expm1(half), rel=1e-3)

    def test_one_sample_borrows_the_spread_of_the_other_side(self):
        row = one(speed(80.0, n=1, spread=None), speed(100.0, spread=0.1))
        assert row["status"] == "UNSETTLED"
        assert "one side has fewer than two samples" in (row["note"] or "")
        assert (
            one(speed(80.0, n=1, spread=None), speed(100.0, spread=0.01))["status"] == "REGRESSION"
        )

    def test_two_single_samples_have_the_noise_floor_alone_and_say_so(self):
        row = one(speed(80.0, n=1, spread=None), speed(100.0, n=1, spread=None))
        assert (row["status"], row["noise"]) == ("REGRESSION", pytest.approx(0.02))
        assert row["note"] == "neither side has two samples: only the margin is allowed for"

    def test_rows_without_a_partner_are_named_and_not_skipped(self):
        rows = compare_rows(
            [speed(1.0), speed(2.0, params={"batch_size": 8, "num_labels": 2})],
            [speed(1.0), speed(3.0, params={"batch_size": 16, "num_labels": 2})],
            threshold=0.1,
            noise_floor=0.02,
        )
        assert [
            (row["status"], row["params"]["batch_size"], row["old"], row["new"]) for row in rows
        ] == [
            ("OK", 4, 1.0, 1.0),
            ("NEW", 8, None, 2.0),
            ("MISSING", 16, 3.0, None),
        ]

    @pytest.mark.parametrize(
        ("new", "old", "status", "note"),
        [
            (
                speed(1.0),
                speed(None),
                "NEW",
                "the stored result measured no items_per_s of this case",
            ),
            (speed(None), speed(1.0), "MISSING", "this run measured no items_per_s of this case"),
            (
                speed(None),
                speed(None),
                "MISSING",
                "this run and the stored result measured no items_per_s of this case",
            ),
        ],
    )
    def test_a_metric_without_a_value_is_named_too(self, new, old, status, note):
        row = one(new, old)
        assert (row["status"], row["note"], row["change"]) == (status, note, None)

    def test_the_order_of_a_cases_parameters_does_not_matter(self):
        assert (
            one(speed(1.0), speed(1.0, params={"num_labels": 2, "batch_size": 4}))["status"] == "OK"
        )

    @pytest.mark.parametrize("spread", [0.01, 0.1])
    def test_the_same_code_again_is_hardly_ever_a_regression(self, spread):
        rng = np.random.default_rng(0)
        red = sum(
            self.drawn(rng, 100.0, 100.0, spread)["status"] == "REGRESSION" for _ in range(400)
        )
        assert red <= 12  # 3 %; one side of 95 % gives 2.5 %, were there no threshold

    @pytest.mark.parametrize("spread", [0.01, 0.05])
    def test_a_fifth_less_is_nearly_always_a_regression(self, spread):
        rng = np.random.default_rng(0)
        red = sum(
            self.drawn(rng, 100.0, 80.0, spread)["status"] == "REGRESSION" for _ in range(400)
        )
        assert red >= 380

    def drawn(self, rng, old, new, spread):
        samples = [level * np.exp(spread * rng.standard_normal(12)) for level in (old, new)]
        before, after = (
            speed(float(np.median(drawn)), spread=float(np.log(drawn).std(ddof=1)))
            for drawn in samples
        )
        return one(after, before, threshold=0.05)


class TestOutcome:
    def test_an_equal_run_passes(self, tmp_path):
        made = gated(result(), result(), tmp_path)
        assert (made["status"], made["reason"]) == (
            "passed",
            "of 2 rows compared, none is worse by more than 10 % and beyond noise",
        )
        assert regression.exit_code(made) is ExitCode.OK
        (note,) = made["notes"]
        assert note.startswith("levels are compared and not ratios, as one of the runs has no ")
        assert "a level may move by 10 % and more with the machine" in note

    def test_a_slower_run_is_a_regression_and_the_rows_are_told(self, tmp_path):
        made = gated(result(0.8), result(), tmp_path)
        assert regression.exit_code(made) is ExitCode.REGRESSION
        assert made["status"] == "regression"
        assert made["reason"].startswith(
            "of 2 rows compared, 2 worse by more than 10 % and beyond noise: "
        )
        assert (
            "tokens_per_s 100 -> 80 tokens/s (-20.0%), latency_s 0.5 -> 0.625 s (+25.0%)"
            in made["reason"]
        )

    def test_a_faster_run_passes(self, tmp_path):
        assert gated(result(3.0), result(), tmp_path)["status"] == "passed"

    def test_one_slow_case_among_many_is_a_regression(self, tmp_path):
        now, then = (result(cases=cases({1: 1.0, 2: 1.0, 4: level})) for level in (0.8, 1.0))
        made = gated(now, then, tmp_path)
        assert made["status"] == "regression"
        assert [
            row["params"]["batch_size"] for row in made["rows"] if row["status"] == "REGRESSION"
        ] == [4, 4]
        assert "tokens_per_s at batch_size=4 num_labels=2 100 -> 80" in made["reason"]

    def test_missing_and_new_cases_are_named_though_the_gate_passes(self, tmp_path):
        now, then = result(cases=cases({1: 1.0, 2: 1.0})), result(cases=cases({1: 1.0, 4: 1.0}))
        made = gated(now, then, tmp_path)
        assert made["status"] == "passed"
        assert (
            "; missing here: tokens_per_s at batch_size=4 num_labels=2, latency_s" in made["reason"]
        )
        assert "; new here: tokens_per_s at batch_size=2 num_labels=2, latency_s" in made["reason"]

    def test_many_missing_rows_are_counted_after_a_few(self, tmp_path):
        then = result(cases=cases(dict.fromkeys(range(1, 9), 1.0)))
        assert "and 10 more" in gated(result(cases=cases({1: 1.0})), then, tmp_path)["reason"]

    @pytest.mark.parametrize(
        ("now", "then"),
        [
            (result(), result(cases=cases({1: 1.0}))),
            (result(cases=cases({1: 1.0})), result(cases=cases({2: 1.0}))),
            (result(), result(arms={})),
            (result(arms={}), result()),
            (result(arms={}), result(arms={})),
        ],
        ids=[
            "cases against none",
            "other cases",
            "nothing stored",
            "nothing measured",
            "nothing at all",
        ],
    )
    def test_nothing_in_common_is_never_green(self, now, then, tmp_path):
        made = gated(now, then, tmp_path)
        assert made["status"] == "nothing to compare"
        assert made["reason"].startswith("this run and the stored one have no row in common")
        assert regression.exit_code(made) is ExitCode.INVALID

    @pytest.mark.parametrize(
        ("row", "status"),
        [
            ("4,2,20,80,100.0,40.0,41.0,,40.0,0.4", "passed"),
            ("4,2,20,80,150.0,26.7,27.0,,26.7,0.3", "regression"),
            ("8,2,20,80,100.0,40.0,41.0,,40.0,0.4", "nothing to compare"),
            ("", "nothing to compare"),
        ],
    )
    def test_a_csv_of_scores_is_compared_case_by_case(self, tmp_path, row, status):
        now = result(cases=cases({4: 1.0}))
        measured = now["cases"][0]["arms"]["candidate"]["metrics"]
        measured["items_per_s"] = measured.pop("tokens_per_s")
        measured["latency_s"] = metrics(12.5)["latency_s"]  # 40 ms
        stored = read_all([write(tmp_path / "scores.csv", csv_text(row))])
        assert (
            regression.gate_section(now, stored, threshold=0.1, noise_floor=0.02)["status"]
            == status
        )

    def test_the_block_holds_all_that_a_reader_needs(self, tmp_path):
        made = gated(result(), result(), tmp_path, threshold=0.2, noise_floor=0.03)
        assert set(made) == {
            "against",
            "threshold",
            "noise_floor",
            "status",
            "reason",
            "rows",
            "notes",
        }
        assert (made["against"], made["threshold"]) == (str(tmp_path / "result.json"), 0.2)
        assert set(made["rows"][0]) == {
            *(
                "params",
                "metric",
                "unit",
                "better",
                "old",
                "new",
                "change",
                "noise",
                "status",
                "note",
            )
        }


class TestYardstick:
    def test_without_a_gate_nothing_is_read(self):
        assert regression.stored_result(NoGate()) is None

    def test_a_gate_reads_what_it_is_told_to(self, tmp_path):
        path = write(tmp_path / "result.json", result())
        stored = regression.stored_result(Regression(against=(path,)))
        assert stored is not None
        assert (stored.against, len(stored.runs), stored.runs[0].path) == (path, 1, path)

    def test_a_gate_without_its_file_ends_before_anything_is_measured(self, tmp_path):
        with pytest.raises(UserError, match="does not exist"):
            regression.stored_result(Regression(against=(str(tmp_path / "absent.csv"),)))


def test_nothing_that_is_handed_in_is_changed(tmp_path):
    now, then = result(0.5), read_all([write(tmp_path / "result.json", result())])
    before = copy.deepcopy((now, then))
    regression.gate_section(now, then, threshold=0.1, noise_floor=0.02)
    assert (now, then) == before


def test_samples_as_a_run_keeps_them_are_steady_enough_to_see_fifteen_percent():
    rows = compare_rows(rows_of(result(0.85)), rows_of(result()), threshold=0.1, noise_floor=0.02)
    assert {row["status"] for row in rows} == {"REGRESSION"}
