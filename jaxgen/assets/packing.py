"""The corpus as rows of tokens of one length, one document after the other."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxgen.assets.corpus import documents
from jaxgen.assets.recipe import Recipe

_CHUNK = 2_000
"""Documents tokenized at once."""


def packed(tokenizer: Any, seed: int, length: int) -> Iterator[np.ndarray]:
    """Yield rows of `length + 1` token ids without end.

    Each row begins with a document, and `<|endoftext|>` follows each document.
    """
    row: list[int] = []
    # Each chunk has a seed of its own, so that the text goes on without end.
    for chunk in itertools.count(seed):
        texts = list(documents(chunk, _CHUNK))
        encoded = tokenizer(texts)["input_ids"]
        for document in encoded:
            row += [*document, tokenizer.eos_token_id]
            # The rest of a document that is cut is left out.
            if len(row) > length:
                # One token more: inputs are all but the last, targets all but the first.
                yield np.array(row[: length + 1], np.int32)
                row = []


def training_rows(
    recipe: Recipe, tokenizer: Any, seed: int, step: int
) -> dict[int, Iterator[np.ndarray]]:
    """Return training rows without end, by their length.

    The step is in the seed, so that a training that is resumed reads text that is new to it.
    """
    text = {}
    for _, length in (recipe.rows, recipe.final_rows):
        # Rows of 128 and of 512 tokens begin 384 chunks apart, so that the last share of training
        # does not repeat the text of the first: a whole training reads a few dozen chunks.
        text_seed = 10_000 * seed + length + step
        text[length] = packed(tokenizer, text_seed, length)
    return text


def take(rows: Iterator[np.ndarray], count: int) -> np.ndarray:
    """Take the next rows as one array."""
    taken = list(itertools.islice(rows, count))
    return np.stack(taken)
