"""What an engine runs: its lowered programs' identity, and what the compiler made of the last one.

Asked after the calls that are measured. What those have traced and compiled is found again by jax (0.10.2), so that
looking is free; only `partial`, which keeps nothing, is compiled once more. `eager` has no programs.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from jax.stages import Compiled, Lowered

from jaxgen.engine.engine import Engine
from jaxgen.engine.hlo.collectives import collectives
from jaxgen.engine.hlo.wide_copies import axes_of, wide_copies
from jaxgen.engine.program_use import Use
from jaxgen.specs.jit import Strategy

MOST_CONSTANTS_BYTES = 64 * 2**20  # as text, each byte of a captured weight is two characters

_MODULE_NAME = re.compile(r"^module @\S+", re.MULTILINE)
_MEANING = re.compile(r"^\s*(?:ROOT )?%?(\S+) = .*op_name=\"jit\(\w+\)/([^\"]+)\"", re.MULTILINE)
_IDENTITY = ("stablehlo_sha256", "module_bytes")
_MEMORY = ("program_temp_bytes", "program_alias_bytes", "program_argument_bytes")
_COST = {"flops": "flops", "bytes_accessed": "bytes accessed"}


def examine(engine: Engine, uses: Sequence[Use]) -> dict[str, Any]:
    """Facts about programs, in the order of their use, as plain data.

    Returns:
        `stablehlo_sha256` over the StableHLO text of all programs, module names and locations left out: arms with equal
        hashes run the same program. `module_bytes`, the length of those texts. `programs`, {name: {sha256,
        module_bytes}}. `captured_bytes`, weights that are constants of each program.
        Of the last program, a decode's deepest: `program_temp_bytes`, `program_alias_bytes`, `program_argument_bytes`;
        `cost` as XLA counts one step, {flops, bytes_accessed}, a loop's body being counted once; `copies`, how many of
        its instructions copy a whole layer of the cache; `wide_copies`, weights and caches that it widens first, as
        `engine.wide_copies` has them.
        `mesh`, not on a single device: `collectives`, {program: {operation: count}}, and `kv_cache_bytes_per_device`.
        `reasons`, {key: why it is null}.
    """
    lowered = {use.name: use.lower() for use in uses}
    last = lowered[uses[-1].name]
    keys = (*_IDENTITY, *_MEMORY, "cost", "copies", "wide_copies")
    facts: dict[str, Any] = {**dict.fromkeys(keys), "programs": {}, "reasons": {}}
    facts["captured_bytes"] = _captured_bytes(engine)
    if last is None:
        reason = f"jit={engine.run.jit.strategy.value} compiles no program"
        return facts | {"reasons": dict.fromkeys(keys, reason)}
    if engine.layout is not None:
        facts["mesh"] = _spread(lowered, uses[-1].cache)
    facts |= _identity(lowered, facts["reasons"], captured_bytes=_captured_bytes(engine))
    compiled = last.compile()
    cache = uses[-1].cache
    facts |= _needs(compiled, facts["reasons"]) | _copies(compiled, cache, facts["reasons"])
    text = compiled.as_text()
    if text is None:
        facts["reasons"]["wide_copies"] = "the compiled program cannot be read"
        return facts
    arrays = [*engine.leaves, *jax.tree.leaves(cache)]
    own = [jax.ShapeDtypeStruct(_own_shape(leaf), leaf.dtype) for leaf in arrays]
    return facts | {"wide_copies": wide_copies(text, own)}


def dump(engine: Engine, uses: Sequence[Use], folder: Path) -> list[Path]:
    """Write `<program>.stablehlo.txt` and, compiled, `<program>.hlo.txt`; nothing under `eager`.

    The StableHLO of programs that capture many weights is left out: it would be gigabytes.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts: dict[str, str] = {}
    for use in uses:
        lowered = use.lower()
        if lowered is None:
            continue
        if _captured_bytes(engine) <= MOST_CONSTANTS_BYTES:
            texts[f"{use.name}.stablehlo.txt"] = lowered.as_text()
        texts[f"{use.name}.hlo.txt"] = lowered.compile().as_text() or ""
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def meanings(uses: Sequence[Use]) -> dict[str, str]:
    """What the compiled instructions are for: {"loop/fusion.54": "while/body/dot_general"}, as far as it is known.

    A profile names instructions; fused ones often have a name that says nothing.
    """
    found: dict[str, str] = {}
    for use in uses:
        lowered = use.lower()
        text = lowered.compile().as_text() if lowered is not None else None
        found |= {
            f"{use.program}/{name}": meaning for name, meaning in _MEANING.findall(text or "")
        }
    return found


def _captured_bytes(engine: Engine) -> int:
    """Weights that stand in the text of each program."""
    captured = engine.run.jit.strategy is Strategy.captured
    return sum(leaf.nbytes for leaf in engine.leaves) if captured else 0


def _identity(
    lowered: dict[str, Lowered | None], reasons: dict[str, str], *, captured_bytes: int
) -> dict[str, Any]:
    if captured_bytes > MOST_CONSTANTS_BYTES:
        reason = (
            f"the program's text would hold {captured_bytes / 2**20:.0f} MiB of captured weights"
        )
        reasons |= dict.fromkeys(_IDENTITY, reason)
        return {}
    whole, found = hashlib.sha256(), {}
    for name, program in lowered.items():
        text = _MODULE_NAME.sub("module", program.as_text() if program else "").encode()
        found[name] = {"sha256": hashlib.sha256(text).hexdigest(), "module_bytes": len(text)}
        whole.update(f"{name} {found[name]['sha256']}\n".encode())
    size = sum(each["module_bytes"] for each in found.values())
    return {"stablehlo_sha256": whole.hexdigest(), "module_bytes": size, "programs": found}


def _needs(compiled: Compiled, reasons: dict[str, str]) -> dict[str, Any]:
    """The compiler's own account of memory and work."""
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
    counted = {
        key: float(cost[name]) if cost.get(name, 0) > 0 else None for key, name in _COST.items()
    }
    if None in counted.values():
        reasons["cost"] = "the compiler of this device does not count all of FLOPs and bytes"
    if memory is None:
        reasons |= dict.fromkeys(
            _MEMORY, "the compiler of this device does not say what a program needs"
        )
        return {"cost": counted}
    sizes = (memory.temp_size_in_bytes, memory.alias_size_in_bytes, memory.argument_size_in_bytes)
    return {"cost": counted, **dict(zip(_MEMORY, sizes, strict=True))}


def _copies(compiled: Compiled, cache: Any, reasons: dict[str, str]) -> dict[str, Any]:
    """Instructions that make an array with the axes of one layer's keys, in any order, axes of 1 aside."""
    layers = {
        axes_of(_own_shape(leaf)) for leaf in jax.tree.leaves(cache) if leaf.ndim == 4 and leaf.size
    }
    text = compiled.as_text()
    if not layers or text is None:
        reasons["copies"] = "no cache is kept" if text else "the compiled program cannot be read"
        return {}
    made = re.findall(r"= \(?\w+\[([\d,]+)\].* copy(?:-start)?\(", text)
    return {"copies": sum(axes_of(tuple(map(int, dims.split(",")))) in layers for dims in made)}


def _spread(lowered: dict[str, Lowered | None], cache: Any) -> dict[str, Any]:
    """What programs on a mesh cost beside their work, and what the last one's cache takes on each device."""
    texts = {
        name: program.compile().as_text()
        for name, program in lowered.items()
        if program is not None
    }
    kept = [leaf for leaf in jax.tree.leaves(cache) if leaf.ndim == 4]
    return {
        "collectives": {name: collectives(text or "") for name, text in texts.items()},
        "kv_cache_bytes_per_device": sum(
            math.prod(_own_shape(leaf)) * leaf.dtype.itemsize for leaf in kept
        ),
    }


def _own_shape(leaf: Any) -> tuple[int, ...]:
    """Of the part of an array that one device has."""
    return leaf.shape if leaf.sharding is None else leaf.sharding.shard_shape(leaf.shape)
