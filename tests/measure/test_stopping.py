"""The reasons to stop, at and below what each of them needs."""

import math

import numpy as np
import pytest

from jaxgen.measure.interval import pooled
from jaxgen.measure.schedule import Share, share_of
from jaxgen.measure.start_spread import SHIPPED, StartSpread
from jaxgen.measure.stopping import enough, is_narrow, is_settled
from jaxgen.specs.measure import Measure

EXACT = StartSpread(0.0, 100, "all alike")
PLAN = Measure(processes=1, blocks=100, max_seconds=60.0)
WIDTH = Measure(processes=1, blocks=100, max_seconds=60.0, target_ci=0.01)


def centres(*means, deviation, blocks=12):
    """Return processes with these means, whose blocks have this standard deviation."""
    freedom = len(means) * (blocks - 1)
    counts = np.full(len(means), blocks)
    return pooled(np.array(means), np.array(deviation**2 * freedom), counts)


def stop(known, *, plan=PLAN, start=EXACT, done=12, pairs=1, elapsed_s=1.0, share=None):
    return enough(
        known,
        start,
        plan=plan,
        share=share or share_of(plan, 0),
        blocks_done=done,
        pairs=pairs,
        elapsed_s=elapsed_s,
    )


CLEAR = centres(0.2, deviation=0.02)
NARROW = centres(0.018, deviation=0.005)
WIDE = centres(0.018, deviation=0.05)


def test_trials_go_on_while_nothing_is_known_or_settled():
    assert stop(None) is None
    assert stop(WIDE) is None


def test_a_clear_difference_ends_the_trials_before_the_interval_is_narrow():
    assert not is_narrow(CLEAR, EXACT, 0.01, processes=1)
    assert stop(CLEAR) == "the question is settled"


def test_a_run_that_may_end_with_its_first_start_has_the_pairs_of_a_whole_run():
    plan = Measure(max_seconds=10.0)
    assert share_of(plan, 0).may_be_last
    assert stop(CLEAR, plan=plan, done=6) is None
    # Its seconds are those of the whole run, as there is no other start.
    assert stop(CLEAR, plan=plan, done=10, elapsed_s=7.0) is None
    assert stop(CLEAR, plan=plan, done=10, elapsed_s=10.0) == "the question is settled"
    assert stop(CLEAR, plan=plan, done=12) == "the question is settled"
    # What is open goes on in other processes.
    assert stop(WIDE, plan=plan, done=10, elapsed_s=7.0) == "max_seconds limit"


def test_only_the_first_start_of_a_run_that_can_make_all_pairs_by_itself_may_be_the_last():
    plan = Measure(max_seconds=10.0)
    assert not share_of(plan, 1).may_be_last
    # Of the second the half of the seconds is its own, and 6 pairs are its half.
    assert stop(CLEAR, plan=plan, done=6, share=share_of(plan, 1)) == "the question is settled"
    assert share_of(Measure(blocks=24), 0).may_be_last
    assert not share_of(Measure(blocks=22), 0).may_be_last
    assert share_of(Measure(blocks=12, trials=2), 0).may_be_last


def test_starts_that_are_asked_for_are_all_made():
    assert not share_of(Measure(processes=2), 0).may_be_last
    assert not share_of(Measure(target_ci=0.01), 0).may_be_last
    assert stop(CLEAR, plan=Measure(processes=2), done=6) == "the question is settled"


def test_clear_equality_ends_them_too():
    assert is_settled(centres(0.0, deviation=0.01), EXACT, 0.02)
    assert stop(centres(0.0, deviation=0.01)) == "the question is settled"


def test_a_narrow_interval_ends_an_open_question():
    assert not is_settled(NARROW, EXACT, 0.02)
    assert stop(NARROW) == "target_ci reached"


def test_a_width_that_is_asked_for_is_waited_for():
    assert stop(CLEAR, plan=WIDTH) is None
    assert stop(NARROW, plan=WIDTH) == "target_ci reached"


def test_a_margin_of_zero_is_no_question():
    zero = Measure(processes=1, blocks=100, margin=0.0)
    assert stop(CLEAR, plan=zero) is None
    assert stop(NARROW, plan=zero) == "target_ci reached"


@pytest.mark.parametrize(
    ("done", "pairs", "ends"),
    [(10, 1, False), (11, 1, False), (12, 1, True), (13, 1, False), (4, 4, False), (6, 4, True)],
)
def test_what_is_known_counts_after_twelve_pairs_and_at_even_numbers(done, pairs, ends):
    assert (stop(NARROW, done=done, pairs=pairs) is not None) is ends


def test_the_blocks_limit_ends_the_trials_at_any_number_and_without_an_interval():
    assert stop(None, done=1, share=Share(1, 60.0, 1)) == "blocks limit"
    assert stop(None, done=3, share=Share(3, 60.0, 1)) == "blocks limit"


@pytest.mark.parametrize(("done", "ends"), [(2, False), (3, False), (4, True), (5, False)])
def test_the_time_limit_waits_for_four_blocks_and_an_even_number(done, ends):
    reason = stop(WIDE, done=done, elapsed_s=60.0)
    assert reason == ("max_seconds limit" if ends else None)


def test_one_of_two_processes_may_stop_at_half_the_time_and_two_blocks():
    share = share_of(Measure(processes=2, max_seconds=60.0), 0)
    assert stop(WIDE, done=2, elapsed_s=29.0, share=share) is None
    assert stop(WIDE, done=2, elapsed_s=30.0, share=share) == "max_seconds limit"


def test_what_starts_differ_by_keeps_a_quiet_process_from_looking_narrow():
    assert is_narrow(NARROW, EXACT, 0.01, processes=1)
    assert not is_narrow(NARROW, SHIPPED, 0.01, processes=1)


def test_what_the_other_processes_will_add_is_allowed_for():
    """One of four is as wide as 2 %; four of them will be half as wide."""
    one = centres(0.0, deviation=0.02 / 2.2 * math.sqrt(12))
    assert not is_narrow(one, EXACT, 0.011, processes=1)
    assert is_narrow(one, EXACT, 0.017, processes=4)
    two = centres(0.0, 0.0, deviation=0.02 / 2.2 * math.sqrt(12))
    assert not is_narrow(two, EXACT, 0.0125, processes=2)
    # One process that is twice as noisy as another says the same of the rest of the run.
    assert is_narrow(two, EXACT, 0.0125, processes=3)


def test_many_runs_are_asked_at_once():
    both = pooled(np.array([[0.2], [0.0]]), np.array([0.01, 0.01]), np.array([12]))
    assert is_settled(both, EXACT, 0.02).tolist() == [True, False]
