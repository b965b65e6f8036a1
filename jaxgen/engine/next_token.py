"""The distribution of a single next token: for a position that no teacher-forced pass covers."""

from collections.abc import Sequence

import numpy as np

from jaxgen.engine import forced_programs, placement
from jaxgen.engine.batch import make_batch
from jaxgen.engine.capacity import padded_width
from jaxgen.engine.engine import Engine
from jaxgen.models.sharding import on_host


def next_logprobs(engine: Engine, prompt: Sequence[int]) -> np.ndarray:
    """Return the log-probabilities (V,) of the token after a prompt.

    They come through the arm's cache and dtypes. Prompts of similar lengths run one program: zeros
    behind a prompt change nothing before them.

    Args:
        engine: the arm's.
        prompt: token ids.
    """
    width = padded_width(
        len(prompt),
        limit=engine.blueprint.structure.architecture.context,
    )
    # One row of padded tokens; nothing is generated, so no room is left for new ones.
    batch = make_batch(
        [[*prompt, *[0] * (width - len(prompt))]],
        first_row=0,
        capacity=width,
        new_tokens=0,
        cache=engine.run.cache,
        seed=0,
        layout=engine.layout,
    )
    # The run's own pool may have no pages for what the padding adds.
    spec = placement.with_full_pool(engine.run.cache)
    padded = batch.prompt.shape[1]
    cache = engine.new_cache(
        spec,
        batch=batch.rows,
        capacity=width,
        needed=[width],
        prompt=padded,
    ).with_depth(padded)
    last = np.full((batch.rows,), len(prompt) - 1, np.int32)
    # The forced pass with a chunk of one: the distribution after the last real token.
    logprobs = forced_programs.run_pass(
        engine.blueprint,
        1,
        engine.leaves,
        cache,
        batch.prompt,
        last,
    )
    return on_host(logprobs)[0, 0]
