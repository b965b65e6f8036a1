"""Teacher forcing of caches that are not written in place: prompt and outputs as one sequence."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from jaxgen.caches.protocol import Cache
from jaxgen.engine import forced_programs
from jaxgen.engine.batch import Batch
from jaxgen.engine.engine import Engine
from jaxgen.engine.forced_pieces import Piece, chunk_size, padded, pieces
from jaxgen.models.sharding import on_host

LAST_STEPS = 4
"""Tokens at the end of an output that are fed to a growing cache: each of them is a program."""


def in_one_pass(
    engine: Engine,
    batch: Batch,
    outputs: Sequence[Sequence[int]],
    *,
    longest: int,
) -> Iterator[Piece]:
    """Run whole sequences; each chunk runs them again.

    There are few chunks, as the caller bounds what is read.

    `longest` is the tokens of the longest sequence that there can be.
    """
    most = engine.generation.max_new_tokens
    # One less than the longest: the last output token predicts nothing that is asked for.
    width = engine.run.cache.prompt_width(longest - 1, batch.capacity)
    tokens, counts = padded(outputs, rows=batch.rows, width=most)
    lengths = on_host(batch.state.lengths)
    sequences = _sequences(batch, tokens, lengths, width=max(width, longest))
    # One contiguous array: it goes to the device again with every chunk.
    sequences = sequences[:, :width].copy()
    chunk = chunk_size(engine, batch, most=most)
    cache = engine.empty_cache(batch).with_depth(width)
    for first in range(0, int(counts.max()), chunk):
        logprobs = forced_programs.run_pass(
            engine.blueprint,
            chunk,
            engine.leaves,
            cache,
            sequences,
            lengths - 1 + np.int32(first),
        )
        yield from pieces(on_host(logprobs), counts, position=first)


def with_last_steps(
    engine: Engine,
    batch: Batch,
    outputs: Sequence[Sequence[int]],
    *,
    one_pass: Callable[..., Iterator[Piece]],
    longest: int,
) -> Iterator[Piece]:
    """Run whole sequences but for their last tokens, which are fed one a step."""
    # Of 16 tokens 12 are predicted in the pass; the last 4 by steps that feed tokens 11 to 14.
    firsts = [max(len(tokens) - LAST_STEPS, 1) for tokens in outputs]
    begun = [tokens[:first] for tokens, first in zip(outputs, firsts, strict=True)]
    yield from one_pass(engine, batch, begun)
    cache = _cache_of(engine, batch, [tokens[:-1] for tokens in begun], longest=longest)
    for step in range(LAST_STEPS):
        positions = [first + step for first in firsts]
        tokens, counts = _tokens_before(outputs, positions, rows=batch.rows)
        cache, logprobs = forced_programs.run_step(
            engine.blueprint,
            engine.leaves,
            cache,
            tokens,
            counts,
        )
        predicted = on_host(logprobs)
        for row, position in enumerate(positions):
            if counts[row]:
                yield Piece(row, position, predicted[row : row + 1])


def _cache_of(
    engine: Engine,
    batch: Batch,
    outputs: Sequence[Sequence[int]],
    *,
    longest: int,
) -> Cache:
    """Return the cache that holds prompts and outputs; its width depends on neither."""
    most = engine.generation.max_new_tokens
    tokens, counts = padded(outputs, rows=batch.rows, width=most)
    lengths = on_host(batch.state.lengths)
    sequences = _sequences(batch, tokens, lengths, width=longest)
    width = longest - 1
    cache, _ = forced_programs.run_prefix(
        engine.blueprint,
        engine.leaves,
        engine.empty_cache(batch),
        sequences[:, :width].copy(),
        lengths + counts,
    )
    return cache


def _tokens_before(
    outputs: Sequence[Sequence[int]],
    positions: Sequence[int],
    *,
    rows: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's token before a position, and 1 where that position has one to predict."""
    left = []
    for tokens, position in zip(outputs, positions, strict=True):
        # A row that has no more to predict feeds none.
        has_next = position < len(tokens)
        left.append(tokens[position - 1 : position] if has_next else [])
    return padded(left, rows=rows, width=1)


def _sequences(
    batch: Batch,
    outputs: np.ndarray,
    lengths: np.ndarray,
    *,
    width: int,
) -> np.ndarray:
    """Prompt and outputs of each row as one, with room for all outputs behind `width` tokens."""
    most = outputs.shape[1]
    sequences = np.zeros((len(lengths), width + most), np.int32)
    prompt = on_host(batch.prompt)[:, : sequences.shape[1]]
    sequences[:, : prompt.shape[1]] = prompt
    for row, length in enumerate(lengths):
        sequences[row, length : length + most] = outputs[row]
    return sequences
