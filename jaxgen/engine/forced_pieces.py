"""The pieces in which teacher-forced log-probabilities come, and the arrays that they come from."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from jaxgen.engine.batch import Batch
from jaxgen.engine.engine import Engine
from jaxgen.engine.right_padding import lengths_of, right_padded

CHUNK_BYTES = 64 * 2**20
"""The most log-probabilities that the device holds at once, whatever is asked of it."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """Consecutive positions of one prompt's outputs.

    Attributes:
        row: number of the prompt.
        position: of the first output token predicted here.
        logprobs: (n, V) float32; entry i is the distribution that predicts output token `position +
            i`.
    """

    row: int
    position: int
    logprobs: np.ndarray


def pieces(logprobs: np.ndarray, counts: np.ndarray, *, position: int) -> Iterator[Piece]:
    """Split (B, n, V) from `position` on into rows, each cut to the tokens that it has."""
    for row, count in enumerate(counts):
        # Padding rows and positions behind a row's outputs mean nothing.
        in_row = logprobs[row, : max(int(count) - position, 0)]
        if len(in_row):
            yield Piece(row, position, in_row)


def chunk_size(engine: Engine, batch: Batch, *, most: int) -> int:
    """Positions in one chunk; it depends on no output, so that all outputs run one program."""
    row_bytes = engine.blueprint.structure.architecture.vocab_size * np.dtype(np.float32).itemsize
    # 16 rows of 50257 float32 numbers are 3.2 MB a position: 20 positions fit.
    return max(1, min(most, CHUNK_BYTES // (batch.rows * row_bytes)))


def padded(
    outputs: Sequence[Sequence[int]], *, rows: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return right-padded tokens (rows, width) and their lengths; padding rows have none."""
    return right_padded(outputs, count=rows, width=width), lengths_of(outputs, count=rows)
