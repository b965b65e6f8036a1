"""The benchmark of the benchmark: how often the verdict is right on a simulated machine whose truth
is known.

The schedule, the reasons to stop, the interval and the verdict are the real ones; only the trials
and the clock are made up. Their noise is that of a 2-core CPU as it was measured, and a little
worse.
"""

import dataclasses
import functools
import math
from collections import Counter

import numpy as np
import pytest

from jaxgen.measure import schedule, statistics
from jaxgen.measure.statistics import Pair, compare_pairs, relative_half_width
from jaxgen.measure.verdict import verdict
from jaxgen.specs.measure import Measure

PLACEMENT_SD = 0.017  # of one arm's time: where its weights lie, drawn for each block
PLACED_FIRST = 0.015  # the arm that is placed first is slower, always
PAIR_SD = 0.020  # of one pair's log ratio
SPIKE, SPIKES = math.log(1.3), 0.01  # one trial in a hundred takes 30 % longer
DRIFT = 0.001  # of a trial's time, a second: the machine throttles
TRIAL_S = 0.2
PROCESS_SD = 0.020  # of the ratio, drawn for each process

MARGIN = 0.02
DEFAULT = Measure()
SELFTEST = Measure(trials=2, blocks=40, target_ci=0.01, max_seconds=60.0)
"""What it takes to see a slowdown of 5 % through such noise; the experiment `selftest` uses it."""

RUNS = 400
LEAST_COVERAGE = 0.93
"""Of intervals said to hold the truth in 95 % of the runs: less two standard errors of so many
runs. The default plan would have 92 % here if its target could end it after three blocks."""


@pytest.fixture(autouse=True)
def no_p_value(monkeypatch):
    """It takes half the time of a comparison, and no decision here reads it."""
    monkeypatch.setattr(statistics, "MIN_UNITS_P", math.inf)


def several(processes):
    """Six blocks in each process, however long they take."""
    return Measure(processes=processes, blocks=6, max_seconds=100.0)


@dataclasses.dataclass
class Machine:
    """Trials that take no time; `now_s` is its clock."""

    rng: np.random.Generator
    now_s: float = 0.0

    def block(self, planned, slowdown):
        """The seconds of each pair's trials, by arm."""
        placed = {arm: self.rng.normal(0, PLACEMENT_SD) for arm in planned.placement}
        placed[planned.placement[0]] += PLACED_FIRST
        placed["candidate"] += math.log(slowdown)
        return [{arm: self.trial(placed[arm]) for arm in order} for order in planned.pairs]

    def trial(self, log_factor):
        noise = self.rng.normal(0, PAIR_SD / math.sqrt(2)) + SPIKE * (self.rng.random() < SPIKES)
        took_s = TRIAL_S * math.exp(log_factor + noise + DRIFT * self.now_s)
        self.now_s += took_s
        return took_s


def simulate(plan, *, seed, slowdown=1.0, process_sd=0.0):
    """One run of the real schedule: all its pairs, and why its last process stopped."""
    rng, pairs, block, stopped = np.random.default_rng([7, seed]), [], 0, None
    for process in range(plan.processes):
        machine, mine, first, stopped = Machine(rng), [], block, None
        draw = math.exp(rng.normal(0, process_sd))
        while not stopped:
            planned = schedule.block_plan(block, pairs=plan.trials, seed=seed)
            timed = machine.block(planned, slowdown * draw)
            mine += [
                Pair(process=process, block=block, pair=number, **took_s)
                for number, took_s in enumerate(timed)
            ]
            block += 1
            stopped = schedule.enough(
                relative_half_width(mine, better="lower"),
                blocks_done=block - first,
                blocks=plan.blocks,
                elapsed_s=machine.now_s,
                max_seconds=plan.max_seconds,
                target_ci=plan.target_ci,
            )
        pairs += mine
    return pairs, stopped


def compared(pairs):
    return compare_pairs(pairs, better="lower", resamples=400)


@functools.cache
def outcomes(plan, *, slowdown=1.0, process_sd=0.0, runs=RUNS):
    """Over many runs, the share of each verdict, and of intervals that held the truth."""
    words, held, stops = Counter(), 0, Counter()
    for seed in range(runs):
        pairs, stopped = simulate(plan, seed=seed, slowdown=slowdown, process_sd=process_sd)
        comparison = compared(pairs)
        words[verdict(comparison, margin=MARGIN, agreement="identical", dirty=())[0]] += 1
        low, high = comparison["ci95"]
        held += low <= 1 / slowdown <= high
        stops[stopped] += 1
    return {word: count / runs for word, count in words.items()}, held / runs, stops


def false_verdicts(words):
    return words.get("faster", 0.0) + words.get("slower", 0.0)


def test_an_arm_against_itself_is_called_equal_or_open_in_95_of_100_runs():
    words, _, _ = outcomes(DEFAULT)
    assert words.keys() <= {"equivalent", "inconclusive", "faster", "slower"}
    assert false_verdicts(words) <= 0.05


def test_the_selftests_plan_finds_a_slowdown_of_5_percent_in_95_of_100_runs():
    words, held, _ = outcomes(SELFTEST, slowdown=1.05, runs=300)
    assert words["slower"] >= 0.95
    assert held >= LEAST_COVERAGE


def test_the_default_plan_does_not_call_a_slowdown_of_5_percent_anything_wrong():
    """It often leaves it open: seven blocks in ten seconds are not enough for such noise."""
    words, _, _ = outcomes(DEFAULT, slowdown=1.05, runs=200)
    assert words.get("faster", 0.0) + words.get("equivalent", 0.0) <= 0.05


def test_to_stop_at_a_narrow_interval_does_not_cost_its_coverage():
    _, held, stops = outcomes(dataclasses.replace(DEFAULT, max_seconds=100.0))
    assert stops["target_ci reached"] > RUNS / 4  # else nothing is tested here
    assert held >= LEAST_COVERAGE


@pytest.mark.parametrize("processes", [2, 4])
def test_the_interval_of_several_processes_contains_their_draw(processes):
    words, held, _ = outcomes(several(processes), process_sd=PROCESS_SD, runs=200)
    assert held >= LEAST_COVERAGE
    assert false_verdicts(words) <= 0.05


def test_without_their_own_level_processes_would_be_wrong_in_more_than_one_run_of_ten():
    held = 0
    for seed in range(100):
        pairs, _ = simulate(several(4), seed=seed, process_sd=PROCESS_SD)
        low, high = compared([dataclasses.replace(pair, process=0) for pair in pairs])["ci95"]
        held += low <= 1 <= high
    assert held < 90


def test_the_spread_is_found_again_level_by_level():
    """Over many runs the variances of the truth come out, each at its own level."""
    plan = dataclasses.replace(several(6), target_ci=1e-6)
    found = [
        compared(simulate(plan, seed=seed, process_sd=PROCESS_SD)[0])["spread"]
        for seed in range(40)
    ]
    mean = {
        level: np.mean([each[level] ** 2 for each in found])
        for level in ("process", "block", "pair")
    }
    assert mean["process"] == pytest.approx(PROCESS_SD**2, rel=0.3)
    assert mean["block"] == pytest.approx(2 * PLACEMENT_SD**2 + PLACED_FIRST**2, rel=0.3)
    assert mean["pair"] == pytest.approx(PAIR_SD**2 + 2 * SPIKES * SPIKE**2, rel=0.3)


def test_the_selftests_plan_fits_into_a_minute():
    _, _, stops = outcomes(SELFTEST, slowdown=1.05, runs=300)
    assert stops["max_seconds limit"] == 0
