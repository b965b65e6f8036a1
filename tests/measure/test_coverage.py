"""A rate of coverage: its own interval, and when it is too low."""

import numpy as np
import pytest

from jaxgen.measure.coverage import binomial_interval, is_too_low


@pytest.mark.parametrize(
    ("held", "of", "interval"),
    # Of Clopper and Pearson's method, as tables of it have them.
    [(0, 10, (0.0, 0.3085)), (10, 10, (0.6915, 1.0)), (95, 100, (0.8872, 0.9836))],
)
def test_the_interval_is_the_exact_one(held, of, interval):
    assert binomial_interval(held, of) == pytest.approx(interval, abs=1e-4)


@pytest.mark.parametrize(
    ("held", "of", "too_low"),
    [
        (100, 100, False),
        (92, 100, False),
        (91, 100, True),
        (88, 100, True),
        (3, 4, False),
        (2, 4, True),
        (1, 1, False),
    ],
)
def test_fewer_than_92_of_100_are_too_few_and_as_unlikely_of_others(held, of, too_low):
    assert is_too_low(held, of) is too_low


def test_intervals_that_are_as_wide_as_they_say_seldom_fail():
    held = np.random.default_rng(5).binomial(100, 0.95, size=2000)
    rate = np.mean([is_too_low(int(count), 100) for count in held])
    assert 0.04 < rate < 0.09  # 6.3 %, with 0.5 of binomial error
