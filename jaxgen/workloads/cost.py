"""What generating from a batch must move, compute and keep: arithmetic over shapes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import caches
from jaxgen.caches.protocol import Cache
from jaxgen.engine.batch import Batch
from jaxgen.engine.engine import Engine
from jaxgen.measure import byte_counts, roofline
from jaxgen.measure.roofline import Step
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import Fixed, Paged


def steps(
    engine: Engine,
    batches: Sequence[Batch],
    rows: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Step | None]:
    """Return the mean prefill behind `ttft_s` and the mean decode step behind `tpot_s`.

    Args:
        engine: the arm's.
        batches: of one case.
        rows: the outputs of a call: a batch whose rows all ended early took fewer steps than were
            planned. Without any, the planned ones count.

    Returns:
        The steps by metric; null where there is no decode.
    """
    prefills, decodes = [], []
    for batch, new_tokens in zip(batches, _new_tokens(batches, rows), strict=True):
        # Weighted by how often each step ran, so that the mean is that of the clock.
        shape = _shape(engine, batch)
        prefills.append((roofline.prefill_step(**shape), 1))
        decode = roofline.decode_step(**shape, longest=batch.longest, new_tokens=new_tokens)
        if decode is not None:
            decodes.append((decode, new_tokens - 1))
    return {
        "ttft_s": roofline.mean_step(prefills),
        "tpot_s": roofline.mean_step(decodes),
    }


def last_step(engine: Engine, batch: Batch) -> Step | None:
    """Return the decode step that reads the most slots; null where there is no decode."""
    if not batch.segments:
        return None
    # From the last of the planned steps on: that one alone.
    shape, most = _shape(engine, batch), batch.new_tokens
    return roofline.decode_step(**shape, longest=batch.longest, new_tokens=most, first=most - 1)


def kv_cache_bytes(engine: Engine, batch: Batch) -> int | None:
    """Return the bytes of one batch's keys and values; null for a cache that grows."""
    return bytes_of(engine.empty_cache(batch))


def bytes_of(cache: Cache) -> int | None:
    """Return the bytes of a cache's keys and values; null for one that begins empty and grows."""
    # Keys and values have four axes; lengths and tables have fewer.
    arrays = [leaf for leaf in jax.tree.leaves(cache) if jnp.ndim(leaf) == 4]
    nbytes = sum(np.dtype(leaf.dtype).itemsize * leaf.size for leaf in arrays)
    # Arrays without slots: a cache that grows has no size of its own.
    if arrays and not nbytes:
        return None
    return nbytes


def token_bytes(
    engine: Engine,
    architecture: Architecture | None = None,
) -> int:
    """Return the bytes of one token's keys and values in all layers.

    Args:
        engine: the arm's.
        architecture: of the part of the model that counts; null is the whole model.
    """
    arch = architecture or engine.blueprint.structure.architecture
    # Scales of quantised numbers are part of a number here, so this need not be whole.
    number_bytes = byte_counts.ElementBytes.of(engine.run.dtype, arch).kv
    keys = arch.num_layers * arch.num_kv_heads * arch.head_dim
    numbers = 2 * keys  # and as many values
    return round(numbers * number_bytes)


def chosen_facts(engine: Engine, *, rows: int) -> dict[str, str]:
    """Return what `cache.kernel` or `cache.layout` stands for here, with so many rows."""
    cache = engine.run.cache
    choose = _CHOICES.get(type(cache))
    if choose:
        return choose(cache, engine, rows)
    return {}


def _layout_choice(cache: Fixed, engine: Engine, rows: int) -> dict[str, str]:
    dtype = jnp.dtype(engine.run.dtype.kv.value)
    return {"layout": caches.kv_layout(cache, batch=rows, dtype=dtype)}


def _kernel_choice(cache: Paged, engine: Engine, rows: int) -> dict[str, str]:
    del rows
    dtype = jnp.dtype(engine.run.dtype.kv.value)
    architecture = engine.blueprint.structure.architecture
    return {"kernel": caches.page_kernel(cache, architecture, dtype)}


_CHOICES: Mapping[type, Callable[[Any, Engine, int], dict[str, str]]] = {
    Fixed: _layout_choice,
    Paged: _kernel_choice,
}


def cache_facts(
    engine: Engine,
    batch: Batch,
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any] | None:
    """Return what one batch had of its cache.

    Args:
        engine: the arm's.
        batch: the first of a case.
        rows: outputs, the batch's first.

    Returns:
        `{allocated_bytes, reserved_bytes, used_bytes, unused_share}`: bytes that were allocated,
        that its rows kept from others, and that hold a token at the end; the share is of what is
        reserved. With pages `page_size` and `pages` too, and what was chosen for the machine. Null
        where nothing is kept.
    """
    cache, most = engine.run.cache, batch.needed
    if not caches.kind(cache).incremental or len(rows) < len(most):
        return None
    used = 0
    for row, length in zip(rows, most, strict=False):
        # The newest token is not in the cache yet; a window keeps no more than its slots.
        tokens = len(row["prompt_tokens"]) + len(row["tokens"]) - 1
        used += min(
            tokens,
            cache.reserved([length], batch.capacity),
        )
    # What a row reserves is decided by the most that it may become, not by what it wrote.
    reserved = cache.reserved(most, batch.capacity)
    bytes_each = token_bytes(engine)
    facts = {
        "allocated_bytes": kv_cache_bytes(engine, batch),
        "reserved_bytes": reserved * bytes_each,
        "used_bytes": used * bytes_each,
        "unused_share": 1 - used / reserved,
        **chosen_facts(engine, rows=batch.rows),
    }
    if isinstance(cache, Paged):
        facts |= {
            "page_size": cache.page_size,
            "pages": reserved // cache.page_size,
        }
    return facts


def _new_tokens(
    batches: Sequence[Batch],
    rows: Sequence[Mapping[str, Any]],
) -> list[int]:
    """New tokens of the longest row of each batch."""
    if not rows:
        return [batch.new_tokens for batch in batches]
    longest, first = [], 0
    for batch in batches:
        end = first + len(batch.prompt_lengths)
        # A batch goes on until its longest row has ended.
        longest.append(max(len(row["tokens"]) for row in rows[first:end]))
        first = end
    return longest


def _shape(engine: Engine, batch: Batch) -> dict[str, Any]:
    """What one device has of a batch: steps are compared with the rates that one device reaches."""
    run = engine.run
    architecture = engine.blueprint.structure.architecture
    return {
        "architecture": engine.cut.part(architecture),
        "cache": run.cache,
        "element": byte_counts.ElementBytes.of(run.dtype, architecture),
        "incremental": caches.kind(run.cache).incremental,
        "rows": batch.rows // engine.cut.batch,
        # The batch's own: with token buckets the cache's rule is not what decided it.
        "width": batch.prompt.shape[1],
        "capacity": batch.capacity,
    }
