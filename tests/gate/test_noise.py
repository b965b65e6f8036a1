"""The noise of what a gate compares: of two ratios, of two levels, and over several runs."""

import math

import numpy as np
import pytest

from jaxgen.gate.measured import RATIO_UNIT, Measured
from jaxgen.gate.noise import NO_INTERVAL, half_width_of, log_noise, pooled


def ratio(value=2.0, half_width: float | None = 0.027):
    return Measured({}, "tokens_per_s", RATIO_UNIT, "higher", value, 12, None, half_width)


def level(value=100.0, *, n=12, spread: float | None = 0.02):
    return Measured({}, "tokens_per_s", "tokens/s", "higher", value, n, spread)


def test_the_intervals_of_two_ratios_add_up_in_squares():
    noise, doubt = log_noise(ratio(), ratio(half_width=0.036), noise_floor=0.0)
    assert noise == pytest.approx(0.045)
    assert doubt == ""


def test_no_floor_hides_what_two_narrow_intervals_tell_apart():
    assert log_noise(ratio(), ratio(), noise_floor=0.5)[0] == pytest.approx(0.027 * math.sqrt(2))


def test_a_ratio_without_an_interval_says_nothing_of_its_noise():
    assert log_noise(ratio(half_width=None), ratio(), noise_floor=0.02) == (None, NO_INTERVAL)


def test_one_run_stays_as_it_is():
    row = level()
    assert pooled([row]) is row


def test_runs_that_agree_have_their_own_noise_alone():
    """Four runs of ± 2.7 % know their mean to 1.35 %."""
    together = pooled([ratio()] * 4)
    assert together.value == pytest.approx(2.0)
    assert together.half_width == pytest.approx(0.0135)


def test_runs_that_scatter_widen_the_noise_to_that_of_one_more_run():
    """Exact runs with a standard deviation of 0.1: 4.303 * 0.1 * sqrt(1 + 1 / 3)."""
    rows = [ratio(math.exp(log), half_width=1e-9) for log in (-0.1, 0.0, 0.1)]
    together = pooled(rows)
    assert together.value == pytest.approx(1.0)
    assert together.half_width == pytest.approx(4.3027 * 0.1 * math.sqrt(4 / 3), rel=1e-3)


def test_levels_of_several_runs_have_the_spread_of_the_machine():
    calm = pooled([level(100.0), level(101.0), level(99.0)])
    rough = pooled([level(100.0), level(120.0), level(85.0)])
    assert calm.half_width is not None
    assert rough.half_width is not None
    assert rough.half_width > 0.3 > 0.05 > calm.half_width
    noise, _ = log_noise(level(), rough, noise_floor=0.02)
    assert noise == pytest.approx(math.hypot(rough.half_width, half_width_of(level()) or 0.0))


def test_a_level_s_own_interval_is_students_widened_for_the_median():
    # scipy.stats.t.ppf(0.975, 11) = 2.2010
    expected = 2.2010 * 0.02 / math.sqrt(12) * math.sqrt(math.pi / 2)
    assert half_width_of(level()) == pytest.approx(expected, rel=1e-4)
    assert half_width_of(level(n=1, spread=None)) is None


@pytest.mark.parametrize("between", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("runs", [2, 3, 5, 10])
def test_the_interval_of_the_next_run_holds_it(runs, between):
    """A spread of the size of the runs' own noise is not always seen, least of all in two runs."""
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(1000):
        draws = np.exp(rng.normal(0, between, runs + 1) + rng.normal(0, 0.01, runs + 1))
        together = pooled([ratio(float(draw), half_width=0.0196) for draw in draws[:-1]])
        noise, _ = log_noise(ratio(float(draws[-1]), half_width=0.0196), together, noise_floor=0.0)
        assert noise is not None
        assert together.value is not None
        inside += abs(math.log(draws[-1] / together.value)) < noise
    assert inside >= (800 if runs == 2 else 880)
