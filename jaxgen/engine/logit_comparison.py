"""How far this arm's logits lie from the reference logits on the same tokens.

It answers with a few numbers for each position, and with both arms' log-probabilities of the tokens
at which their outputs part: the teacher-forced pass holds these already, so that nothing is
compiled for a divergence.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.engine.engine import Engine
from jaxgen.engine.logit_distances import (
    Distances,
    distances,
)
from jaxgen.engine.reference_logits import (
    read_outputs,
    row_starts,
    share_evenly,
)
from jaxgen.engine.teacher_forcing import Piece

DIGITS = 5  # of the numbers in the report: more are noise

Numbers = list[float | None]


def compare_logits(
    engine: Engine,
    rows: Sequence[Mapping],
    path: Path | str,
    *,
    limits: Sequence[int] = (),
    divergences: Sequence[Mapping] = (),
) -> dict[str, Any]:
    """Compare this arm with the reference, position by position.

    Args:
        engine: of the arm that is compared.
        rows: the reference's own, as they were given to `write_reference_logits`.
        path: what it wrote.
        limits: the most tokens that this arm's prompts may get, where they differ.
        divergences: where the arms' outputs part, each a `row`, a `position` in its outputs and the
            `tokens` whose log-probabilities are wanted there.

    Returns:
        Plain data: `forced` {candidate: `steps` or `one pass`}; `positions_compared`,
        `positions_total`; by row and position `kl` (of this arm from the reference, nats),
        `max_abs_logprob_diff` (over the reference's `LIKELIEST` tokens), `logit_error` (standard
        deviation over the vocabulary), `next_token_alike` (1 or 0) and `margins` {candidate,
        baseline} (how far the likeliest token leads the second, log-probability); `logit_spread`
        (standard deviation of the reference's logits over the vocabulary, mean of the positions);
        `non_finite` (null, candidate, baseline or both); `skipped` (null, or why nothing could be
        compared); `divergences`, {candidate, baseline} log-probabilities of the tokens of each,
        null for one at a position that was not compared. What is no number is null. Raises:
        ValueError: the file is not of these rows.
    """
    # Mapped: only the positions of one piece are read at a time.
    reference = np.load(path, mmap_mode="r")
    lengths = [len(row["tokens"]) for row in rows]
    facts = {
        "positions_compared": 0,
        "positions_total": sum(lengths),
        "skipped": None,
    }
    if skipped := _other_vocabulary(engine, reference):
        facts["skipped"] = skipped
        nothing = [None] * len(divergences)
        return facts | _report([], [], method=None) | {"divergences": nothing}
    counts = share_evenly(lengths, reference.shape[0])
    most = tuple(limits) or (engine.generation.max_new_tokens,) * len(rows)
    # Perhaps fewer than the reference has: this arm's cache may hold no more.
    compared = [min(count, limit) for count, limit in zip(counts, most, strict=True)]
    reading = read_outputs(engine, rows, compared, limits=limits)
    by_row, logprobs = _compare_pieces(
        reading.pieces,
        reference,
        starts=row_starts(counts),
        divergences=divergences,
    )
    facts["positions_compared"] = sum(compared)
    report = _report(by_row, counts, method=reading.method)
    return facts | report | {"divergences": logprobs}


def _other_vocabulary(engine: Engine, reference: np.ndarray) -> str | None:
    """Why the two vocabularies cannot be compared; null where they can."""
    ours = engine.blueprint.structure.architecture.vocab_size
    theirs = reference.shape[1]
    if ours == theirs:
        return None
    return f"the candidate's vocabulary has {ours} tokens, the baseline's {theirs}"


def _compare_pieces(
    pieces: Iterable[Piece],
    reference: np.ndarray,
    *,
    starts: Sequence[int],
    divergences: Sequence[Mapping],
) -> tuple[list[list[Distances]], list[dict[str, Numbers] | None]]:
    """The distances of each row, and both arms' log-probabilities at each divergence."""
    by_row: list[list[Distances]] = [[] for _ in starts]
    logprobs: list[dict[str, Numbers] | None] = [None] * len(divergences)
    # Piece by piece: all positions over a large vocabulary would not fit into memory at once.
    for piece in pieces:
        start = starts[piece.row] + piece.position
        same_positions = reference[start : start + len(piece.logprobs)]
        by_row[piece.row].append(distances(same_positions, piece.logprobs))
        for number in _inside(piece, divergences):
            logprobs[number] = _at_divergence(piece, same_positions, divergences[number])
    return by_row, logprobs


def _inside(piece: Piece, divergences: Sequence[Mapping]) -> list[int]:
    """The numbers of the divergences that a piece covers."""
    end = piece.position + len(piece.logprobs)
    inside = []
    for number, at in enumerate(divergences):
        if at["row"] == piece.row and piece.position <= at["position"] < end:
            inside.append(number)
    return inside


def _at_divergence(piece: Piece, reference: np.ndarray, at: Mapping) -> dict[str, Numbers]:
    """Both arms' log-probabilities of the tokens at a divergence, unrounded."""
    # Unrounded: the near-tie is decided by a difference of two of them.
    offset = at["position"] - piece.position
    tokens = at["tokens"]
    both = {
        "candidate": piece.logprobs[offset],
        "baseline": reference[offset],
    }
    return {arm: _plain(logprobs[tokens]) for arm, logprobs in both.items()}


def _report(
    by_row: Sequence[Sequence[Distances]],
    counts: Sequence[int],
    *,
    method: str | None,
) -> dict[str, Any]:
    """The distances as rows of numbers, each row as long as the reference's."""
    # How wide the logits are decides how far rounding may move them.
    spreads: list[float] = []
    broken = set()
    for pieces in by_row:
        for piece in pieces:
            spreads += piece.reference_spread[piece.reference_finite].tolist()
            if not piece.finite.all():
                broken.add("candidate")
            if not piece.reference_finite.all():
                broken.add("baseline")

    def numbers(name: str) -> list[Numbers]:
        rows = zip(by_row, counts, strict=True)
        return [_row_numbers(pieces, name, count) for pieces, count in rows]

    return {
        "forced": {"candidate": method},
        "kl": numbers("kl"),
        "max_abs_logprob_diff": numbers("moved"),
        "logit_error": numbers("logit_error"),
        "next_token_alike": numbers("alike"),
        "margins": {
            "candidate": numbers("margins"),
            "baseline": numbers("reference_margins"),
        },
        "logit_spread": _rounded(float(np.mean(spreads))) if spreads else None,
        "non_finite": "both" if len(broken) == 2 else next(iter(broken), None),
    }


def _row_numbers(pieces: Sequence[Distances], name: str, count: int) -> Numbers:
    """A row's figures; null where a distribution is no numbers, or the cache did not reach."""
    numbers: Numbers = []
    for piece in pieces:
        # One value that is no number makes all figures of its position meaningless.
        finite = piece.finite & piece.reference_finite
        for value, is_finite in zip(getattr(piece, name), finite, strict=True):
            numbers.append(_rounded(float(value)) if is_finite else None)
    # As long as the reference's, so that the position is the index in both arms.
    return numbers + [None] * (count - len(numbers))


def _plain(values: np.ndarray) -> Numbers:
    return [float(value) if np.isfinite(value) else None for value in values]


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
