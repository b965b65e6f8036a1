"""What an arm makes of a given text: its log-probabilities at every token of a teacher's answers.

One flipped token changes all that an arm says after it. Here both arms read the same tokens, so that each position
compares by itself. Each arm goes through its own cache, depths and dtypes; only the choice of tokens is taken from it.
Two ways, named in the results:

`steps`: a cache of static shape prefills the prompt and is then fed one token a step, as in a generation, so that a
    wrong write shows from the next token on. Two programs, and one more for each further depth of the decode.
`one pass`: a cache that grows needs a program for every length, and none at all runs the whole prefix for each token;
    there the model runs once over prompt and answer with an empty cache of the arm's kind. One program. How such a
    cache carries over from step to step is not seen here, but in the arm's tokens.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxgen.caches.protocol import Cache
from jaxgen.engine.batch import Batch
from jaxgen.engine.engine import Engine
from jaxgen.engine.programs import Blueprint
from jaxgen.models.sharding import on_host
from jaxgen.models.structure import Leaves

CHUNK_BYTES = 64 * 2**20
"""The most log-probabilities that the device holds at once, however long the answers and large the vocabulary."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """Consecutive positions of one answer.

    Attributes:
        row: number of the prompt.
        position: of the first answer token predicted here.
        logprobs: (n, V) float32; entry i is the distribution that predicts answer token `position + i`.
    """

    row: int
    position: int
    logprobs: np.ndarray


@dataclasses.dataclass(frozen=True)
class Reading:
    """One arm's reading of the answers.

    Attributes:
        method: `steps` or `one pass`, by the arm's cache.
        pieces: computed as they are asked for; they cover every token of every answer once.
    """

    method: str
    pieces: Iterator[Piece]


def forced_logprobs(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    *,
    answers: Sequence[Sequence[int]],
    limits: Sequence[int] = (),
) -> Reading:
    """The arm's log-probabilities at each token of `answers`, in batches of the arm's own size.

    The programs are jitted here whatever the arm's jit strategy, with the engine's present weights as arguments.

    Args:
        engine: left as it is; caches are made and donated within.
        prompts: token ids.
        answers: one per prompt, each of up to its limit of tokens; an empty one yields nothing.
        limits: the most for each prompt, which shapes depend on and not on the answers; without any, all may have
            `workload.max_new_tokens`.

    Raises:
        ValueError: an answer is longer than the arm's cache is planned for.
    """
    limits = tuple(limits) or (engine.generation.max_new_tokens,) * len(prompts)
    for number, (answer, limit) in enumerate(zip(answers, limits, strict=True)):
        if len(answer) > limit:
            raise ValueError(
                f"answer {number} has {len(answer)} tokens, its prompt may get {limit}"
            )
    batches = engine.batches(prompts, limits=limits)
    cache = engine.empty_cache(batches[0])
    in_steps = cache.incremental and cache.static_shape
    read = (
        _in_steps
        if in_steps
        else functools.partial(_in_one_pass, longest=max(map(_whole, prompts, limits)))
    )
    return Reading(
        "steps" if in_steps else "one pass", _batch_by_batch(engine, batches, answers, read=read)
    )


def forced_prefill(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    prompt: Int[Array, "B T"],
    lengths: Int[Array, "B"],
) -> tuple[Cache, Float[Array, "B V"]]:
    """Run the right-padded prompts; the log-probabilities of each row's first answer token."""
    model = blueprint.structure.model(leaves)
    hidden, cache = model(prompt, cache, dtype=jnp.dtype(blueprint.activations))
    last = jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)[:, 0]
    return cache.advance(lengths), _logprobs(
        blueprint, model.logits(last, dtype=jnp.dtype(blueprint.logits))
    )


def forced_steps(
    blueprint: Blueprint,
    room: int,
    leaves: Leaves,
    cache: Cache,
    answers: Int[Array, "B M"],
    counts: Int[Array, "B"],
    first: Int[Array, ""],
    steps: Int[Array, ""],
) -> tuple[Cache, Float[Array, "room B V"]]:
    """Feed answer tokens `first`, `first` + 1, ...; both `first` and `steps` are traced, and `steps` <= `room`.

    Entry i is the distribution after token `first + i`. A row whose next token is not wanted stays where it is, like
    one that has ended in a generation.
    """
    model = blueprint.structure.model(leaves)

    def feed(taken, carry):
        kept, found = carry
        token = jax.lax.dynamic_slice_in_dim(answers, first + taken, 1, axis=1)  # B 1
        hidden, kept = model(token, kept, dtype=jnp.dtype(blueprint.activations))
        logprobs = _logprobs(
            blueprint, model.logits(hidden[:, 0], dtype=jnp.dtype(blueprint.logits))
        )
        wanted = (first + taken + 1 < counts).astype(jnp.int32)
        return kept.advance(wanted), jax.lax.dynamic_update_index_in_dim(
            found, logprobs, taken, axis=0
        )

    shape = (room, answers.shape[0], blueprint.structure.architecture.vocab_size)
    return jax.lax.fori_loop(jnp.int32(0), steps, feed, (cache, jnp.zeros(shape, jnp.float32)))


def forced_pass(
    blueprint: Blueprint,
    room: int,
    leaves: Leaves,
    cache: Cache,
    texts: Int[Array, "B T"],
    starts: Int[Array, "B"],
) -> Float[Array, "B room V"]:
    """Run the right-padded texts once; log-probabilities after text token `starts`, `starts` + 1, ... of each row.

    The hidden states are gathered before the head; what would lie beyond the text repeats its last place.
    """
    model = blueprint.structure.model(leaves)
    hidden, _ = model(texts, cache, dtype=jnp.dtype(blueprint.activations))
    places = starts[:, None] + jnp.arange(room, dtype=jnp.int32)[None, :]
    places = jnp.minimum(places, texts.shape[1] - 1)
    wanted = jnp.take_along_axis(hidden, places[:, :, None], axis=1)
    return _logprobs(blueprint, model.logits(wanted, dtype=jnp.dtype(blueprint.logits)))


def _logprobs(blueprint: Blueprint, logits: Float[Array, "*dims V"]) -> Float[Array, "*dims V"]:
    return jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)


# Static: the blueprint, whose equal is the same program, and the room of a chunk; traced: all else. The cache is
# donated to `steps` and `prefill`, which are for caches that are written in place.
_prefill = jax.jit(forced_prefill, static_argnums=(0,), donate_argnums=(2,))
_steps = jax.jit(forced_steps, static_argnums=(0, 1), donate_argnums=(3,))
_pass = jax.jit(forced_pass, static_argnums=(0, 1))


def _batch_by_batch(
    engine: Engine,
    batches: Sequence[Batch],
    answers: Sequence[Sequence[int]],
    *,
    read: Callable[..., Iterator[Piece]],
) -> Iterator[Piece]:
    first = 0
    for batch in batches:
        rows = len(batch.prompt_lengths)
        part = answers[first : first + rows]
        if any(part):
            yield from (
                dataclasses.replace(piece, row=first + piece.row)
                for piece in read(engine, batch, part)
            )
        first += rows


def _in_steps(engine: Engine, batch: Batch, answers: Sequence[Sequence[int]]) -> Iterator[Piece]:
    most = engine.generation.max_new_tokens
    tokens, counts = _padded(answers, rows=batch.rows, width=most)
    room = _room(engine, batch, most=most - 1)
    cache = engine.empty_cache(batch)
    cache, logprobs = _prefill(
        engine.blueprint, engine.leaves, cache, batch.prompt, batch.state.lengths
    )
    yield from _pieces(on_host(logprobs)[:, None], counts, position=0)
    run_chunk = functools.partial(_steps, engine.blueprint, room, engine.leaves)
    for depth, first, steps in _chunks(batch, total=int(counts.max()) - 1, room=room):
        cache, found = run_chunk(
            cache.reading(depth), tokens, counts, np.int32(first), np.int32(steps)
        )
        yield from _pieces(on_host(found)[:steps].swapaxes(0, 1), counts, position=first + 1)


def _chunks(batch: Batch, *, total: int, room: int) -> Iterator[tuple[int, int, int]]:
    """(depth, first answer token fed, steps) of each call: within one depth of the decode, `room` steps at most."""
    first = planned = 0
    for segment in batch.segments:
        planned += segment.steps
        while first < min(planned, total):
            steps = min(room, min(planned, total) - first)
            yield segment.depth, first, steps
            first += steps


def _whole(prompt: Sequence[int], limit: int) -> int:
    """Tokens of a whole text at its longest."""
    return len(prompt) + limit


def _in_one_pass(
    engine: Engine, batch: Batch, answers: Sequence[Sequence[int]], *, longest: int
) -> Iterator[Piece]:
    """Each chunk runs the texts again: one program, and few chunks, since who asks keeps what it reads in bounds.

    `longest` is the tokens of the longest text that there can be.
    """
    most = engine.generation.max_new_tokens
    width = engine.run.cache.prompt_width(
        longest - 1, batch.capacity
    )  # the last answer token predicts nothing
    tokens, counts = _padded(answers, rows=batch.rows, width=most)
    lengths = on_host(batch.state.lengths)
    texts = np.zeros((len(lengths), max(width, longest) + most), np.int32)
    texts[:, : batch.prompt.shape[1]] = on_host(batch.prompt)[:, : texts.shape[1]]
    for row, length in enumerate(lengths):
        texts[row, length : length + most] = tokens[row]
    room = _room(engine, batch, most=most)
    cache = engine.empty_cache(batch).reading(width)
    run_chunk = functools.partial(
        _pass, engine.blueprint, room, engine.leaves, cache, texts[:, :width].copy()
    )
    for first in range(0, int(counts.max()), room):
        yield from _pieces(
            on_host(run_chunk(lengths - 1 + np.int32(first))), counts, position=first
        )


def _pieces(logprobs: np.ndarray, counts: np.ndarray, *, position: int) -> Iterator[Piece]:
    """(B, n, V) from `position` on, row by row, each cut to what its answer has."""
    for row, count in enumerate(counts):
        wanted = logprobs[row, : max(int(count) - position, 0)]
        if len(wanted):
            yield Piece(row, position, wanted)


def _room(engine: Engine, batch: Batch, *, most: int) -> int:
    """Positions in one chunk: it depends on no answer, so that other answers run the same program."""
    row_bytes = engine.blueprint.structure.architecture.vocab_size * np.dtype(np.float32).itemsize
    return max(1, min(most, CHUNK_BYTES // (batch.rows * row_bytes)))


def _padded(
    answers: Sequence[Sequence[int]], *, rows: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Right-padded tokens, and how many each row has; rows that pad the batch have none."""
    tokens, counts = np.zeros((rows, width), np.int32), np.zeros((rows,), np.int32)
    for row, answer in enumerate(answers):
        tokens[row, : len(answer)] = answer
        counts[row] = len(answer)
    return tokens, counts
