"""How large an empty cache is made."""

import dataclasses

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class CacheSize:
    """What every kind of cache is created from, beside its spec and the model's architecture.

    Attributes:
        batch: rows.
        capacity: tokens that a row has room for.
        dtype: of keys and values.
        needed: tokens that each row may come to hold; read by a kind whose rows may differ in room.
        prompt: tokens that the prompts are padded to, read by a kind that keeps prompts apart;
            null where it is not known.
    """

    batch: int
    capacity: int
    dtype: jnp.dtype
    needed: tuple[int, ...] = ()
    prompt: int | None = None
