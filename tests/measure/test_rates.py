"""The benchmark of the benchmark: how often intervals and verdicts are right on simulated machines.

Each test measures thousands of runs of a plan that users run, early stopping included.
"""

import dataclasses
import math

import numpy as np
import pytest

from jaxgen.config.experiment import load_experiment
from jaxgen.measure import interval, stopping
from jaxgen.measure.start_spread import SHIPPED
from jaxgen.specs.measure import Measure
from support.simulated_runs import Noise, simulate

RUNS = 2000
ERROR = 3 * math.sqrt(0.95 * 0.05 / RUNS)
"""Three binomial standard errors of a coverage of 95 %: 1.5 points."""
MARGIN = 0.02

MACHINES = {
    "quiet": Noise(),
    "quiet, starts as found": Noise(process=0.0035, first=0.0058),
    "busy, starts as found": Noise(block=0.07, process=0.0035, first=0.0058),
    "starts differ by 2 %": Noise(process=0.02),
    "and favour the second": Noise(process=0.02, first=0.0058),
}
ALONE = Measure(blocks=200, max_seconds=1e6, processes=1)
"""One pair of processes with time enough, so that the question ends every run."""


def plan_of(option):
    return load_experiment([f"measure={option}"]).measure


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("option", ["default", "thorough", "quick"])
def test_the_interval_of_a_calibrated_machine_holds_the_truth_in_95_percent(option, machine):
    runs = simulate(plan_of(option), machine, runs=RUNS, seed=1)
    assert runs.coverage >= 0.95 - ERROR
    # The margin holds the line beside: equal arms are called different in hardly any run.
    verdicts = runs.verdicts(MARGIN)
    assert verdicts["faster"] + verdicts["slower"] <= 0.01


@pytest.mark.parametrize("option", ["default", "quick"])
def test_the_shipped_spread_serves_a_machine_like_the_one_it_is_of(option):
    noise = MACHINES["quiet, starts as found"]
    runs = simulate(plan_of(option), noise, runs=RUNS, seed=2, start=SHIPPED)
    assert runs.coverage >= 0.95 - ERROR


def test_without_what_is_known_of_starts_one_start_would_miss_the_truth_far_too_often():
    noise, plan = MACHINES["starts differ by 2 %"], plan_of("quick")
    blind = dataclasses.replace(SHIPPED, deviation=0.0)
    assert simulate(plan, noise, runs=RUNS, seed=3, start=blind).coverage < 0.85


def test_starts_that_differ_more_than_known_are_noticed_more_often_than_not(monkeypatch):
    """Two starts of 4 % where 0.72 % is known: the F-test finds what it can from two."""
    noise = Noise(block=0.01, process=0.04)
    plan = dataclasses.replace(plan_of("default"), processes=2)  # one start shows no spread
    guarded = simulate(plan, noise, runs=RUNS, seed=4, start=SHIPPED).coverage
    monkeypatch.setattr(interval, "WIDER_P", 0.0)
    unguarded = simulate(plan, noise, runs=RUNS, seed=4, start=SHIPPED).coverage
    assert unguarded < 0.5
    assert guarded > 0.7


class TestErrorRates:
    """One pair of processes, starts alike: the stopping rule and the verdict alone."""

    def test_equal_arms_are_called_equivalent(self):
        runs = simulate(ALONE, Noise(), runs=RUNS, seed=5, exact=True)
        verdicts = runs.verdicts(MARGIN)
        assert verdicts["equivalent"] >= 0.9
        assert verdicts["faster"] + verdicts["slower"] <= 0.002

    @pytest.mark.parametrize("sign", [1, -1])
    def test_a_difference_of_the_margin_itself_is_seldom_called_either(self, sign):
        truth = sign * math.log1p(MARGIN)
        runs = simulate(ALONE, Noise(), runs=RUNS, seed=6, truth=truth, exact=True)
        verdicts = runs.verdicts(MARGIN)
        bound = 0.025 + 3 * math.sqrt(0.025 * 0.975 / RUNS)
        assert verdicts["faster"] + verdicts["slower"] <= bound
        assert verdicts["equivalent"] <= bound
        assert runs.coverage >= 0.95 - ERROR

    @pytest.mark.parametrize("gain", [1.05, 1.3, 1 / 1.05])
    def test_a_clear_difference_is_found_in_fewer_blocks_than_a_narrow_interval_takes(self, gain):
        truth = math.log(gain)
        runs = simulate(ALONE, Noise(), runs=RUNS, seed=7, truth=truth, exact=True)
        assert runs.verdicts(MARGIN)["faster" if gain > 1 else "slower"] >= 0.99
        for_width = dataclasses.replace(ALONE, target_ci=MARGIN / 2)
        narrow = simulate(for_width, Noise(), runs=RUNS, seed=7, truth=truth, exact=True)
        assert runs.blocks.mean() < 0.6 * narrow.blocks.mean()

    def test_to_stop_at_95_percent_would_err_three_times_as_often(self, monkeypatch):
        monkeypatch.setattr(stopping, "SETTLED_TAIL", 0.025)
        truth = math.log1p(MARGIN)
        runs = simulate(ALONE, Noise(), runs=RUNS, seed=6, truth=truth, exact=True)
        assert runs.verdicts(MARGIN)["faster"] > 0.06

    def test_a_margin_of_zero_is_settled_by_width_alone(self):
        plan = dataclasses.replace(ALONE, margin=0.0)
        runs = simulate(plan, Noise(), runs=RUNS, seed=8, exact=True)
        verdicts = runs.verdicts(0.0)
        assert verdicts["faster"] + verdicts["slower"] <= 0.05 + ERROR
        assert np.median(runs.half_widths) == pytest.approx(0.01, rel=0.1)
