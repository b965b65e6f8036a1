"""Rows of any lengths become few shapes: rows alike in length together, widths and row counts rounded up."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Array, Int

from jaxgen.caches.none import Recompute
from jaxgen.models.sharding import Layout, put

FINEST = 4  # widths are multiples of this at least


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows that are computed together, on the device.

    Attributes:
        tokens: right-padded; rows beyond those of `numbers` are padding too.
        lengths: tokens of each row, 1 for a row of padding.
        numbers: which of all rows these are.
    """

    tokens: Int[Array, "B T"]
    lengths: Int[Array, "B"]
    numbers: tuple[int, ...]

    def from_the_beginning(self, window: int | None) -> Recompute:
        """What rows with nothing before them take as their cache; a query sees `window` positions, null all."""
        batch, width = self.tokens.shape
        return Recompute(batch=batch, visible=width, static_shape=True, window=window)


def make_rows(
    texts: Mapping[int, Sequence[int]],
    *,
    batch_size: int,
    longest: int,
    layout: Layout | None = None,
) -> tuple[Rows, ...]:
    """Batches of `batch_size` rows on the device, shortest texts first, so that little is padded.

    Args:
        texts: tokens of each row, at least one, by the row's number.
        batch_size: the most rows of a batch.
        longest: no width goes beyond it.
        layout: of the mesh, among whose groups the rows of a batch are shared out; null on a single device.
    """
    order = sorted(texts, key=lambda number: len(texts[number]))
    made = []
    for first in range(0, len(order), batch_size):
        numbers = order[first : first + batch_size]
        rows = [texts[number] for number in numbers]
        count = row_count(len(rows), batch_size)
        count = count if layout is None else layout.cut.rows(count)
        tokens = padded(rows, count=count, width=width(max(map(len, rows)), longest=longest))
        lengths = np.ones((len(tokens),), np.int32)
        lengths[: len(rows)] = [len(row) for row in rows]
        made.append(
            Rows(
                tokens=on_device(tokens, layout, "batch"),
                lengths=on_device(lengths, layout, "batch"),
                numbers=tuple(numbers),
            )
        )
    return tuple(made)


def width(tokens: int, *, longest: int) -> int:
    """The width of rows of up to so many tokens: at most an eighth more, at most eight widths from one power of two to
    the next, so that few programs are compiled.

    Example:
        >>> [width(tokens, longest=1000) for tokens in (1, 6, 44, 100, 300, 999)]
        [4, 8, 44, 104, 320, 1000]
    """
    step = max(FINEST, 1 << max((tokens - 1).bit_length() - 4, 0))
    return min(-(-tokens // step) * step, longest)


def row_count(rows: int, batch_size: int) -> int:
    """Rows of a batch with its padding: the next power of two, at most `batch_size`."""
    return min(1 << (rows - 1).bit_length(), batch_size)


def padded(rows: Sequence[Sequence[int]], *, count: int, width: int) -> np.ndarray:
    """The rows as an array (count, width), zeros behind them and below them."""
    tokens = np.zeros((count, width), np.int32)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = row
    return tokens


def on_device(array: np.ndarray, layout: Layout | None, *axes: str | None) -> jax.Array:
    """The array where the programs run, there before this returns."""
    return jax.block_until_ready(put(array, layout, *axes))
