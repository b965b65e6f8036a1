"""Prompts become batches: arrays on the device, and the plan of their decode.

All of it is built before any clock starts.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Self

import jax
import numpy as np
from jaxtyping import Array, Int

from jaxgen.engine.capacity import smallest_bucket
from jaxgen.engine.capture import Captured
from jaxgen.engine.programs import State
from jaxgen.engine.right_padding import lengths_of, right_padded
from jaxgen.models.sharding import Layout, put
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
        longest: tokens of the longest prompt, or of its bucket: what the depth of each step is
            counted from.
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

    @property
    def needed(self) -> list[int]:
        """Tokens that each row with a prompt may come to hold."""
        lengths = zip(self.prompt_lengths, self.limits, strict=True)
        return [length + limit for length, limit in lengths]

    def with_captured(self, captured: Captured) -> Self:
        """Return the same batch, its state with room for activations."""
        return dataclasses.replace(
            self,
            state=dataclasses.replace(self.state, captured=captured),
        )


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
    """Put one batch on the device, or on the mesh of a layout.

    Args:
        prompts: token ids of each row.
        first_row: the number of its first prompt in the run.
        capacity: slots of a row in the cache.
        new_tokens: the most that each row gets, where it has no limit of its own.
        cache: its spec.
        seed: of the sampling.
        limits: the most for each row; empty where all get `new_tokens`.
        token_buckets: lengths that prompts are padded to; empty leaves it to the cache.
        batch_buckets: row counts that batches are padded to.
        layout: of the mesh, with as many rows in each group, the last of which may hold no prompt.

    Raises:
        UserError: no bucket holds the prompts.
    """
    # Shapes come from the buckets, never from the prompts themselves: another batch of the same
    # bucket runs the same programs.
    limits = tuple(limits) or (new_tokens,) * len(prompts)
    rows, longest = _bucketed(prompts, token_buckets, batch_buckets)
    if layout is not None:
        # Every group of the mesh has the same number of rows.
        rows = layout.cut.rows(rows)
    width = longest if token_buckets else cache.prompt_width(longest, capacity)
    sequence = right_padded(prompts, count=rows, width=capacity)
    # A row without a prompt has one token and not none: what is gathered at its end has to exist.
    lengths = lengths_of(prompts, count=rows, empty=1)
    batch = Batch(
        prompt=put(sequence[:, :width], layout, "batch"),
        state=initial_state(
            sequence, lengths=lengths, limits=limits, first_row=first_row, seed=seed, layout=layout
        ),
        prompt_lengths=tuple(len(prompt) for prompt in prompts),
        longest=longest,
        capacity=capacity,
        new_tokens=max(limits),
        limits=limits,
        segments=_segments(cache, longest, max(limits), width, capacity, layout=layout),
    )
    # Inputs are on the device before any clock starts.
    jax.block_until_ready((batch.prompt, batch.state))
    jax.block_until_ready([segment.steps_on_device for segment in batch.segments])
    return batch


def initial_state(
    sequence: np.ndarray,
    *,
    lengths: np.ndarray,
    limits: Sequence[int],
    first_row: int,
    seed: int,
    layout: Layout | None,
) -> State:
    """Return the state on the device before any prefill.

    Rows behind those of `limits` hold no prompt.

    Args:
        sequence: (B, W) prompts, right-padded.
        lengths: (B,) tokens of each prompt.
        limits: the most new tokens of each.
        first_row: the number of the first prompt in the run.
        seed: of the sampling.
        layout: of the mesh; null on a single device.
    """
    rows, ends = len(sequence), lengths.astype(np.int32)
    # A row without a prompt is done from the start, and its end is where it is.
    ends[: len(limits)] += np.array(limits, np.int32)
    return State(
        sequence=put(sequence, layout, "batch"),
        lengths=put(lengths.astype(np.int32), layout, "batch"),
        ends=put(ends, layout, "batch"),
        done=put(np.arange(rows) >= len(limits), layout, "batch"),
        rows=put(
            np.arange(first_row, first_row + rows, dtype=np.int32),
            layout,
            "batch",
        ),
        seed=put(np.uint32(seed), layout),
    )


def _segments(
    cache: CacheSpec,
    longest: int,
    new_tokens: int,
    width: int,
    capacity: int,
    *,
    layout: Layout | None,
) -> tuple[Segment, ...]:
    """Group the steps by depth. The step after n tokens (prompt and new) must see n slots.

    With 100 prompt tokens, 60 new ones and bucket 128: 28 steps read 128 slots, the other 31 read
    256.
    """
    steps_by_depth: collections.Counter[int] = collections.Counter()
    # The first new token comes from the prefill: the steps are those after it.
    for taken in range(1, new_tokens):
        depth = step_depth(
            cache,
            width=width,
            longest=longest,
            taken=taken,
            capacity=capacity,
        )
        steps_by_depth[depth] += 1
    segments = []
    # A Counter keeps the order of arrival, and depths never fall: these are the steps in order.
    for depth, steps in steps_by_depth.items():
        # As an array on the device, so that the loop's count is traced and no transfer is timed.
        on_device = put(np.int32(steps), layout)
        segments.append(
            Segment(
                depth=depth,
                steps=steps,
                steps_on_device=on_device,
            )
        )
    return tuple(segments)


def _bucketed(
    prompts: Sequence[Sequence[int]],
    token_buckets: Sequence[int],
    batch_buckets: Sequence[int],
) -> tuple[int, int]:
    """How many rows there are and how long the longest is, as the buckets have them."""
    rows = len(prompts)
    longest = max(len(prompt) for prompt in prompts)
    # No other shape is compiled: a prompt that fits no bucket is refused.
    if batch_buckets:
        what = f"a batch of {rows} rows"
        rows = smallest_bucket(rows, batch_buckets, key="batch_buckets", what=what)
    if token_buckets:
        what = f"a prompt of {longest} tokens"
        longest = smallest_bucket(longest, token_buckets, key="token_buckets", what=what)
    return rows, longest
