"""Teacher forcing: an arm's log-probabilities at every token of given outputs, whoever wrote them.

One flipped token changes all that an arm writes after it. Here both arms read the same tokens, so
that each position compares by itself. Each arm goes through its own cache, depths and dtypes; only
the choice of tokens is taken from it.
There are two ways, named in the results:

`steps`: a cache of static shape prefills the prompt and is then fed one token a step, as in a
    generation, so that a wrong write shows from the next token on. There are two programs, and one
    more for each further depth.
`one pass`: a cache that grows needs a program for every length, and none at all runs the whole
    prefix for each token; there the model runs once over prompt and outputs with an empty cache of
    the arm's kind. There is one program. How such a cache carries over from step to step is not
    seen here, but in the arm's tokens.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from jaxgen.engine import forced_programs
from jaxgen.engine.batch import Batch
from jaxgen.engine.engine import Engine
from jaxgen.models.sharding import on_host

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


@dataclasses.dataclass(frozen=True)
class Reading:
    """What one arm makes of given outputs.

    Attributes:
        method: `steps` or `one pass`, by the arm's cache.
        pieces: computed as they are asked for; they cover every token of all outputs once.
    """

    method: str
    pieces: Iterator[Piece]


def forced_logprobs(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    *,
    outputs: Sequence[Sequence[int]],
    limits: Sequence[int] = (),
) -> Reading:
    """Return the arm's log-probabilities at each token of `outputs`.

    They come in batches of the arm's own size.

    Args:
        engine: left as it is; its present weights are arguments, and caches are made and donated
            within.
        prompts: token ids.
        outputs: token ids for each prompt, up to its limit; where there are none, nothing is
            returned.
        limits: the most tokens for each prompt, which shapes depend on and not on the outputs;
            without any, all may have `workload.max_new_tokens`.

    Raises:
        ValueError: there are more outputs than the arm's cache is planned for.
    """
    limits = tuple(limits) or (engine.generation.max_new_tokens,) * len(prompts)
    for number, (tokens, limit) in enumerate(zip(outputs, limits, strict=True)):
        if len(tokens) > limit:
            raise ValueError(
                f"output {number} has {len(tokens)} tokens, its prompt may get {limit}"
            )
    # Shapes come from the limits: outputs of another length run the same programs.
    batches = engine.batches(prompts, limits=limits)
    cache = engine.empty_cache(batches[0])
    # A cache that is written in place is fed as in a generation, so that wrong writes show.
    if cache.incremental and cache.static_shape:
        return Reading(
            "steps",
            _batch_by_batch(engine, batches, outputs, read=_in_steps),
        )
    lengths = [len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True)]
    read = functools.partial(_in_one_pass, longest=max(lengths))
    return Reading(
        "one pass",
        _batch_by_batch(engine, batches, outputs, read=read),
    )


def _batch_by_batch(
    engine: Engine,
    batches: Sequence[Batch],
    outputs: Sequence[Sequence[int]],
    *,
    read: Callable[..., Iterator[Piece]],
) -> Iterator[Piece]:
    """Read the batches in turn; the row of a piece is its prompt's number in the run."""
    first = 0
    for batch in batches:
        rows = len(batch.prompt_lengths)
        in_batch = outputs[first : first + rows]
        # A batch without outputs is not run at all.
        if any(in_batch):
            for piece in read(engine, batch, in_batch):
                yield dataclasses.replace(piece, row=first + piece.row)
        first += rows


def _in_steps(engine: Engine, batch: Batch, outputs: Sequence[Sequence[int]]) -> Iterator[Piece]:
    """Prefill, then feed one token a step, in the depths of a generation."""
    most = engine.generation.max_new_tokens
    tokens, counts = _padded(outputs, rows=batch.rows, width=most)
    chunk = _chunk_size(engine, batch, most=most - 1)
    # The prefill predicts the first output token of each row.
    cache, logprobs = forced_programs.run_prefill(
        engine.blueprint,
        engine.leaves,
        engine.empty_cache(batch),
        batch.prompt,
        batch.state.lengths,
    )
    yield from _pieces(on_host(logprobs)[:, None], counts, position=0)
    # The last output token predicts nothing that is asked for, so it is not fed.
    for depth, first, steps in _chunks(batch, total=int(counts.max()) - 1, chunk=chunk):
        cache, logprobs = forced_programs.run_steps(
            engine.blueprint,
            chunk,
            engine.leaves,
            cache.with_depth(depth),
            tokens,
            counts,
            np.int32(first),
            np.int32(steps),
        )
        by_row = on_host(logprobs)[:steps].swapaxes(0, 1)  # chunk B V -> B chunk V
        yield from _pieces(by_row, counts, position=first + 1)


def _chunks(batch: Batch, *, total: int, chunk: int) -> Iterator[tuple[int, int, int]]:
    """Yield (depth, first token fed, steps) of each call: at most `chunk` steps of one depth."""
    first = planned = 0
    for segment in batch.segments:
        planned += segment.steps
        # A segment of the plan that no output reaches is left out.
        end = min(planned, total)
        while first < end:
            steps = min(chunk, end - first)
            yield segment.depth, first, steps
            first += steps


def _in_one_pass(
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
    tokens, counts = _padded(outputs, rows=batch.rows, width=most)
    lengths = on_host(batch.state.lengths)
    sequences = _sequences(batch, tokens, lengths, width=max(width, longest))
    # One contiguous array: it goes to the device again with every chunk.
    sequences = sequences[:, :width].copy()
    chunk = _chunk_size(engine, batch, most=most)
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
        yield from _pieces(on_host(logprobs), counts, position=first)


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


def _pieces(logprobs: np.ndarray, counts: np.ndarray, *, position: int) -> Iterator[Piece]:
    """Split (B, n, V) from `position` on into rows, each cut to the tokens that it has."""
    for row, count in enumerate(counts):
        # Padding rows and positions behind a row's outputs mean nothing.
        in_row = logprobs[row, : max(int(count) - position, 0)]
        if len(in_row):
            yield Piece(row, position, in_row)


def _chunk_size(engine: Engine, batch: Batch, *, most: int) -> int:
    """Positions in one chunk; it depends on no output, so that all outputs run one program."""
    row_bytes = engine.blueprint.structure.architecture.vocab_size * np.dtype(np.float32).itemsize
    # 16 rows of 50257 float32 numbers are 3.2 MB a position: 20 positions fit.
    return max(1, min(most, CHUNK_BYTES // (batch.rows * row_bytes)))


def _padded(
    outputs: Sequence[Sequence[int]], *, rows: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Right-padded tokens (rows, width), and how many each row has; padding rows have none."""
    tokens = np.zeros((rows, width), np.int32)
    counts = np.zeros((rows,), np.int32)
    for row, ids in enumerate(outputs):
        tokens[row, : len(ids)] = ids
        counts[row] = len(ids)
    return tokens, counts
