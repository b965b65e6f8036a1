"""What generating from a batch must move, compute and keep: arithmetic over shapes, beside any clock."""

import itertools
from collections.abc import Mapping, Sequence
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
    engine: Engine, batches: Sequence[Batch], rows: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Step | None]:
    """The mean prefill behind `ttft_s`, the mean decode step behind `tpot_s`; null where there is no decode.

    Args:
        batches: of one case.
        rows: what a call answered: a batch whose texts all ended early took fewer steps than were planned. Without
            any, the planned ones count.
    """
    prefills = [(roofline.prefill_step(**_shape(engine, batch)), 1) for batch in batches]
    decodes = [
        (roofline.decode_step(**_shape(engine, batch), new_tokens=taken), taken - 1)
        for batch, taken in zip(batches, _taken(batches, rows), strict=True)
    ]
    return {
        "ttft_s": roofline.mean_step(prefills),
        "tpot_s": roofline.mean_step(
            [(step, count) for step, count in decodes if step is not None]
        ),
    }


def _taken(batches: Sequence[Batch], rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """New tokens of the longest text of each batch."""
    if not rows:
        return [batch.new_tokens for batch in batches]
    counts = iter([len(row["tokens"]) for row in rows])
    return [max(itertools.islice(counts, len(batch.prompt_lengths))) for batch in batches]


def last_step(engine: Engine, batch: Batch) -> Step | None:
    """The decode step that reads the most slots."""
    if not batch.segments:
        return None
    return roofline.decode_step(
        **_shape(engine, batch), new_tokens=batch.new_tokens, first=batch.new_tokens - 1
    )


def kv_cache_bytes(engine: Engine, batch: Batch) -> int | None:
    """Of the keys and values of one batch; null for a cache that begins without slots and grows."""
    return bytes_of(engine.empty_cache(batch))


def bytes_of(cache: Cache) -> int | None:
    """Of a cache's keys and values; null for one that begins without slots and grows."""
    arrays = [leaf for leaf in jax.tree.leaves(cache) if jnp.ndim(leaf) == 4]
    nbytes = sum(np.dtype(leaf.dtype).itemsize * leaf.size for leaf in arrays)
    return None if arrays and not nbytes else nbytes


def token_bytes(engine: Engine, architecture: Architecture | None = None) -> int:
    """Of the keys and values of one token in all layers: of the whole model, or of the part that is given."""
    arch = architecture or engine.blueprint.structure.architecture
    element = byte_counts.ElementBytes.of(engine.run.dtype, arch).kv
    return round(2 * arch.num_layers * arch.num_kv_heads * arch.head_dim * element)


def chosen_facts(engine: Engine, *, rows: int) -> dict[str, str]:
    """`{kernel}` or `{layout}`: what `cache.kernel` or `cache.layout` stands for here, with so many rows."""
    spec, dtype = engine.run.cache, jnp.dtype(engine.run.dtype.kv.value)
    if isinstance(spec, Fixed):
        return {"layout": caches.kv_layout(spec, batch=rows, dtype=dtype)}
    if not isinstance(spec, Paged):
        return {}
    return {"kernel": caches.page_kernel(spec, engine.blueprint.structure.architecture, dtype)}


def cache_facts(
    engine: Engine, batch: Batch, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Of one batch: the bytes that were allocated, that its rows kept from others, and that hold a token at the end.

    Args:
        rows: answers, the batch's first.

    Returns:
        `{allocated_bytes, reserved_bytes, used_bytes, unused_share}`, the share being of what is reserved; with pages
        `page_size` and `pages` too, and what was chosen for the machine. Null where nothing is kept.
    """
    run = engine.run
    if not caches.kind(run.cache).incremental or len(rows) < len(batch.prompt_lengths):
        return None
    most = [
        length + limit for length, limit in zip(batch.prompt_lengths, batch.limits, strict=True)
    ]
    tokens = [
        len(row["prompt_tokens"]) + len(row["tokens"]) - 1 for row in rows[: len(most)]
    ]  # but for the newest
    rooms = [run.cache.reserved([length], batch.capacity) for length in most]
    held = [min(kept, room) for kept, room in zip(tokens, rooms, strict=True)]
    each = token_bytes(engine)
    slots = run.cache.reserved(most, batch.capacity)
    facts = {
        "allocated_bytes": kv_cache_bytes(engine, batch),
        "reserved_bytes": slots * each,
        "used_bytes": sum(held) * each,
        "unused_share": 1 - sum(held) / slots,
        **chosen_facts(engine, rows=batch.rows),
    }
    if isinstance(run.cache, Paged):
        facts |= {"page_size": run.cache.page_size, "pages": slots // run.cache.page_size}
    return facts


def _shape(engine: Engine, batch: Batch) -> dict[str, Any]:
    """What one device has of it: the steps are counted for a device, whose probed rates they are held against."""
    run = engine.run
    return {
        "architecture": engine.cut.part(engine.blueprint.structure.architecture),
        "cache": run.cache,
        "element": byte_counts.ElementBytes.of(run.dtype, engine.blueprint.structure.architecture),
        "incremental": caches.kind(run.cache).incremental,
        "rows": batch.rows // engine.cut.batch,
        "longest": batch.longest,
        "capacity": batch.capacity,
    }
