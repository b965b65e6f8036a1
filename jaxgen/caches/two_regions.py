"""The preallocated cache in two regions: prompts in one, new tokens in another.

In the second region all rows write at one index.
"""

import dataclasses
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.caches.buffers import Buffer, empty_buffers
from jaxgen.caches.layers import concatenate_slots, positions_after, replace_layer
from jaxgen.caches.size import CacheSize
from jaxgen.ops.attention import attention, causal_mask
from jaxgen.ops.quantisation import KVArray
from jaxgen.ops.split_attention import split_attention
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import Fixed


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RegionsCache:
    """Per layer two buffers for keys and two for values, donated from step to step.

    The steps leave the first region alone. A row's new tokens do not lie right behind its prompt
    but in the slot of the step that made them, whatever the prompt's length. With prompts of 2 and
    3 tokens, padded to 4, and two steps after them: `prompt_lengths` = [2, 3], `new_positions` =
    [[2, 3, -1], [3, 4, -1]], `step` = 2, `lengths` = [4, 5]. A row that ends writes on, into slots
    of position -1.

    Attributes:
        prompt_keys, prompt_values: of the first call, from slot 0 on.
        new_keys, new_values: one token a step.
        prompt_lengths: tokens of each row's prompt.
        lengths: tokens kept per row, so that positions go on where its own prompt ended.
        new_positions: the position that each slot of the second region holds, -1 where it holds
            nothing of the row's.
        step: where the next tokens go, in every row.
        new_visible: slots of the second region that a step reads (static); while it is 0, a call
            brings the prompts.
        window: positions that a query sees (static); slots are not used again.
    """

    incremental: ClassVar[bool] = True
    donated: ClassVar[bool] = True
    prompt_keys: tuple[Buffer, ...]
    prompt_values: tuple[Buffer, ...]
    new_keys: tuple[Buffer, ...]
    new_values: tuple[Buffer, ...]
    prompt_lengths: Int[Array, "B"]
    lengths: Int[Array, "B"]
    new_positions: Int[Array, "B M"]
    step: Int[Array, ""]
    new_visible: int = dataclasses.field(metadata={"static": True})
    window: int | None = dataclasses.field(metadata={"static": True})

    @property
    def visible(self) -> int:
        """Return how many slots of both regions a step reads."""
        return self._width + self.new_visible

    @property
    def static_shape(self) -> bool:
        """Say that every step has the shapes of the one before."""
        return True

    def positions(self, time: int) -> Int[Array, "B T"]:
        """Return the positions after the tokens kept so far."""
        return positions_after(self.lengths, time)

    def attend(
        self,
        layer: int,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Fill the first region with the prompts, then write one token a row and read both.

        Raises:
            ValueError: a later call has several tokens a row.
        """
        # Static: prompts and steps are different programs anyway.
        if not self.new_visible:
            return self._attend_prompt(layer, q, k, v)
        if q.shape[1] > 1:
            raise ValueError(f"after the prompts each call takes one token a row, not {q.shape[1]}")
        return self._attend_step(layer, q, k, v)

    def layer_kv(self, layer: int) -> tuple[KVArray, KVArray, Int[Array, "B S"]]:
        """Return the first region, and what is seen of the second behind it."""
        keys, values = self._prompt_kv(layer)
        slots = self._prompt_slots()
        if not self.new_visible:
            return keys, values, slots
        new_keys = self.new_keys[layer].first(self.new_visible)
        new_values = self.new_values[layer].first(self.new_visible)
        new_slots = self.new_positions[:, : self.new_visible]
        keys = concatenate_slots(keys, new_keys)
        values = concatenate_slots(values, new_values)
        slots = jnp.concatenate([slots, new_slots], axis=1)
        return keys, values, slots

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Keep `counts` of the prompts' tokens; later, the newest token of rows that count one."""
        lengths = self.lengths + counts
        if not self.new_visible:
            return dataclasses.replace(self, prompt_lengths=counts, lengths=lengths)
        # The slot of this step is every row's; in one that does not go on it holds nothing.
        newest = jnp.where(counts > 0, self.lengths, -1)
        newest = jnp.expand_dims(newest, 1)  # B 1
        new_positions = self._with_positions(newest)
        return dataclasses.replace(
            self, lengths=lengths, new_positions=new_positions, step=self.step + 1
        )

    def with_depth(self, depth: int) -> Self:
        """See the first region always, and of the second what is left of `depth` slots.

        A step needs more than the first region, so that a cache which sees no more is waiting for
        the prompts.
        """
        new_slots = self.new_positions.shape[1]
        rest = max(depth - self._width, 0)
        new_visible = min(rest, new_slots)
        return dataclasses.replace(self, new_visible=new_visible)

    @property
    def _width(self) -> int:
        return self.prompt_keys[0].slots

    def _prompt_kv(self, layer: int) -> tuple[KVArray, KVArray]:
        keys = self.prompt_keys[layer].first(self._width)
        values = self.prompt_values[layer].first(self._width)
        return keys, values

    def _prompt_slots(self) -> Int[Array, "B P"]:
        slots = jnp.arange(self._width, dtype=jnp.int32)
        slots = jnp.expand_dims(slots, 0)  # 1 P
        lengths = jnp.expand_dims(self.prompt_lengths, 1)  # B 1
        return jnp.where(slots < lengths, slots, -1)

    def _with_positions(self, positions: Int[Array, "B 1"]) -> Int[Array, "B M"]:
        """Return the positions of the second region's slots, with those of this step's slot."""
        start = (0, self.step)
        return jax.lax.dynamic_update_slice(self.new_positions, positions, start)

    def _attend_prompt(
        self,
        layer: int,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], Self]:
        # Right padding is after every real token: no real one sees it, and `prompt_lengths` hides
        # it from the steps.
        time = q.shape[1]
        positions = self.positions(time)
        keys = self.prompt_keys[layer].write(k, 0)
        values = self.prompt_values[layer].write(v, 0)
        mask = causal_mask(positions, positions, self.window)
        context = attention(
            q,
            keys.first(time),
            values.first(time),
            mask,
        )
        written = dataclasses.replace(
            self,
            prompt_keys=replace_layer(self.prompt_keys, layer, keys),
            prompt_values=replace_layer(self.prompt_values, layer, values),
        )
        return context, written

    def _attend_step(
        self,
        layer: int,
        q: Float[Array, "B 1 N H"],
        k: Float[Array, "B 1 K H"],
        v: Float[Array, "B 1 K H"],
    ) -> tuple[Float[Array, "B 1 N H"], Self]:
        # The caller keeps `step < new_visible`: `dynamic_update_slice` would clamp in silence.
        positions = self.positions(1)
        # One index for all rows: a plain update, where rows of their own lengths need a scatter.
        keys = self.new_keys[layer].write(k, self.step)
        values = self.new_values[layer].write(v, self.step)
        prompt_mask = causal_mask(positions, self._prompt_slots(), self.window)
        prompt_keys, prompt_values = self._prompt_kv(layer)
        new_slots = self._with_positions(positions)[:, : self.new_visible]
        new_mask = causal_mask(positions, new_slots, self.window)
        new_keys = keys.first(self.new_visible)
        new_values = values.first(self.new_visible)
        # Both regions are attended to where they lie: joining them would copy the prompts.
        context = split_attention(
            q,
            [
                (prompt_keys, prompt_values, prompt_mask),
                (new_keys, new_values, new_mask),
            ],
        )
        written = dataclasses.replace(
            self,
            new_keys=replace_layer(self.new_keys, layer, keys),
            new_values=replace_layer(self.new_values, layer, values),
        )
        return context, written


def create(spec: Fixed, architecture: Architecture, size: CacheSize) -> RegionsCache:
    """Return two empty regions: prompts of `size.prompt` tokens, and what else `capacity` allows.

    Where the prompts' width is not known, the first region has room for whole rows.
    """
    width = size.capacity if size.prompt is None else size.prompt
    new_slots = spec.new_slots(width, size.capacity)

    def region(slots: int) -> tuple[Buffer, ...]:
        return empty_buffers(
            spec.layout, architecture, batch=size.batch, slots=slots, dtype=size.dtype
        )

    return RegionsCache(
        prompt_keys=region(width),
        prompt_values=region(width),
        new_keys=region(new_slots),
        new_values=region(new_slots),
        prompt_lengths=jnp.zeros((size.batch,), jnp.int32),
        lengths=jnp.zeros((size.batch,), jnp.int32),
        new_positions=jnp.full((size.batch, new_slots), -1, jnp.int32),
        step=jnp.zeros((), jnp.int32),
        new_visible=0,
        window=spec.window,
    )
