"""Pairs of trials whose ratios are drawn, so that the truth is known."""

import math

from jaxgen.measure.statistics import Pair

BLOCK_SD, PAIR_SD = 0.017, 0.020
"""Of a log ratio: weights in fresh buffers; one pair (A against itself, two CPU cores)."""


def make_pairs(log_ratios, baseline=0.25, process=0):
    """Pairs with these log ratios candidate / baseline, one row a block."""
    return [
        Pair(
            process=process,
            block=block,
            pair=pair,
            baseline=baseline,
            candidate=baseline * math.exp(log_ratio),
        )
        for block, row in enumerate(log_ratios)
        for pair, log_ratio in enumerate(row)
    ]


def noise(rng, blocks, pairs=4, *, block_sd=BLOCK_SD, pair_sd=PAIR_SD):
    return rng.normal(0, block_sd, (blocks, 1)) + rng.normal(0, pair_sd, (blocks, pairs))
