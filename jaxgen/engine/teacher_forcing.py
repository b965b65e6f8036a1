"""Teacher forcing: an arm's log-probabilities at every token of given outputs, whoever wrote them.

One flipped token changes all that an arm writes after it. Here both arms read the same tokens, so
that each position compares by itself. Each arm goes through its own cache, depths and dtypes; only
the choice of tokens is taken from it.
There are three ways, named in the results:

`steps`: a cache of static shape prefills the prompt and is then fed one token a step, as in a
    generation, so that a wrong write shows from the next token on. There are two programs, and one
    more for each further depth.
`one pass`: without a cache the whole prefix is run for each token; here the model runs once over
    prompt and outputs. There is one program.
`one pass, last steps`: a cache that grows needs a program for every length. All but the last
    four tokens are read in one pass, and these are fed one a step to a cache that holds what comes
    before them: what such a cache carries over from step to step wrongly shows there.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from jaxgen.engine import forced_programs
from jaxgen.engine.batch import Batch
from jaxgen.engine.engine import Engine
from jaxgen.engine.forced_pieces import Piece, chunk_size, padded, pieces
from jaxgen.engine.whole_sequences import in_one_pass, with_last_steps
from jaxgen.models.sharding import on_host


@dataclasses.dataclass(frozen=True)
class Reading:
    """What one arm makes of given outputs.

    Attributes:
        method: `steps`, `one pass` or `one pass, last steps`, by the arm's cache.
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
    read = functools.partial(in_one_pass, longest=max(lengths))
    method = "one pass"
    if cache.incremental:
        method = "one pass, last steps"
        read = functools.partial(with_last_steps, one_pass=read, longest=max(lengths))
    return Reading(
        method,
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
    tokens, counts = padded(outputs, rows=batch.rows, width=most)
    chunk = chunk_size(engine, batch, most=most - 1)
    # The prefill predicts the first output token of each row.
    cache, logprobs = forced_programs.run_prefill(
        engine.blueprint,
        engine.leaves,
        engine.empty_cache(batch),
        batch.prompt,
        batch.state.lengths,
    )
    yield from pieces(on_host(logprobs)[:, None], counts, position=0)
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
        yield from pieces(by_row, counts, position=first + 1)


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
