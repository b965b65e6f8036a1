"""Rows of any lengths become few shapes: similar ones go together, sizes are rounded up."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Array, Int

from jaxgen.caches.none import Recompute
from jaxgen.engine.right_padding import right_padded
from jaxgen.models.sharding import Layout, put

FINEST = 4  # widths are multiples of this at least


@dataclasses.dataclass(frozen=True)
class RowBatch:
    """Rows that are computed together, on the device.

    Attributes:
        tokens: right-padded; rows beyond those of `numbers` are padding too.
        lengths: tokens of each row, 1 for a row of padding.
        numbers: which of all rows these are.
    """

    tokens: Int[Array, "B T"]
    lengths: Int[Array, "B"]
    numbers: tuple[int, ...]

    def empty_cache(self, window: int | None) -> Recompute:
        """Return the cache of rows with nothing before them; a query sees `window` positions."""
        batch, width = self.tokens.shape
        return Recompute(
            batch=batch,
            visible=width,
            static_shape=True,
            window=window,
        )


def make_row_batches(
    rows: Mapping[int, Sequence[int]],
    *,
    batch_size: int,
    longest: int,
    layout: Layout | None = None,
) -> tuple[RowBatch, ...]:
    """Put rows on the device in batches of `batch_size`.

    Args:
        rows: tokens of each row, at least one, by the row's number.
        batch_size: the most rows of a batch.
        longest: no width goes beyond it.
        layout: of the mesh, among whose groups the rows of a batch are divided; null on a single
            device.
    """
    # The shortest first, so that rows of similar lengths are together and little is padded.
    order = sorted(rows, key=lambda number: len(rows[number]))
    batches = []
    for first in range(0, len(order), batch_size):
        numbers = order[first : first + batch_size]
        in_batch = [rows[number] for number in numbers]
        count = row_count(len(in_batch), batch_size)
        if layout is not None:
            count = layout.cut.rows(count)
        width = row_width(max(map(len, in_batch)), longest=longest)
        # A row of padding has one token, so that its last position exists.
        lengths = np.ones((count,), np.int32)
        lengths[: len(in_batch)] = [len(row) for row in in_batch]
        batch = RowBatch(
            tokens=on_device(
                right_padded(in_batch, count=count, width=width),
                layout,
                "batch",
            ),
            lengths=on_device(lengths, layout, "batch"),
            numbers=tuple(numbers),
        )
        batches.append(batch)
    return tuple(batches)


def row_width(tokens: int, *, longest: int) -> int:
    """Return the width of rows of up to so many tokens: at most an eighth more.

    There are at most eight widths from one power of two to the next, so that few programs are
    compiled.

    Example:
        >>> [row_width(tokens, longest=1000) for tokens in (1, 6, 44, 100, 300, 999)]
        [4, 8, 44, 104, 320, 1000]
    """
    # Steps of an eighth of the power of two below: more widths would be more programs.
    # 100 tokens: 64 is the power below, 8 its eighth, and 13 steps of 8 are 104.
    eighth = 1 << max((tokens - 1).bit_length() - 4, 0)
    step = max(FINEST, eighth)
    steps = -(-tokens // step)
    return min(steps * step, longest)


def row_count(rows: int, batch_size: int) -> int:
    """Return the rows of a batch with its padding: the next power of two, at most `batch_size`."""
    # 5 rows become 8; 20 of at most 24 would become 32, and are 24.
    return min(1 << (rows - 1).bit_length(), batch_size)


def on_device(
    array: np.ndarray,
    layout: Layout | None,
    *axes: str | None,
) -> jax.Array:
    """Return the array where the programs run; it is there before this returns."""
    return jax.block_until_ready(put(array, layout, *axes))
