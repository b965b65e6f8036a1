"""Tiny random models of every family, and runs and outputs of them for the tests."""

import copy
import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import caches
from jaxgen.caches import Cache
from jaxgen.checkpoints.tensor_leaves import as_leaves
from jaxgen.engine.engine import Engine
from jaxgen.models.sharding import layout_of
from jaxgen.models.structure import Leaves, Structure, structure_of
from jaxgen.specs.architecture import Architecture, RopeScaling
from jaxgen.specs.cache import CacheSpec, Dynamic, Fixed, KVLayout, NoCache, Paged, step_depth
from jaxgen.specs.dtype import Dtype, Number
from jaxgen.specs.jit import Jit, Strategy
from jaxgen.specs.mesh import MeshSpec, OneDevice
from jaxgen.specs.model import Model, Weights
from jaxgen.specs.prompts import Builtin
from jaxgen.specs.run import Process, Run
from jaxgen.specs.workload import Generate, Loop

# Sizes that differ from each other, so that no two axes can be confused; two query heads for each
# kv head where the family has groups.
_SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_layers": 1,
    "num_heads": 4,
    "intermediate_size": 44,
    "context": 64,
}
_GROUPED = {"num_kv_heads": 2, "head_dim": 10, "norm_eps": 1e-3}
_STRETCHED = RopeScaling(factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=32)

# One layer, as every layer costs time to trace and to compile.
FAMILIES: dict[str, Architecture] = {
    "gpt2": Architecture(
        family="gpt2",
        num_kv_heads=4,
        head_dim=8,
        norm="layer",
        norm_eps=1e-3,
        position="learned",
        activation="gelu_tanh",
        gated=False,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        **_SIZES,
    ),
    "llama": Architecture(
        family="llama", rope_theta=100.0, rope_scaling=_STRETCHED, tied=False, **_GROUPED, **_SIZES
    ),
    "qwen2": Architecture(family="qwen2", rope_theta=300.0, qkv_bias=True, **_GROUPED, **_SIZES),
    "qwen3": Architecture(family="qwen3", rope_theta=500.0, qk_norm=True, **_GROUPED, **_SIZES),
}

# Three layers, for tests whose claim is about layers: each has keys and values of its own.
DEEP_FAMILIES: dict[str, Architecture] = {
    family: dataclasses.replace(architecture, num_layers=3)
    for family, architecture in FAMILIES.items()
}

CACHES: dict[str, CacheSpec] = {
    "fixed": Fixed(
        bucket=2
    ),  # with the prompts and the new tokens below, decode reads 4, 8, then all 10 slots
    "fixed_unsliced": Fixed(bucket=0, layout=KVLayout.NHD),
    "regions": Fixed(
        bucket=2, regions=2
    ),  # prompts in 10 slots, or as wide as they are; decode reads 2, 4, 8 of 16
    "paged": Paged(
        page_size=2, bucket=2
    ),  # the rows take 4, 5 and 5 pages; decode reads 2, 4, then all 5
    "dynamic": Dynamic(),
    "none": NoCache(),
    "none_padded": NoCache(pad=True),
}

# For each number of layers, seeds that were searched for: on every greedy path below the best token
# leads by 0.05 or more, and 11 to 18 different tokens appear.
_SEEDS = {
    1: {"gpt2": 114, "llama": 56, "qwen2": 57, "qwen3": 87},
    3: {"gpt2": 22, "llama": 47, "qwen2": 6, "qwen3": 51},
}
PROMPTS: tuple[tuple[int, ...], ...] = ((41,), (7, 90, 33), (58, 3))
NEW_TOKENS = 7


@functools.cache  # the same arrays for all tests; none of them is ever donated
def weights(architecture: Architecture) -> tuple[Structure, Leaves]:
    """Return a structure and seeded float32 leaves, with random biases and norms too.

    They are scaled so that attention is peaked and logits have a standard deviation of a few:
    greedy tokens are no near-ties.
    """
    structure = structure_of(architecture)
    rng = np.random.default_rng(_SEEDS[architecture.num_layers][architecture.family])
    named = zip(structure.names, structure.shapes, strict=True)
    return structure, tuple(
        jnp.asarray(_random(rng, name, shape), jnp.float32) for name, shape in named
    )


def _random(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    noise = rng.standard_normal(shape)
    if name.endswith(".scale"):
        return 1 + 0.3 * noise
    if name.endswith(".bias"):
        return 0.2 * noise
    is_table = not name.endswith(".kernel")  # (V, D), else (in, out)
    return 2.0 * noise / np.sqrt(shape[1]) if is_table else 1.5 * noise / np.sqrt(shape[0])


def weights_as(name: str) -> Dtype:
    """Return a dtype for the weights alone."""
    return Dtype(weights=Number(name))


def run(
    *,
    architecture: Architecture = FAMILIES["llama"],
    cache: CacheSpec = CACHES["fixed"],
    jit: Strategy = Strategy.closure,
    dtype: Dtype = Dtype(),  # noqa: B008 - frozen
    mesh: MeshSpec = OneDevice(),  # noqa: B008 - frozen
    **workload,
) -> Run:
    """Return a run that generates `NEW_TOKENS` greedily for three rows; `workload` changes that."""
    return Run(
        model=Model(name=architecture.family, weights=Weights.random, shapes=architecture),
        cache=cache,
        jit=Jit(strategy=jit),
        dtype=dtype,
        mesh=mesh,
        workload=Generate(
            **({"batch_size": len(PROMPTS), "max_new_tokens": NEW_TOKENS} | workload)
        ),
        prompts=Builtin(),
        process=Process(),
    )


def engine(of: Run | None = None) -> Engine:
    """Return an engine with the seeded weights of the run's architecture, in the run's dtype."""
    of = of or run()
    assert of.model.shapes is not None
    floating, leaves = weights(of.model.shapes)
    layout = layout_of(of.mesh, of.model.shapes)
    structure = structure_of(of.model.shapes, of.dtype.int8)
    found: dict[str, jax.Array] = {}
    for name, leaf in zip(floating.names, leaves, strict=True):
        sharding_of = layout.weight if layout else None
        found |= as_leaves(
            name, leaf, structure=structure, dtype=of.dtype.float_dtype, sharding_of=sharding_of
        )
    return Engine(of, structure, tuple(found[name] for name in structure.names))


def with_loop(model: Engine, loop: Loop) -> Engine:
    """Return the same engine with its compiled programs, decoding in another loop."""
    other = copy.copy(model)
    other.run = dataclasses.replace(
        model.run, workload=dataclasses.replace(model.run.workload, loop=loop)
    )
    return other


def answers(
    model: Engine,
    prompts: Sequence[Sequence[int]] = PROMPTS,
    *,
    new_tokens: int | None = None,
    limits: Sequence[int] = (),
) -> list[tuple[list[int], str]]:
    """Return each prompt's new tokens and why they end, batch by batch as a workload does it."""
    given = []
    for batch in model.batches(prompts, new_tokens=new_tokens, limits=limits):
        cache, state = model.prefill(batch, model.empty_cache(batch))
        _, state = model.decode(batch, cache, state)
        given += model.outputs(batch, state)
    return given


def tokens(model: Engine, prompts: Sequence[Sequence[int]] = PROMPTS, **given) -> list[list[int]]:
    """Return the new tokens alone."""
    return [new for new, _ in answers(model, prompts, **given)]


@functools.partial(jax.jit, static_argnames="structure")  # traced: weights, cache, tokens
def forward(
    leaves: Leaves, cache: Cache, incoming: jax.Array, *, structure: Structure
) -> tuple[jax.Array, Cache]:
    """Return logits (B, T, V) at every input token, and the cache with the tokens written."""
    model = structure.model(leaves)
    hidden, cache = model(incoming, cache)
    return model.logits(hidden), cache


def padded(texts: Sequence[Sequence[int]], *, width: int) -> np.ndarray:
    """Return the sequences as rows, padded with zeros on the right."""
    out = np.zeros((len(texts), width), np.int32)
    for row, text in enumerate(texts):
        out[row, : len(text)] = text
    return out


def step_logits(
    structure: Structure,
    leaves: Leaves,
    spec: CacheSpec,
    prompts: Sequence[Sequence[int]],
    *,
    count: int,
    forced=None,
) -> np.ndarray:
    """Decode with one kind of cache, by its protocol alone.

    Returns the logits (B, count, V) of `count` new tokens. The next input is that of `forced`
    (B, count), or the greedy choice.
    """
    lengths, rows = np.array([len(prompt) for prompt in prompts], np.int32), np.arange(len(prompts))
    longest = int(lengths.max())
    capacity = spec.capacity(longest + count)
    width = spec.prompt_width(longest, capacity)
    given = {
        "batch": len(prompts),
        "capacity": capacity,
        "dtype": jnp.dtype("float32"),
        "prompt": width,
    }
    cache = caches.create(spec, structure.architecture, **given)
    texts, logits = padded(prompts, width=capacity), []
    for taken in range(count):
        whole_text = taken == 0 or not cache.incremental
        at = {"width": width, "longest": longest, "taken": taken, "capacity": capacity}
        depth = step_depth(spec, **at) if taken else width
        incoming = texts[:, :depth] if whole_text else texts[rows, lengths - 1][:, None]
        counts = lengths if whole_text else np.ones_like(lengths)
        given, cache = forward(
            leaves, cache.with_depth(depth), jnp.asarray(incoming.copy()), structure=structure
        )
        cache = cache.advance(jnp.asarray(counts))
        logits.append(np.asarray(given)[rows, lengths - 1 if whole_text else 0])
        texts[rows, lengths] = logits[-1].argmax(-1) if forced is None else forced[:, taken]
        lengths = (
            lengths + 1
        )  # a new array: the device may share the old one's memory and not have read it yet
    return np.stack(logits, axis=1)
