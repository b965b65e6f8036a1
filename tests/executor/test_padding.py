"""The length of each worker's environment: drawn, and drawn again alike from the same seed."""

from jaxgen.executor import padding
from jaxgen.executor.padding import MOST_BYTES, VARIABLE

ARMS = ("candidate", "baseline")


def test_the_same_seed_draws_the_same_lengths_whatever_the_order_of_the_arms():
    drawn = padding.lengths(ARMS, seed=3, process=1)
    assert padding.lengths(reversed(ARMS), seed=3, process=1) == drawn
    assert padding.lengths(ARMS[:1], seed=3, process=1)["candidate"] == drawn["candidate"]


def test_every_process_arm_and_seed_has_a_length_of_its_own():
    drawn = []
    for seed in (0, 1):
        for process in range(20):
            drawn += padding.lengths(ARMS, seed=seed, process=process).values()
    assert len(set(drawn)) > 70
    assert 0 <= min(drawn) < 600
    assert MOST_BYTES - 600 < max(drawn) < MOST_BYTES


def test_the_variable_is_as_long_as_it_says():
    assert padding.variables(5) == ((VARIABLE, "xxxxx"),)
    assert padding.variables(0) == ((VARIABLE, ""),)
    assert padding.variables(None) == ()
