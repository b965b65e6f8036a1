"""How far two arms' distributions lie apart, position by position: arithmetic on the host."""

import dataclasses

import numpy as np

LIKELIEST = 10
"""Differences of log-probabilities are taken over so many of the reference's likeliest tokens. Over
a whole vocabulary the maximum would be that of tokens of probability 1e-9, which no choice depends
on, and it would grow with the vocabulary. What the others move together shows in the KL divergence.
"""


@dataclasses.dataclass(frozen=True)
class Distances:
    """Of one arm's distributions from the reference's at n positions; each array is (n,).

    Attributes:
        kl: nats. Rounding can make it negative by 1e-7; that is written as 0.
        moved: the largest absolute difference of a log-probability over the reference's likeliest
            tokens.
        logit_error: standard deviation of the differences over the vocabulary: what all logits move
            by means nothing.
        alike: 1 where both have the same likeliest token, else 0.
        margins, reference_margins: the likeliest token's log-probability less the second's.
        reference_spread: standard deviation of the reference's log-probabilities over the
            vocabulary, which is that of its logits.
        finite, reference_finite: false where any value is NaN or Inf: all figures there mean
            nothing.
    """

    kl: np.ndarray
    moved: np.ndarray
    logit_error: np.ndarray
    alike: np.ndarray
    margins: np.ndarray
    reference_margins: np.ndarray
    reference_spread: np.ndarray
    finite: np.ndarray
    reference_finite: np.ndarray


def distances(reference: np.ndarray, logprobs: np.ndarray) -> Distances:
    """Compare two (n, V) arrays of log-probabilities."""
    # What is no number stays in the figures; `finite` says where they mean nothing.
    with np.errstate(invalid="ignore", over="ignore"):
        count = min(LIKELIEST, reference.shape[1])
        # Which ten they are is enough: a whole vocabulary is not sorted for it.
        likeliest = np.argpartition(reference, -count, axis=-1)
        likeliest = likeliest[:, -count:]
        apart = reference - logprobs
        moved = np.take_along_axis(apart, likeliest, axis=-1)
        # Summed in float64: 150 000 small terms lose digits in float32.
        kl = (np.exp(reference) * apart).sum(-1, dtype=np.float64)
        alike = logprobs.argmax(-1) == reference.argmax(-1)
        return Distances(
            kl=np.maximum(kl, 0.0),
            moved=np.abs(moved).max(-1),
            logit_error=apart.std(-1, dtype=np.float64),
            alike=alike.astype(np.float64),
            margins=_margins(logprobs),
            reference_margins=_margins(reference),
            reference_spread=reference.std(-1, dtype=np.float64),
            finite=_is_finite(logprobs),
            reference_finite=_is_finite(reference),
        )


def _margins(logprobs: np.ndarray) -> np.ndarray:
    """By how much the likeliest token leads the second."""
    # Only the last two places have to be right.
    second, first = np.partition(logprobs, -2, axis=-1)[:, -2:].T
    return first - second


def _is_finite(logprobs: np.ndarray) -> np.ndarray:
    """Whether each position holds numbers alone."""
    return np.all(np.isfinite(logprobs), axis=-1, keepdims=True)[:, 0]
