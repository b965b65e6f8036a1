"""The mean log ratio of each block, from the trials themselves."""

import math

import pytest

from jaxgen.measure.block_ratios import block_log_ratios, standard_error
from support.small_runs import trial_row


def rows_of(*blocks):
    """Trials whose candidate is so many times as fast as the baseline: blocks of pairs."""
    rows = []
    for block, factors in enumerate(blocks):
        for pair, factor in enumerate(factors):
            place = {"block": block, "pair": pair}
            rows.append(trial_row("candidate", tokens_per_s=100.0 * factor, **place))
            rows.append(trial_row("baseline", tokens_per_s=100.0, **place))
    return rows


@pytest.mark.parametrize(("metric", "better"), [("tokens_per_s", "higher"), ("latency_s", "lower")])
def test_above_0_the_candidate_is_better_whichever_way_the_metric_points(metric, better):
    means = block_log_ratios(rows_of([2.0], [1.0, 4.0]), metric=metric, better=better)
    assert means == pytest.approx([math.log(2), math.log(2)])


def test_void_trials_and_those_without_a_partner_count_nowhere():
    rows = rows_of([2.0], [3.0])
    rows.append(trial_row("candidate", block=0, tokens_per_s=900.0, void=True))
    rows.append(trial_row("candidate", block=2, tokens_per_s=900.0))
    means = block_log_ratios(rows, metric="tokens_per_s", better="higher")
    assert means == pytest.approx([math.log(2), math.log(3)])


def test_what_has_no_logarithm_is_left_out():
    rows = [*rows_of([2.0]), trial_row("candidate", block=1, tokens_per_s=-1.0)]
    rows.append(trial_row("baseline", block=1))
    assert len(block_log_ratios(rows, metric="tokens_per_s", better="higher")) == 1


def test_the_standard_error_is_that_of_the_mean():
    assert standard_error([0.0, 2.0, 4.0]) == pytest.approx(2 / math.sqrt(3))
    assert standard_error([1.0]) is None
