"""One arm's log-probabilities on disk, and how far another arm's lie from them on the same tokens.

The arms may live in two processes that exchange JSON, and a hundred positions over a large vocabulary are megabytes:
the baseline writes its distributions to a file (`write_teacher`), the candidate reads them (`against_teacher`) and
answers with a few numbers per position.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.engine.engine import Engine
from jaxgen.engine.teacher_forcing import Reading, forced_logprobs
from jaxgen.errors import UserError

MAX_BYTES = 256 * 10**6
LIKELIEST = 10
"""Differences of log-probabilities are taken over so many of the teacher's likeliest tokens. Over a whole vocabulary
the maximum would be that of tokens of probability 1e-9, which no choice depends on, and it would grow with the
vocabulary; what the others move together shows in the KL divergence."""
DIGITS = 5  # of the numbers in the answer: more are noise

Numbers = list[list[float | None]]


def write_teacher(
    engine: Engine,
    rows: Sequence[Mapping],
    path: Path | str,
    *,
    limits: Sequence[int] = (),
    max_bytes: int = MAX_BYTES,
) -> dict[str, Any]:
    """Write this arm's log-probabilities at each token of its own answers.

    The file is a float32 .npy of shape (positions, V), the positions of the first row first. What `max_bytes` does not
    hold is left out evenly: the last answer tokens of the longest rows.

    Args:
        engine: of the arm that teaches.
        rows: with `prompt_tokens` and `tokens`.
        path: appears when it is complete.
        limits: the most tokens for each prompt, where they differ.
        max_bytes: of the numbers in the file.

    Returns:
        `forced` (`steps` or `one pass`), `positions_compared`, `positions_total`.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(path)
    answers = [list(row["tokens"]) for row in rows]
    vocab = engine.blueprint.structure.architecture.vocab_size
    total = sum(map(len, answers))
    counts = _evenly([len(answer) for answer in answers], min(total, max_bytes // (4 * vocab)))
    reading = _read(engine, rows, counts, limits=limits)
    partial = path.with_name(f"{path.name}.partial")
    try:
        _write(partial, reading, counts, vocab=vocab)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): the arms' logits are compared through it; free "
            f"{4 * vocab * sum(counts) / 1e6:.0f} MB there, or set baseline=off"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return {"forced": reading.method, "positions_compared": sum(counts), "positions_total": total}


def against_teacher(
    engine: Engine, rows: Sequence[Mapping], path: Path | str, *, limits: Sequence[int] = ()
) -> dict[str, Any]:
    """Compare this arm with a teacher, position by position.

    Args:
        engine: of the arm that is compared.
        rows: the teacher's own, as they were given to `write_teacher`.
        path: what it wrote.
        limits: the most tokens that this arm's prompts may get, where they differ.

    Returns:
        Plain data: `forced` {candidate: `steps` or `one pass`}; `positions_compared`, `positions_total`; by row and
        position `kl` (of this arm from the teacher, nats), `max_abs_logprob_diff` (over the teacher's `LIKELIEST`
        tokens), `logit_error` (standard deviation over the vocabulary), `next_token_alike` (1 or 0) and `margins`
        {candidate, baseline} (how far the likeliest token leads the second, log-probability);
        `logit_spread` (standard deviation of the teacher's logits over the vocabulary, mean of the positions);
        `non_finite` (null, candidate, baseline or both); `skipped` (null, or why nothing could be compared). What is
        no number is null.

    Raises:
        ValueError: the file is not of these rows.
    """
    teacher = np.load(path, mmap_mode="r")
    lengths = [len(row["tokens"]) for row in rows]
    facts: dict[str, Any] = {
        "positions_compared": 0,
        "positions_total": sum(lengths),
        "skipped": None,
    }
    vocab = engine.blueprint.structure.architecture.vocab_size
    if teacher.shape[1] != vocab:
        skipped = (
            f"the candidate's vocabulary has {vocab} tokens, the baseline's {teacher.shape[1]}"
        )
        return facts | _report([], [], method=None) | {"skipped": skipped}
    counts = _evenly(lengths, teacher.shape[0])
    starts = _starts(counts)
    most = tuple(limits) or (engine.generation.max_new_tokens,) * len(rows)
    held = list(map(min, counts, most))  # perhaps fewer than the teacher's: the cache holds no more
    reading = _read(engine, rows, held, limits=limits)
    found: list[list[Differences]] = [[] for _ in rows]
    for piece in reading.pieces:
        start = starts[piece.row] + piece.position
        found[piece.row].append(
            differences(teacher[start : start + len(piece.logprobs)], piece.logprobs)
        )
    return facts | {"positions_compared": sum(held)} | _report(found, counts, method=reading.method)


@dataclasses.dataclass(frozen=True)
class Differences:
    """Of one arm's distributions from a teacher's at n positions; each array is (n,).

    Attributes:
        kl: nats. Rounding can make it negative by 1e-7; that is written as 0.
        moved: the largest absolute difference of a log-probability over the teacher's likeliest tokens.
        logit_error: standard deviation of the differences over the vocabulary: what all logits move by means nothing.
        alike: 1 where both have the same likeliest token, else 0.
        margins_ours, margins_teacher: the likeliest token's log-probability less the second's.
        spread: standard deviation of the teacher's log-probabilities over the vocabulary, which is its logits'.
        finite_ours, finite_teacher: false where any value is NaN or Inf: all figures there mean nothing.
    """

    kl: np.ndarray
    moved: np.ndarray
    logit_error: np.ndarray
    alike: np.ndarray
    margins_ours: np.ndarray
    margins_teacher: np.ndarray
    spread: np.ndarray
    finite_ours: np.ndarray
    finite_teacher: np.ndarray


def differences(teacher: np.ndarray, ours: np.ndarray) -> Differences:
    """Compare two (n, V) arrays of log-probabilities."""
    with np.errstate(invalid="ignore", over="ignore"):
        likeliest = np.argpartition(teacher, -min(LIKELIEST, teacher.shape[1]), axis=-1)[
            :, -LIKELIEST:
        ]
        apart = teacher - ours
        return Differences(
            kl=np.maximum((np.exp(teacher) * apart).sum(-1, dtype=np.float64), 0.0),
            moved=np.abs(np.take_along_axis(apart, likeliest, axis=-1)).max(-1),
            logit_error=apart.std(-1, dtype=np.float64),
            alike=(ours.argmax(-1) == teacher.argmax(-1)).astype(np.float64),
            margins_ours=_margins(ours),
            margins_teacher=_margins(teacher),
            spread=teacher.std(-1, dtype=np.float64),
            finite_ours=np.all(np.isfinite(ours), axis=-1, keepdims=True)[:, 0],
            finite_teacher=np.all(np.isfinite(teacher), axis=-1, keepdims=True)[:, 0],
        )


def _margins(logprobs: np.ndarray) -> np.ndarray:
    second, first = np.partition(logprobs, -2, axis=-1)[:, -2:].T
    return first - second


def _evenly(lengths: Sequence[int], budget: int) -> list[int]:
    """How many first tokens of each answer fit into a budget that all share; what one does not use goes to the others.

    With lengths 5, 1, 4 and a budget of 8: 4, 1, 3. The sum says it all, so that the reader of a file of so many
    positions finds the same counts.

    Raises:
        ValueError: there are fewer tokens than that.
    """
    if budget > sum(lengths):
        raise ValueError(
            f"the teacher's file has {budget} positions, its answers {sum(lengths)} tokens"
        )
    counts = [0] * len(lengths)
    while budget > 0:
        waiting = [row for row, length in enumerate(lengths) if counts[row] < length]
        rounds = min(budget // len(waiting), min(lengths[row] - counts[row] for row in waiting))
        for row in waiting if rounds else waiting[:budget]:
            counts[row] += rounds or 1
            budget -= rounds or 1
    return counts


def _starts(counts: Sequence[int]) -> list[int]:
    """The first position of each row in the file."""
    return [sum(counts[:row]) for row in range(len(counts))]


def _read(
    engine: Engine, rows: Sequence[Mapping], counts: Sequence[int], *, limits: Sequence[int]
) -> Reading:
    answers = [list(row["tokens"][:count]) for row, count in zip(rows, counts, strict=True)]
    return forced_logprobs(
        engine, [row["prompt_tokens"] for row in rows], answers=answers, limits=limits
    )


def _write(path: Path, reading: Reading, counts: Sequence[int], *, vocab: int) -> None:
    """A file and not mapped memory: a full disk is an error in the one and the end of the process in the other."""
    starts = _starts(counts)
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (sum(counts), vocab)}
        np.lib.format.write_array_header_1_0(file, header)
        data = file.tell()
        for piece in reading.pieces:
            file.seek(data + 4 * vocab * (starts[piece.row] + piece.position))
            file.write(np.ascontiguousarray(piece.logprobs, "<f4").data)


def _report(
    found: Sequence[Sequence[Differences]], counts: Sequence[int], *, method: str | None
) -> dict[str, Any]:
    every = [piece for pieces in found for piece in pieces]
    broken = {
        "candidate": not all(piece.finite_ours.all() for piece in every),
        "baseline": not all(piece.finite_teacher.all() for piece in every),
    }
    spreads = [float(value) for piece in every for value in piece.spread[piece.finite_teacher]]

    def by_row(name: str) -> Numbers:
        return [
            list(_plain(pieces, name, count)) for pieces, count in zip(found, counts, strict=True)
        ]

    return {
        "forced": {"candidate": method},
        "kl": by_row("kl"),
        "max_abs_logprob_diff": by_row("moved"),
        "logit_error": by_row("logit_error"),
        "next_token_alike": by_row("alike"),
        "margins": {"candidate": by_row("margins_ours"), "baseline": by_row("margins_teacher")},
        "logit_spread": _short(float(np.mean(spreads))) if spreads else None,
        "non_finite": "both"
        if all(broken.values())
        else next((arm for arm, bad in broken.items() if bad), None),
    }


def _plain(pieces: Sequence[Differences], name: str, count: int) -> Iterator[float | None]:
    """A row's figures; null where either arm's distribution is no numbers, and where the arm's cache did not reach."""
    given = 0
    for piece in pieces:
        for value, fine in zip(
            getattr(piece, name), piece.finite_ours & piece.finite_teacher, strict=True
        ):
            yield _short(float(value)) if fine else None
            given += 1
    yield from [None] * (count - given)


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
