"""What generating from a batch must move, compute and keep: arithmetic over shapes, beside any clock."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import caches
from jaxgen.engine.batch import Batch
from jaxgen.engine.engine import Engine
from jaxgen.measure import roofline
from jaxgen.measure.roofline import Step
from jaxgen.spec.cache import Paged


def steps(engine: Engine, batches: Sequence[Batch]) -> dict[str, Step | None]:
    """The mean prefill behind `ttft_s`, the mean decode step behind `tpot_s`; null where there is no decode."""
    prefills = [(roofline.prefill_step(**_shape(engine, batch)), 1) for batch in batches]
    decodes = [
        (roofline.decode_step(**_shape(engine, batch), new_tokens=batch.new_tokens), batch.new_tokens - 1)
        for batch in batches
    ]
    return {
        "ttft_s": roofline.mean_step(prefills),
        "tpot_s": roofline.mean_step([(step, count) for step, count in decodes if step is not None]),
    }


def last_step(engine: Engine, batch: Batch) -> Step | None:
    """The decode step that reads the most slots."""
    if not batch.segments:
        return None
    return roofline.decode_step(**_shape(engine, batch), new_tokens=batch.new_tokens, first=batch.new_tokens - 1)


def kv_cache_bytes(engine: Engine, batch: Batch) -> int | None:
    """Of the keys and values of one batch; null for a cache that begins without slots and grows."""
    arrays = [leaf for leaf in jax.tree.leaves(engine.empty_cache(batch)) if jnp.ndim(leaf) == 4]
    nbytes = sum(np.dtype(leaf.dtype).itemsize * leaf.size for leaf in arrays)
    return None if arrays and not nbytes else nbytes


def cache_facts(engine: Engine, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Of one batch: the bytes that were allocated, that its rows kept from others, and that hold a token at the end.

    Args:
        rows: answers, the batch's first.

    Returns:
        `{allocated_bytes, reserved_bytes, used_bytes, unused_share}`, the share being of what is reserved; with pages
        `page_size` and `pages` too. Null where nothing is kept.
    """
    run, arch = engine.run, engine.blueprint.structure.architecture
    if not caches.kind(run.cache).incremental or len(rows) < len(batch.prompt_lengths):
        return None
    element = jnp.dtype(run.dtype.kv.value).itemsize
    token_bytes = 2 * arch.num_layers * arch.num_kv_heads * arch.head_dim * element
    most = [length + batch.new_tokens for length in batch.prompt_lengths]
    tokens = [len(row["prompt_tokens"]) + len(row["tokens"]) - 1 for row in rows[: len(most)]]  # but for the newest
    rooms = [run.cache.reserved([each], batch.capacity) for each in most]
    held = [min(each, room) for each, room in zip(tokens, rooms, strict=True)]
    slots = run.cache.reserved(most, batch.capacity)
    facts = {
        "allocated_bytes": kv_cache_bytes(engine, batch),
        "reserved_bytes": slots * token_bytes,
        "used_bytes": sum(held) * token_bytes,
        "unused_share": 1 - sum(held) / slots,
    }
    if isinstance(run.cache, Paged):
        facts |= {"page_size": run.cache.page_size, "pages": slots // run.cache.page_size}
    return facts


def _shape(engine: Engine, batch: Batch) -> dict[str, Any]:
    run = engine.run
    return {
        "architecture": engine.blueprint.structure.architecture,
        "cache": run.cache,
        "element": roofline.ElementBytes.of(run.dtype),
        "incremental": caches.kind(run.cache).incremental,
        "rows": batch.rows,
        "longest": batch.longest,
        "capacity": batch.capacity,
    }
