"""Prompts become batches: arrays on the device and the plan of their decode, all built before any clock starts."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxgen.engine.programs import State
from jaxgen.errors import UserError
from jaxgen.spec.architecture import Architecture
from jaxgen.spec.cache import CacheSpec


@dataclasses.dataclass(frozen=True)
class Segment:
    """Decode steps that read the same depth of the cache, and so are one program.

    Attributes:
        depth: slots that each of the steps reads.
        steps: how many.
        steps_on_device: the same number as an array, put there beforehand.
    """

    depth: int
    steps: int
    steps_on_device: Int[Array, ""]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rows that are generated together.

    Attributes:
        prompt: right-padded to T.
        state: as it is before the prefill; never donated, so that a batch may be run again.
        prompt_lengths: tokens of each row.
        capacity: slots of a row in the cache.
        new_tokens: the most per row.
        segments: the decode steps after the first token, in order.
    """

    prompt: Int[Array, "B T"]
    state: State
    prompt_lengths: tuple[int, ...]
    capacity: int
    new_tokens: int
    segments: tuple[Segment, ...]


def capacity_for(
    prompts: Sequence[Sequence[int]], *, new_tokens: int, cache: CacheSpec, architecture: Architecture
) -> int:
    """Slots that each row of the cache needs for these prompts, or why they cannot be served.

    Raises:
        UserError: no or empty prompts, ids out of range, a text longer than the model's context or `cache.max_len`.
    """
    _check(prompts, architecture)
    longest = max(len(prompt) for prompt in prompts)
    needed = longest + new_tokens
    if needed > architecture.context:
        room = architecture.context - longest
        shorter = f" or lower workload.max_new_tokens to {room} or less" if room > 0 else ""
        raise UserError(
            f"{longest} prompt tokens + workload.max_new_tokens={new_tokens} exceed the model's context of "
            f"{architecture.context}; shorten the prompt{shorter}"
        )
    capacity = cache.capacity(needed)
    if capacity < needed:
        raise UserError(
            f"cache.max_len={capacity} cannot hold {longest} prompt tokens + {new_tokens} new ones; "
            f"raise it to {needed} or more"
        )
    return capacity


def make_batch(
    prompts: Sequence[Sequence[int]],
    *,
    first_row: int,
    capacity: int,
    new_tokens: int,
    cache: CacheSpec,
    seed: int,
) -> Batch:
    """One batch on the device; `first_row` is the number of its first prompt in the run."""
    rows = len(prompts)
    longest = max(len(prompt) for prompt in prompts)
    width = cache.prompt_width(longest, capacity)
    sequence = np.zeros((rows, capacity), np.int32)
    for row, prompt in enumerate(prompts):
        sequence[row, : len(prompt)] = prompt
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    device = jax.devices()[0]
    state = State(
        sequence=jnp.asarray(sequence),
        lengths=jnp.asarray(lengths),
        done=jnp.zeros((rows,), bool),
        rows=jnp.arange(first_row, first_row + rows, dtype=jnp.int32),
        seed=jnp.uint32(seed),
    )
    batch = Batch(
        prompt=jax.device_put(sequence[:, :width], device),
        state=jax.device_put(state, device),
        prompt_lengths=tuple(int(length) for length in lengths),
        capacity=capacity,
        new_tokens=new_tokens,
        segments=_segments(longest, new_tokens=new_tokens, capacity=capacity, cache=cache, device=device),
    )
    jax.block_until_ready((batch.prompt, batch.state, [segment.steps_on_device for segment in batch.segments]))
    return batch


def _segments(longest: int, *, new_tokens: int, capacity: int, cache: CacheSpec, device) -> tuple[Segment, ...]:
    """Group the steps by depth. The step after n tokens (prompt and new) must see n slots.

    With 100 prompt tokens, 60 new ones and bucket 128: 28 steps read 128 slots, the other 31 read 256.
    """
    depths = [cache.depth(longest + taken, capacity) for taken in range(1, new_tokens)]
    counts: dict[int, int] = {}
    for depth in depths:
        counts[depth] = counts.get(depth, 0) + 1
    return tuple(
        Segment(depth=depth, steps=count, steps_on_device=jax.device_put(np.int32(count), device))
        for depth, count in counts.items()
    )


def _check(prompts: Sequence[Sequence[int]], architecture: Architecture) -> None:
    problems = [] if prompts else ["there are none"]
    for number, prompt in enumerate(prompts):
        outside = [token for token in prompt if not 0 <= token < architecture.vocab_size]
        if not prompt:
            problems.append(f"prompt {number} is empty")
        if outside:
            problems.append(
                f"prompt {number} has token id {outside[0]}, outside the vocabulary of {architecture.vocab_size} "
                f"(0 to {architecture.vocab_size - 1})"
            )
    if problems:
        raise UserError.collected("prompts cannot be used", problems)
