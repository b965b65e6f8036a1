"""The preallocated cache in two regions: prompts in one, new tokens in another, where all rows write at one index."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.caches.buffers import Buffer, buffers
from jaxgen.caches.layers import joined, replaced
from jaxgen.ops.attention import attention, causal_mask
from jaxgen.ops.quantisation import Kept
from jaxgen.ops.split_attention import split_attention
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import Fixed


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RegionsCache:
    """Per layer two buffers for keys and two for values, donated from step to step; the steps leave the first alone.

    A row's new tokens do not lie right behind its prompt but in the slot of the step that made them, whatever the
    prompt's length. With prompts of 2 and 3 tokens, padded to 4, and two steps after them: `prompts` = [2, 3], `named`
    = [[2, 3, -1], [3, 4, -1]], `step` = 2, `lengths` = [4, 5]. A row that ends writes on, into slots named -1.

    Attributes:
        prompt_keys, prompt_values: of the first call, from slot 0 on.
        new_keys, new_values: one token a step.
        prompts: tokens of each row's prompt.
        lengths: tokens kept per row, so that positions go on where its own prompt ended.
        named: the position that each slot of the second region holds, -1 where it holds nothing of the row's.
        step: where the next tokens go, in every row.
        seen: slots of the second region that a step reads (static); while it is 0, a call brings the prompts.
        window: positions that a query sees (static); slots are not used again.
    """

    incremental: ClassVar[bool] = True
    donated: ClassVar[bool] = True
    prompt_keys: tuple[Buffer, ...]
    prompt_values: tuple[Buffer, ...]
    new_keys: tuple[Buffer, ...]
    new_values: tuple[Buffer, ...]
    prompts: Int[Array, "B"]
    lengths: Int[Array, "B"]
    named: Int[Array, "B M"]
    step: Int[Array, ""]
    seen: int = dataclasses.field(metadata={"static": True})
    window: int | None = dataclasses.field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        spec: Fixed,
        architecture: Architecture,
        *,
        batch: int,
        capacity: int,
        dtype,
        needed: Sequence[int] = (),
        prompt: int | None = None,
    ) -> Self:
        """Room for prompts padded to `prompt` tokens, null for whole rows, and for what else `capacity` allows."""
        del needed
        width = capacity if prompt is None else prompt
        room = spec.new_slots(width, capacity)

        def region(slots: int) -> tuple[Buffer, ...]:
            return buffers(spec.layout, architecture, batch=batch, slots=slots, dtype=dtype)

        return cls(
            prompt_keys=region(width),
            prompt_values=region(width),
            new_keys=region(room),
            new_values=region(room),
            prompts=jnp.zeros((batch,), jnp.int32),
            lengths=jnp.zeros((batch,), jnp.int32),
            named=jnp.full((batch, room), -1, jnp.int32),
            step=jnp.zeros((), jnp.int32),
            seen=0,
            window=spec.window,
        )

    @property
    def visible(self) -> int:
        """Slots of both regions that a step reads."""
        return self._width + self.seen

    @property
    def static_shape(self) -> bool:
        """Every step has the shapes of the one before."""
        return True

    def positions(self, time: int) -> Int[Array, "B T"]:
        """The positions after the tokens kept so far."""
        return self.lengths[:, None] + jnp.arange(time, dtype=jnp.int32)[None, :]

    def attend(
        self,
        layer: int,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """The prompts fill the first region; each later call writes one token a row and attends over both.

        Raises:
            ValueError: a later call has several tokens a row.
        """
        if self.seen and q.shape[1] > 1:
            raise ValueError(f"after the prompts each call takes one token a row, not {q.shape[1]}")
        return (
            self._attend_step(layer, q, k, v) if self.seen else self._attend_prompt(layer, q, k, v)
        )

    def kept(self, layer: int) -> tuple[Kept, Kept, Int[Array, "B S"]]:
        """The first region, and what is seen of the second behind it."""
        keys, values, slots = *self._prompt_kept(layer), self._prompt_slots()
        if not self.seen:
            return keys, values, slots
        keys = joined(keys, self.new_keys[layer].first(self.seen))
        values = joined(values, self.new_values[layer].first(self.seen))
        return keys, values, jnp.concatenate([slots, self.named[:, : self.seen]], axis=1)

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Keep `counts` of the prompts' tokens; after them, the newest token of each row that counts one."""
        lengths = self.lengths + counts
        if not self.seen:
            return dataclasses.replace(self, prompts=counts, lengths=lengths)
        newest = jnp.where(counts > 0, self.lengths, -1)[:, None]
        named = jax.lax.dynamic_update_slice(self.named, newest, (0, self.step))
        return dataclasses.replace(self, lengths=lengths, named=named, step=self.step + 1)

    def reading(self, depth: int) -> Self:
        """See so many slots: the first region always, and of the second what is left of `depth`.

        A step needs more than the first region, so that a cache which sees no more is waiting for the prompts.
        """
        seen = min(max(depth - self._width, 0), self.named.shape[1])
        return dataclasses.replace(self, seen=seen)

    @property
    def _width(self) -> int:
        return self.prompt_keys[0].slots

    def _prompt_kept(self, layer: int) -> tuple[Kept, Kept]:
        return self.prompt_keys[layer].first(self._width), self.prompt_values[layer].first(
            self._width
        )

    def _prompt_slots(self) -> Int[Array, "B P"]:
        slots = jnp.arange(self._width, dtype=jnp.int32)[None, :]
        return jnp.where(slots < self.prompts[:, None], slots, -1)

    def _attend_prompt(
        self, layer: int, q: Array, k: Array, v: Array
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Right padding is after every real token: no real one sees it, and `prompts` hides it from the steps."""
        time, positions = q.shape[1], self.positions(q.shape[1])
        keys, values = (
            self.prompt_keys[layer].written(k, 0),
            self.prompt_values[layer].written(v, 0),
        )
        context = attention(
            q, keys.first(time), values.first(time), causal_mask(positions, positions, self.window)
        )
        return context, dataclasses.replace(
            self,
            prompt_keys=replaced(self.prompt_keys, layer, keys),
            prompt_values=replaced(self.prompt_values, layer, values),
        )

    def _attend_step(
        self, layer: int, q: Array, k: Array, v: Array
    ) -> tuple[Float[Array, "B 1 N H"], Self]:
        """The caller keeps `step < seen`: `dynamic_update_slice` would clamp in silence."""
        positions = self.positions(1)
        keys = self.new_keys[layer].written(k, self.step)
        values = self.new_values[layer].written(v, self.step)
        slots = jax.lax.dynamic_update_slice(self.named, positions, (0, self.step))[:, : self.seen]
        prompt_mask = causal_mask(positions, self._prompt_slots(), self.window)
        prompt = (*self._prompt_kept(layer), prompt_mask)
        new = (
            keys.first(self.seen),
            values.first(self.seen),
            causal_mask(positions, slots, self.window),
        )
        return split_attention(q, [prompt, new]), dataclasses.replace(
            self,
            new_keys=replaced(self.new_keys, layer, keys),
            new_values=replaced(self.new_values, layer, values),
        )
