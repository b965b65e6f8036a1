"""Rows of token ids of different lengths as one array: the ids first, zeros behind them."""

from collections.abc import Sequence

import numpy as np


def right_padded(rows: Sequence[Sequence[int]], *, count: int, width: int) -> np.ndarray:
    """Return the rows as an int32 array (count, width), with zeros behind them and below them.

    Example:
        >>> right_padded([[5, 6], [7]], count=3, width=2).tolist()
        [[5, 6], [7, 0], [0, 0]]
    """
    tokens = np.zeros((count, width), np.int32)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = row
    return tokens


def lengths_of(rows: Sequence[Sequence[int]], *, count: int, empty: int = 0) -> np.ndarray:
    """Return the lengths of the rows as int32 (count,); a row that only fills up has `empty`.

    Example:
        >>> lengths_of([[5, 6], [7]], count=3, empty=1).tolist()
        [2, 1, 1]
    """
    lengths = np.full((count,), empty, np.int32)
    lengths[: len(rows)] = [len(row) for row in rows]
    return lengths
