"""The same function with its sums in another order: what rounding alone does to an arm.

The hidden channels, the units of the MLPs and the numbers of each head's values are renumbered in
all weights at once. Every product then has the same terms in another order, so that the logits
differ from the arm's own by rounding and nothing else. Shapes stay as they are: the programs are
found, not compiled.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxgen.engine.engine import Engine
from jaxgen.models.sharding import on_host, put_sharded
from jaxgen.specs.architecture import Architecture

Orders = Mapping[str, np.ndarray]
"""Of each renumbered axis of a model, the old number that each new one has."""

_SEED = 20170612
"""Any order of the sums will do; a fixed one makes a run repeatable."""

_INPUTS = {
    "q": "hidden",
    "k": "hidden",
    "v": "hidden",
    "o": "context",
    "gate": "hidden",
    "up": "hidden",
    "down": "units",
}
"""What each projection reads."""

_OUTPUTS = {
    "v": "values",
    "o": "hidden",
    "gate": "units",
    "up": "units",
    "down": "hidden",
}
"""What each projection writes. Queries and keys stay: their rotation depends on the number."""

_TABLES = ("embedding", "head", "position")
_HEAD_NORMS = ("q_norm", "k_norm")


def reordered(engine: Engine) -> Engine:
    """Return an engine of the same function that adds its terms up in another order.

    Quantised weights stay what they are: a scale belongs to a whole output channel.

    Args:
        engine: left as it is; the copy of its weights is as large as they are.
    """
    structure = engine.blueprint.structure
    orders = _orders(structure.architecture)
    leaves = []
    for name, leaf in zip(structure.names, engine.leaves, strict=True):
        # On the host: a device would compile a program for each shape.
        host = on_host(leaf)
        for axis, renumbered in enumerate(_axes(name)):
            if renumbered is not None:
                host = np.take(host, orders[renumbered], axis=axis)
        leaves.append(put_sharded(host, leaf.sharding))
    return type(engine)(engine.run, structure, tuple(leaves))


def _orders(architecture: Architecture) -> Orders:
    """Draw an order for each axis; all layers have the same."""
    rng = np.random.default_rng(_SEED)
    head_dim = architecture.head_dim
    kv_heads = architecture.num_kv_heads
    within_head = [rng.permutation(head_dim) for _ in range(kv_heads)]
    # Each query head sums the values of its kv head, so that it has their order: with 6 heads and
    # 2 kv heads the first three have that of the first.
    group_size = architecture.num_heads // kv_heads
    by_query_head = []
    for head in range(architecture.num_heads):
        by_query_head.append(within_head[head // group_size])
    return {
        "hidden": rng.permutation(architecture.hidden_size),
        "units": rng.permutation(architecture.intermediate_size),
        "values": _side_by_side(within_head),
        "context": _side_by_side(by_query_head),
    }


def _side_by_side(of_heads: Sequence[np.ndarray]) -> np.ndarray:
    """Return the orders within the heads as one order of all heads' numbers."""
    head_dim = len(of_heads[0])
    starts = head_dim * np.arange(len(of_heads))
    return np.concatenate(of_heads) + np.repeat(starts, head_dim)


def _axes(name: str) -> tuple[str | None, ...]:
    """Return which order each axis of a parameter follows; null for one that stays.

    Args:
        name: such as `blocks.0.attention.q.kernel`.
    """
    owner, kind = ["", *name.split(".")][-2:]
    if kind in _TABLES:
        return None, "hidden"
    if owner in _INPUTS:
        read, written = _INPUTS[owner], _OUTPUTS.get(owner)
        # A kernel is (in, out), as int8 it is rows, (out, in); biases and scales are (out,).
        by_kind = {"kernel": (read, written), "kernel_rows": (written, read)}
        return by_kind.get(kind, (written,))
    if kind.endswith("_scale") or owner in _HEAD_NORMS:
        return (None,)
    # What is left are norms of the residual stream.
    return ("hidden",)
