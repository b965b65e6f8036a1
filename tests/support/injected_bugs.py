"""Bugs of KV caches, put around a right one: the wrong masks, positions and slots that happen.

Every bug but one is a set of numbers that the compiled programs take as arguments, so that all of
them run the same programs. What a query sees is worked out here anew, from the keys, the values and
the positions that the wrapped cache gives back.
"""

import dataclasses
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxgen.caches.dynamic import DynamicCache
from jaxgen.engine.engine import Engine
from jaxgen.models.structure import structure_of
from jaxgen.ops import rope
from jaxgen.ops.attention import attention, causal_mask

NEVER = 2**20
"""A position that no text reaches; a row whose prompt is not written yet has it as its length."""


@dataclasses.dataclass(frozen=True)
class Bug:
    """What is wrong, in plain numbers; the defaults are right.

    Attributes:
        shift: added to the positions of decode steps, from `shift_after` new tokens on.
        hidden_age: how many positions before its own a decode step misses a slot; -1 is none.
        hidden_slot: the position that a query misses, from `hidden_after` new tokens on; -1 none.
        everywhere: prompts miss slots too.
        hides_prompt_end: decode steps miss the prompt's last slot.
        layer: the one layer that misses slots; -1 is every layer.
        empty_slot, empty_layer: the position whose key and value were never written in one layer.
        stale_layer: in which the newest value is not written before it is read; -1 is none.
        pads: empty slots that decode steps see.
        scale: of the attention scores.
        theta: of the rotary frequencies; null is the model's own.
        eps: of the norms; null is the model's own.
    """

    shift: int = 0
    shift_after: int = 0
    hidden_age: int = -1
    hidden_slot: int = -1
    hidden_after: int = 0
    everywhere: bool = False
    hides_prompt_end: bool = False
    layer: int = -1
    empty_slot: int = -1
    empty_layer: int = -1
    stale_layer: int = -1
    pads: int = 0
    scale: float = 1.0
    theta: float | None = None
    eps: float | None = None


def bugs(*, new_tokens: int, read_before: int = 0, layers: int = 6) -> dict[str, Bug]:
    """Return the bugs by name.

    Args:
        new_tokens: of the runs.
        read_before: how many of them are read with the prompt where outputs are fed one a step.
        layers: of the model.
    """
    # The last step of all predicts nothing: eight tokens before it are the last eight.
    last_8, last_4 = new_tokens - 9 - read_before, new_tokens - 5 - read_before
    return {
        "decode positions + 1": Bug(shift=1),
        "decode positions - 1": Bug(shift=-1),
        "last prompt slot hidden": Bug(hides_prompt_end=True),
        "own slot hidden": Bug(hidden_age=0),
        "newest but one hidden": Bug(hidden_age=1),
        "theta 1e6": Bug(theta=1e6),
        "theta 5e5": Bug(theta=5e5),
        "first slot hidden": Bug(hidden_slot=0, everywhere=True),
        "theta 2e4": Bug(theta=2e4),
        "slot 3 of one layer empty": Bug(empty_slot=3, empty_layer=2),
        "V stale in the last layer": Bug(stale_layer=layers - 1),
        "positions + 1 from the 12th token": Bug(shift=1, shift_after=11 - read_before),
        "oldest slot lost, last 8 tokens": Bug(hidden_slot=0, hidden_after=last_8),
        "oldest slot lost, last 4 tokens": Bug(hidden_slot=0, hidden_after=last_4),
        "own slot hidden in layer 3": Bug(hidden_age=0, layer=3),
        "8 empty pad slots seen": Bug(pads=8),
        "theta 1.1e4": Bug(theta=1.1e4),
        "scale 1/sqrt(33)": Bug(scale=(32 / 33) ** 0.5),
        "scale + 10 %": Bug(scale=1.1),
        "one pad slot seen": Bug(pads=1),
        "eps 1e-5": Bug(eps=1e-5),
    }


WITHOUT_CACHE = ("theta", "scale", "first slot", "slot 3", "eps")
"""Beginnings of the names of bugs that there are without a cache too."""

_MOST_PADS = 8


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BuggyCache:
    """A cache with a bug around it.

    Attributes:
        inner: the right one.
        bug: numbers by the names of `Bug`'s fields, and `turn`: the rotary frequencies less the
            model's own.
        prompt_lengths: of each row, once its prompt is written.
    """

    inner: object
    bug: dict[str, Array]
    prompt_lengths: Int[Array, "B"]

    incremental = property(lambda self: self.inner.incremental)
    static_shape = property(lambda self: self.inner.static_shape)
    visible = property(lambda self: self.inner.visible)

    def positions(self, time: int) -> Int[Array, "B T"]:
        true = self.inner.positions(time)
        new = true - self.prompt_lengths[:, None]
        is_shifted = (new >= 0) & (new >= self.bug["shift_after"])
        return true + jnp.where(is_shifted, self.bug["shift"], 0)

    def attend(self, layer, q, k, v) -> tuple[Array, Self]:
        at = self.inner.positions(q.shape[1])
        cos, sin = rope.rotation(at, self.bug["turn"])
        q, k = rope.rotate(q, cos, sin), rope.rotate(k, cos, sin)
        q = (q.astype(jnp.float32) * self.bug["scale"]).astype(q.dtype)
        _, inner = self.inner.attend(layer, q, k, v)
        keys, values, slots = _written(inner, layer, k, v)
        context = self._context(layer, q, keys.astype(q.dtype), values.astype(q.dtype), slots)
        return context, dataclasses.replace(self, inner=inner)

    def _context(self, layer, q, keys, values, slots) -> Array:
        bug, at = self.bug, self.inner.positions(q.shape[1])
        is_step = at >= self.prompt_lengths[:, None]  # B T
        slot, query = slots[:, None, :], at[:, :, None]
        hidden = (query - slot == bug["hidden_age"]) & is_step[:, :, None]
        hidden |= (slot == self.prompt_lengths[:, None, None] - 1) & bug["hides_prompt_end"]
        after = self.prompt_lengths[:, None, None] + bug["hidden_after"]
        misses = (query >= after) & is_step[:, :, None] | (bug["everywhere"] & (query > 0))
        hidden |= (slot == bug["hidden_slot"]) & misses
        hidden &= (bug["layer"] < 0) | (bug["layer"] == layer)
        is_empty = (slots == bug["empty_slot"]) & (bug["empty_layer"] == layer)
        is_stale = (slots == at[:, -1:]) & is_step[:, -1:] & (bug["stale_layer"] == layer)
        keys = jnp.where(is_empty[..., None, None], jnp.zeros_like(keys), keys)
        values = jnp.where((is_empty | is_stale)[..., None, None], jnp.zeros_like(values), values)
        mask = causal_mask(at, slots) & ~hidden
        # Empty slots at the end: their scores are 0, as in a buffer that was made of zeros.
        room = ((0, 0), (0, _MOST_PADS), (0, 0), (0, 0))
        pads = jnp.arange(_MOST_PADS) < bug["pads"]
        seen = is_step[:, :, None] & pads[None, None, :]
        mask = jnp.concatenate([mask, seen], axis=2)
        return attention(q, jnp.pad(keys, room), jnp.pad(values, room), mask)

    def advance(self, counts) -> Self:
        inner = self.inner.advance(counts)
        is_first = self.prompt_lengths == NEVER
        # Without a cache every call is the first: there are no decode steps.
        known = jnp.where(is_first & self.incremental, counts, self.prompt_lengths)
        return dataclasses.replace(self, inner=inner, prompt_lengths=known)

    def with_depth(self, depth: int) -> Self:
        return dataclasses.replace(self, inner=self.inner.with_depth(depth))

    def layer_kv(self, layer):
        return self.inner.layer_kv(layer)


def _written(inner, layer, k, v):
    """Return keys, values and positions of one layer, those of this call among them."""
    time = k.shape[1]
    at = inner.positions(time)
    if not inner.incremental:
        return k, v, at
    if isinstance(inner, DynamicCache):
        # Its slots follow when the last layer is written.
        return inner.keys[layer], inner.values[layer], jnp.concatenate([inner.slots, at], axis=1)
    return inner.advance(jnp.full((k.shape[0],), time, jnp.int32)).layer_kv(layer)


class BuggyArm:
    """An engine like another one, all of whose caches have a bug that can be changed.

    Args:
        engine: the right one; its architecture is taken, but for the epsilon of `bug`.
        bug: to begin with.

    Attributes:
        engine: with the bug.
    """

    def __init__(self, engine: Engine, bug: Bug = Bug()):
        structure = engine.blueprint.structure
        if bug.eps is not None:
            architecture = dataclasses.replace(structure.architecture, norm_eps=bug.eps)
            structure = structure_of(architecture, structure.int8)
        self._numbers: dict[str, np.ndarray] = {}
        numbers = self._numbers

        class BuggyEngine(Engine):
            def new_cache(self, spec, **sizes):
                inner = super().new_cache(spec, **sizes)
                batch = inner.positions(1).shape[0]
                # Fresh arrays: a cache is donated with all that it holds.
                own = {name: jnp.array(value) for name, value in numbers.items()}
                return BuggyCache(inner, own, jnp.full((batch,), NEVER, jnp.int32))

        self.engine = BuggyEngine(engine.run, structure, engine.leaves)
        self.inject(bug)

    def inject(self, bug: Bug) -> None:
        """Put another bug in; no program is compiled for it."""
        architecture = self.engine.blueprint.structure.architecture
        own = rope.frequencies(architecture.head_dim, theta=architecture.rope_theta, scaling=None)
        turned = own
        if bug.theta is not None:
            turned = rope.frequencies(architecture.head_dim, theta=bug.theta, scaling=None)
        self._numbers["turn"] = (turned - own).astype(np.float32)
        for name, value in dataclasses.asdict(bug).items():
            if name not in ("theta", "eps"):
                self._numbers[name] = _as_array(value)


def _as_array(value: bool | int | float) -> np.ndarray:
    if isinstance(value, bool):
        return np.array(value)
    return np.array(value, np.int32 if isinstance(value, int) else np.float32)
