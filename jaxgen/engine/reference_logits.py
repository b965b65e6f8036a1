"""The reference logits: one arm's log-probabilities at each token of its own outputs, in a file.

The arms may live in two processes that exchange JSON, and a hundred positions over a large
vocabulary are megabytes: so the baseline writes its distributions to a file, and the candidate
reads them (`logit_comparison`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.engine.engine import Engine
from jaxgen.engine.teacher_forcing import (
    Reading,
    forced_logprobs,
)
from jaxgen.errors import UserError
from jaxgen.results.files import atomic_path

MAX_BYTES = 256 * 10**6
FLOAT_BYTES = 4


def write_reference_logits(
    engine: Engine,
    rows: Sequence[Mapping],
    path: Path | str,
    *,
    limits: Sequence[int] = (),
    max_bytes: int = MAX_BYTES,
) -> dict[str, Any]:
    """Write this arm's log-probabilities at each token of its own outputs.

    The file is a float32 .npy of shape (positions, V), the positions of the first row first. What
    `max_bytes` does not hold is left out evenly: the last output tokens of the longest rows.

    Args:
        engine: of the arm that is the reference.
        rows: with `prompt_tokens` and `tokens`.
        path: appears when it is complete.
        limits: the most tokens for each prompt, where they differ.
        max_bytes: of the numbers in the file.

    Returns:
        `forced` (how the tokens were read), `positions_compared`, `positions_total`.

    Raises:
        UserError: the file cannot be written.
    """
    # Beside the file and renamed at the end: whoever sees it finds it complete.
    path = Path(path)
    vocab_size = engine.blueprint.structure.architecture.vocab_size
    lengths = [len(row["tokens"]) for row in rows]
    total = sum(lengths)
    counts = share_evenly(
        lengths,
        min(total, max_bytes // (FLOAT_BYTES * vocab_size)),
    )
    reading = read_outputs(engine, rows, counts, limits=limits)
    try:
        with atomic_path(path) as beside:
            _write(
                beside,
                reading,
                counts,
                vocab_size=vocab_size,
            )
    except OSError as error:
        megabytes = FLOAT_BYTES * vocab_size * sum(counts) / 1e6
        raise UserError(
            f"{path} cannot be written ({error.strerror}): the arms' logits are compared through "
            f"it; free {megabytes:.0f} MB there, or set baseline=off"
        ) from error
    return {
        "forced": reading.method,
        "positions_compared": sum(counts),
        "positions_total": total,
    }


def read_outputs(
    engine: Engine,
    rows: Sequence[Mapping],
    counts: Sequence[int],
    *,
    limits: Sequence[int],
) -> Reading:
    """Read the first `counts` output tokens of each row with an arm."""
    outputs = [list(row["tokens"][:count]) for row, count in zip(rows, counts, strict=True)]
    prompts = [row["prompt_tokens"] for row in rows]
    return forced_logprobs(engine, prompts, outputs=outputs, limits=limits)


def share_evenly(lengths: Sequence[int], budget: int) -> list[int]:
    """Return how many first tokens of each row fit into a budget that all share.

    What one row does not use goes to the others. With lengths 5, 1, 4 and a budget of 8: 4, 1, 3.
    The budget says it all, so that the reader of a file of so many positions finds the same counts.

    Args:
        lengths: output tokens of each row.
        budget: the sum of what is returned.

    Raises:
        ValueError: there are fewer tokens than that.
    """
    if budget > sum(lengths):
        raise ValueError(
            f"the reference's file has {budget} positions, its outputs {sum(lengths)} tokens"
        )
    counts = [0] * len(lengths)
    # In rounds: every row that still has tokens gets the same share.
    # Lengths 5, 1, 4 and 8 positions: one each, then two each for those that have more, and the
    # last one for the first row.
    while budget > 0:
        waiting = [row for row, length in enumerate(lengths) if counts[row] < length]
        shortest = min(lengths[row] - counts[row] for row in waiting)
        share = min(budget // len(waiting), shortest)
        if share == 0:  # fewer positions than rows: the first rows have them
            waiting = waiting[:budget]
            share = 1
        for row in waiting:
            counts[row] += share
            budget -= share
    return counts


def row_starts(counts: Sequence[int]) -> list[int]:
    """Return the first position of each row in the file."""
    return [sum(counts[:row]) for row in range(len(counts))]


def _write(
    path: Path,
    reading: Reading,
    counts: Sequence[int],
    *,
    vocab_size: int,
) -> None:
    """Write the pieces as they come.

    This is a file and not mapped memory: a full disk is an error in the one, and the end of the
        process in the other.
    """
    # Counts 4, 1, 3: the rows begin at positions 0, 4 and 5.
    starts = row_starts(counts)
    with path.open("wb") as file:
        # A plain .npy: the reader maps it, and takes a piece of it at a time.
        header = {
            "descr": "<f4",
            "fortran_order": False,
            "shape": (sum(counts), vocab_size),
        }
        np.lib.format.write_array_header_1_0(file, header)
        data = file.tell()
        for piece in reading.pieces:
            position = starts[piece.row] + piece.position
            # Pieces come batch by batch, and rows lie one behind the other in the file.
            file.seek(data + FLOAT_BYTES * vocab_size * position)
            file.write(np.ascontiguousarray(piece.logprobs, "<f4").data)
