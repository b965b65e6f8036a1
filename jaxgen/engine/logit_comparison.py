"""How far this arm's logits lie from the reference logits on the same tokens.

It answers with a few numbers for each position, and with both arms' log-probabilities of the tokens
at which their outputs part: the teacher-forced pass holds these already, so that nothing is
compiled for a divergence.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.engine import drawn_tokens
from jaxgen.engine.engine import Engine
from jaxgen.engine.forced_pieces import Piece
from jaxgen.engine.logit_distances import (
    Distances,
    distances,
)
from jaxgen.engine.reference_logits import (
    read_outputs,
    row_starts,
    share_evenly,
)

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
            `tokens` whose log-probabilities are wanted there; where tokens are drawn, a `tolerance`
            too.

    Returns:
        Plain data: `forced` {candidate: how it read the tokens}; `positions_compared`,
        `positions_total`; by row and position `kl` (of this arm from the reference, nats),
        `max_abs_logprob_diff` (over the reference's `LIKELIEST` tokens), `logit_error` (standard
        deviation over the vocabulary), `next_token_alike` (1 or 0) and `margins` {candidate,
        baseline} (how far the likeliest token leads the second, log-probability); `logit_spread`
        (standard deviation of the reference's logits over the vocabulary, mean of the positions);
        `non_finite` (null, candidate, baseline or both); `skipped` (null, or why nothing could be
        compared); `divergences`, {candidate, baseline} log-probabilities of the tokens of each,
        null for one at a position that was not compared; `draws`, of each that has a tolerance,
        `noise`, what the draw added to the two logits, and `standing` {candidate, baseline} of both
        tokens (`drawn_tokens.standing`). What is no number is null.

    Raises:
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
    parts = [_Divergence(engine, rows, at) for at in divergences]
    if skipped := _other_vocabulary(engine, reference):
        facts["skipped"] = skipped
        return facts | _report([], [], method=None) | _at_divergences(parts)
    counts = share_evenly(lengths, reference.shape[0])
    most = tuple(limits) or (engine.generation.max_new_tokens,) * len(rows)
    # Perhaps fewer than the reference has: this arm's cache may hold no more.
    compared = [min(count, limit) for count, limit in zip(counts, most, strict=True)]
    reading = read_outputs(engine, rows, compared, limits=limits)
    by_row = _compare_pieces(
        reading.pieces,
        reference,
        starts=row_starts(counts),
        divergences=parts,
    )
    facts["positions_compared"] = sum(compared)
    report = _report(by_row, counts, method=reading.method)
    return facts | report | _at_divergences(parts)


def _other_vocabulary(engine: Engine, reference: np.ndarray) -> str | None:
    """Why the two vocabularies cannot be compared; null where they can."""
    ours = engine.blueprint.structure.architecture.vocab_size
    theirs = reference.shape[1]
    if ours == theirs:
        return None
    return f"the candidate's vocabulary has {ours} tokens, the baseline's {theirs}"


class _Divergence:
    """One place where the arms' outputs part.

    Attributes:
        logprobs: of both tokens in each arm, unrounded; null until a piece covers the place.
        draw: what the draw there depends on; null where nothing is drawn, or until then.
    """

    def __init__(self, engine: Engine, rows: Sequence[Mapping], at: Mapping):
        self._engine = engine
        self._at = at
        self._prompt_length = len(rows[at["row"]]["prompt_tokens"])
        self.logprobs: dict[str, Numbers] | None = None
        self.draw: dict[str, Any] | None = None

    def look_into(self, piece: Piece, reference: np.ndarray) -> None:
        """Take the figures from a piece, and from the reference at its positions, if it is in."""
        at = self._at
        offset = at["position"] - piece.position
        if at["row"] != piece.row or not 0 <= offset < len(piece.logprobs):
            return
        both = {
            "candidate": piece.logprobs[offset],
            "baseline": reference[offset],
        }
        # Unrounded: the near-tie is decided by a difference of two of them.
        self.logprobs = {arm: _plain(logprobs[at["tokens"]]) for arm, logprobs in both.items()}
        if "tolerance" in at:
            self.draw = self._draw(both)

    def _draw(self, both: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Return the noise of the draw, and whether each arm could draw the tokens at all."""
        at, sampling = self._at, self._engine.generation.sampling
        vocab = len(both["candidate"])
        noise = drawn_tokens.noise_of(
            at["tokens"],
            seed=self._engine.generation.seed,
            row=at["row"],
            position=self._prompt_length + at["position"],
            vocab=vocab,
        )
        standing: dict[str, list[str]] = {}
        for arm, logprobs in both.items():
            standing[arm] = []
            for token in at["tokens"]:
                word = drawn_tokens.standing(
                    token,
                    logprobs,
                    sampling,
                    tolerance=at["tolerance"],
                )
                standing[arm].append(word)
        return {"noise": noise, "standing": standing}


def _at_divergences(parts: Sequence[_Divergence]) -> dict[str, Any]:
    """Return what was seen at the divergences, in their order."""
    return {
        "divergences": [part.logprobs for part in parts],
        "draws": [part.draw for part in parts],
    }


def _compare_pieces(
    pieces: Iterable[Piece],
    reference: np.ndarray,
    *,
    starts: Sequence[int],
    divergences: Sequence[_Divergence],
) -> list[list[Distances]]:
    """Return the distances of each row; the divergences get their figures."""
    by_row: list[list[Distances]] = [[] for _ in starts]
    # Piece by piece: all positions over a large vocabulary would not fit into memory at once.
    for piece in pieces:
        start = starts[piece.row] + piece.position
        same_positions = reference[start : start + len(piece.logprobs)]
        by_row[piece.row].append(distances(same_positions, piece.logprobs))
        for divergence in divergences:
            divergence.look_into(piece, same_positions)
    return by_row


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
