"""Prompts become batches: arrays on the device and the plan of their decode, all built before any clock starts."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Self

import jax
import numpy as np
from jaxtyping import Array, Int

from jaxgen.engine.capture import Captured
from jaxgen.engine.programs import State
from jaxgen.errors import UserError
from jaxgen.models.sharding import Layout, put
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import CacheSpec, step_depth


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
        prompt_lengths: tokens of each row; rows behind these only fill the batch up to its bucket.
        longest: tokens of the longest prompt, or of its bucket: what the depth of each step is counted from.
        capacity: slots of a row in the cache.
        new_tokens: the most that any row may get.
        limits: the most that each row of a prompt may get.
        segments: the decode steps after the first token, in order.
    """

    prompt: Int[Array, "B T"]
    state: State
    prompt_lengths: tuple[int, ...]
    longest: int
    capacity: int
    new_tokens: int
    limits: tuple[int, ...]
    segments: tuple[Segment, ...]

    @property
    def rows(self) -> int:
        """Rows that are computed, the ones that only fill it up included."""
        return self.prompt.shape[0]

    def with_captured(self, captured: Captured) -> Self:
        """The same, its state with room for activations."""
        return dataclasses.replace(self, state=dataclasses.replace(self.state, captured=captured))


def bucket(needed: int, buckets: Sequence[int], *, key: str, what: str) -> int:
    """The least bucket that holds `needed`.

    Raises:
        UserError: none does. No other shape is compiled: serving it would put a compile into the clock.
    """
    found = next((size for size in buckets if size >= needed), None)
    if found is None:
        raise UserError(
            f"{what} does not fit the largest of workload.{key}={list(buckets)}; add {needed} or more to it"
        )
    return found


def capacity_for(
    prompts: Sequence[Sequence[int]],
    *,
    new_tokens: int,
    cache: CacheSpec,
    architecture: Architecture,
    limits: Sequence[int] = (),
    token_buckets: Sequence[int] = (),
    depths: Sequence[int] = (),
) -> int:
    """Slots that each row of the cache needs for these prompts, or for the largest bucket, or why there are not enough.

    Args:
        prompts: token ids.
        new_tokens: the most per row.
        cache: its spec.
        architecture: of the model.
        limits: the most for each prompt, where they differ.
        token_buckets: of the workload.
        depths: the numbers that the user gave instead of prompts of such lengths, if any: messages name them.

    Raises:
        UserError: no or empty prompts, ids out of range, a text longer than the model's context or `cache.max_len`.
    """
    _check(prompts, architecture)
    longest = max(len(prompt) for prompt in prompts)
    if token_buckets:
        bucket(longest, token_buckets, key="token_buckets", what=f"a prompt of {longest} tokens")
        longest = token_buckets[-1]
    elif limits:  # the row that becomes longest is not always that of the longest prompt
        longest, new_tokens = max(
            ((len(prompt), most) for prompt, most in zip(prompts, limits, strict=True)), key=sum
        )
    needed = longest + new_tokens
    tokens, cure = _said(longest, token_buckets, depths)
    if needed > architecture.context:
        room = architecture.context - longest
        shorter = f" or lower workload.max_new_tokens to {room} or less" if room > 0 else ""
        raise UserError(
            f"{tokens} + workload.max_new_tokens={new_tokens} exceed the model's context of "
            f"{architecture.context}; {cure}{shorter}"
        )
    capacity = cache.capacity(needed)
    if capacity < needed:
        raise UserError(
            f"cache.max_len={capacity} cannot hold {tokens} + {new_tokens} new ones; raise it to {needed} or more"
        )
    return capacity


def _said(longest: int, token_buckets: Sequence[int], depths: Sequence[int]) -> tuple[str, str]:
    """What so many tokens are to the user, and how there would be fewer."""
    for key, values in (("token_buckets", token_buckets), ("depths", depths)):
        if values:
            return (
                f"the {longest} tokens of workload.{key}={list(values)}",
                "leave its last number out",
            )
    return f"{longest} prompt tokens", "shorten the prompt"


def make_batch(
    prompts: Sequence[Sequence[int]],
    *,
    first_row: int,
    capacity: int,
    new_tokens: int,
    cache: CacheSpec,
    seed: int,
    limits: Sequence[int] = (),
    token_buckets: Sequence[int] = (),
    batch_buckets: Sequence[int] = (),
    layout: Layout | None = None,
) -> Batch:
    """One batch on the device, or on the mesh of a layout; `first_row` is the number of its first prompt in the run.

    Each row gets up to its own of `limits`; without any, all get up to `new_tokens`. On a mesh there are as many rows
    in each group; the last ones may hold no text.
    """
    limits = tuple(limits) or (new_tokens,) * len(prompts)
    rows, longest = len(prompts), max(len(prompt) for prompt in prompts)
    if batch_buckets:
        rows = bucket(rows, batch_buckets, key="batch_buckets", what=f"a batch of {rows} rows")
    if token_buckets:
        longest = bucket(
            longest, token_buckets, key="token_buckets", what=f"a prompt of {longest} tokens"
        )
    rows = rows if layout is None else layout.cut.rows(rows)
    width = longest if token_buckets else cache.prompt_width(longest, capacity)
    sequence, lengths = np.zeros((rows, capacity), np.int32), np.ones((rows,), np.int32)
    for row, prompt in enumerate(prompts):
        sequence[row, : len(prompt)] = prompt
        lengths[row] = len(prompt)
    batch = Batch(
        prompt=put(sequence[:, :width], layout, "batch"),
        state=begun(
            sequence, lengths=lengths, limits=limits, first_row=first_row, seed=seed, layout=layout
        ),
        prompt_lengths=tuple(len(prompt) for prompt in prompts),
        longest=longest,
        capacity=capacity,
        new_tokens=max(limits),
        limits=limits,
        segments=_segments(
            longest,
            width=width,
            new_tokens=max(limits),
            capacity=capacity,
            cache=cache,
            layout=layout,
        ),
    )
    jax.block_until_ready(
        (batch.prompt, batch.state, [segment.steps_on_device for segment in batch.segments])
    )
    return batch


def begun(
    sequence: np.ndarray,
    *,
    lengths: np.ndarray,
    limits: Sequence[int],
    first_row: int,
    seed: int,
    layout: Layout | None,
) -> State:
    """The state on the device before any prefill; rows behind those of `limits` hold no text.

    Args:
        sequence: (B, W) prompts, right-padded.
        lengths: (B,) tokens of each prompt.
        limits: the most that each may get.
        first_row: the number of the first prompt in the run.
        seed: of the sampling.
        layout: of the mesh; null on a single device.
    """
    rows, ends = len(sequence), lengths.astype(np.int32)
    ends[: len(limits)] += np.array(limits, np.int32)
    return State(
        sequence=put(sequence, layout, "batch"),
        lengths=put(lengths.astype(np.int32), layout, "batch"),
        ends=put(ends, layout, "batch"),
        done=put(np.arange(rows) >= len(limits), layout, "batch"),
        rows=put(np.arange(first_row, first_row + rows, dtype=np.int32), layout, "batch"),
        seed=put(np.uint32(seed), layout),
    )


def _segments(
    longest: int,
    *,
    width: int,
    new_tokens: int,
    capacity: int,
    cache: CacheSpec,
    layout: Layout | None,
) -> tuple[Segment, ...]:
    """Group the steps by depth. The step after n tokens (prompt and new) must see n slots.

    With 100 prompt tokens, 60 new ones and bucket 128: 28 steps read 128 slots, the other 31 read 256.
    """
    at = functools.partial(step_depth, cache, width=width, longest=longest, capacity=capacity)
    depths = [at(taken=taken) for taken in range(1, new_tokens)]
    counts: dict[int, int] = {}
    for depth in depths:
        counts[depth] = counts.get(depth, 0) + 1
    return tuple(
        Segment(depth=depth, steps=count, steps_on_device=put(np.int32(count), layout))
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
