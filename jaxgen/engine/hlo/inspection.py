"""What an engine runs: its lowered programs' identity, and what the compiler made of the last one.

All of it comes after the calls that are measured. What those have traced and compiled is found
again by jax (0.10.2), so that looking is free; only `partial`, which keeps nothing, is compiled
once more. `eager` has no programs.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.stages import Compiled, Lowered

from jaxgen.engine.engine import Engine
from jaxgen.engine.hlo.collectives import collectives
from jaxgen.engine.hlo.wide_copies import axes_of, wide_copies
from jaxgen.engine.program_use import Use
from jaxgen.models.structure import Leaves
from jaxgen.specs.jit import Strategy

MOST_CONSTANTS_BYTES = 64 * 2**20  # as text, each byte of a captured weight is two characters

_MODULE_NAME = re.compile(r"^module @\S+", re.MULTILINE)
_OPERATION = re.compile(
    r"^\s*(?:ROOT )?%?(\S+) = .*op_name=\"jit\(\w+\)/([^\"]+)\"",
    re.MULTILINE,
)
_COPY = re.compile(r"= \(?\w+\[([\d,]+)\].* copy(?:-start)?\(")
_IDENTITY = ("stablehlo_sha256", "module_bytes")
_MEMORY = (
    "program_temp_bytes",
    "program_alias_bytes",
    "program_argument_bytes",
)
_COST = {"flops": "flops", "bytes_accessed": "bytes accessed"}
_UNREADABLE = "the compiled program cannot be read"


def examine(engine: Engine, uses: Sequence[Use]) -> dict[str, Any]:
    """Return facts about programs as plain data.

    Args:
        engine: whose programs they are.
        uses: the programs in the order of their use.

    Returns:
        `stablehlo_sha256` over the StableHLO text of all programs, module names and locations left
        out: arms with equal hashes run the same program. `module_bytes`, the length of those texts.
        `programs`, {name: {sha256, module_bytes}}. `captured_bytes`, weights that are constants of
        each program. Of the last program, a decode's deepest: `program_temp_bytes`,
        `program_alias_bytes`, `program_argument_bytes`; `cost` as XLA counts one step, {flops,
        bytes_accessed}, a loop's body being counted once; `copies`, how many of its instructions
        copy a whole layer of the cache; `wide_copies`, weights and caches that it widens first, as
        `wide_copies.wide_copies` has them. `mesh`, not on a single device: `collectives`, {program:
        {operation: count}}, and `kv_cache_bytes_per_device`. `reasons`, {key: why it is null}.
    """
    # jax finds what the measured calls have lowered: only `partial` is traced again.
    lowered = {use.name: use.lower() for use in uses}
    keys = (*_IDENTITY, *_MEMORY, "cost", "copies", "wide_copies")
    reasons: dict[str, str] = {}
    facts: dict[str, Any] = {
        **dict.fromkeys(keys),
        "programs": {},
        "reasons": reasons,
    }
    facts["captured_bytes"] = captured_bytes = _captured_bytes(engine)
    last, cache = lowered[uses[-1].name], uses[-1].cache
    if last is None:
        reason = f"jit={engine.run.jit.strategy.value} compiles no program"
        reasons |= dict.fromkeys(keys, reason)
        return facts
    if engine.layout is not None:
        facts["mesh"] = _mesh_facts(lowered, cache)
    # As text the weights of a large model would be gigabytes.
    if captured_bytes > MOST_CONSTANTS_BYTES:
        mebibytes = captured_bytes / 2**20
        reason = f"the program's text would hold {mebibytes:.0f} MiB of captured weights"
        reasons |= dict.fromkeys(_IDENTITY, reason)
    else:
        facts |= _identity(lowered)
    return facts | _compiled_facts(last.compile(), engine.leaves, cache, reasons)


def _compiled_facts(
    compiled: Compiled,
    leaves: Leaves,
    cache: Any,
    reasons: dict[str, str],
) -> dict[str, Any]:
    """What the compiler made of a program; `reasons` gets why something is null."""
    facts = _memory_and_cost(compiled, reasons)
    text = compiled.as_text()
    facts |= _copies(text, cache, reasons)
    if text is None:
        reasons["wide_copies"] = _UNREADABLE
        return facts
    arrays = []
    for leaf in [*leaves, *jax.tree.leaves(cache)]:
        # On a mesh the program's text has the shapes of one device.
        arrays.append(jax.ShapeDtypeStruct(_device_shape(leaf), leaf.dtype))
    return facts | {"wide_copies": wide_copies(text, arrays)}


def dump(engine: Engine, uses: Sequence[Use], folder: Path) -> list[Path]:
    """Write `<program>.stablehlo.txt` and, compiled, `<program>.hlo.txt`; nothing under `eager`.

    The StableHLO of programs that capture many weights is left out: it would be gigabytes.

    Args:
        engine: whose programs they are.
        uses: the programs.
        folder: is made where it is missing.

    Returns:
        The files.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts: dict[str, str] = {}
    for use in uses:
        lowered = use.lower()
        # Under `eager` there is no program to write.
        if lowered is None:
            continue
        if _captured_bytes(engine) <= MOST_CONSTANTS_BYTES:
            texts[f"{use.name}.stablehlo.txt"] = lowered.as_text()
        texts[f"{use.name}.hlo.txt"] = lowered.compile().as_text() or ""
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def meanings(uses: Sequence[Use]) -> dict[str, str]:
    """Return what instructions are for: {"loop/fusion.54": "while/body/dot_general"}.

    A profile names instructions; fused ones often have a name that says nothing.
    """
    by_instruction: dict[str, str] = {}
    for use in uses:
        lowered = use.lower()
        text = lowered.compile().as_text() if lowered is not None else None
        for instruction, operation in _OPERATION.findall(text or ""):
            by_instruction[f"{use.program}/{instruction}"] = operation
    return by_instruction


def _captured_bytes(engine: Engine) -> int:
    """Weights that stand in the text of each program."""
    # Under every other strategy the weights are arguments.
    if engine.run.jit.strategy is not Strategy.captured:
        return 0
    return sum(leaf.nbytes for leaf in engine.leaves)


def _identity(
    lowered: Mapping[str, Lowered | None],
) -> dict[str, Any]:
    """The hashes and sizes of the programs' texts."""
    all_programs, by_program, size = hashlib.sha256(), {}, 0
    for name, program in lowered.items():
        # The module's name has the function's in it, which differs between jit strategies.
        text = _MODULE_NAME.sub("module", program.as_text() if program else "").encode()
        sha256 = hashlib.sha256(text).hexdigest()
        by_program[name] = {
            "sha256": sha256,
            "module_bytes": len(text),
        }
        all_programs.update(f"{name} {sha256}\n".encode())
        size += len(text)
    return {
        "stablehlo_sha256": all_programs.hexdigest(),
        "module_bytes": size,
        "programs": by_program,
    }


def _memory_and_cost(compiled: Compiled, reasons: dict[str, str]) -> dict[str, Any]:
    """The compiler's own account of memory and work."""
    memory = compiled.memory_analysis()
    analysis = compiled.cost_analysis() or {}
    # What a backend does not count is -1 or missing: that is unknown, never 0.
    cost: dict[str, float | None] = {}
    for key, name in _COST.items():
        cost[key] = float(analysis[name]) if analysis.get(name, 0) > 0 else None
    if None in cost.values():
        reasons["cost"] = "the compiler of this device does not count all of FLOPs and bytes"
    if memory is None:
        reason = "the compiler of this device does not say what a program needs"
        reasons |= dict.fromkeys(_MEMORY, reason)
        return {"cost": cost}
    return {
        "cost": cost,
        "program_temp_bytes": memory.temp_size_in_bytes,
        "program_alias_bytes": memory.alias_size_in_bytes,
        "program_argument_bytes": memory.argument_size_in_bytes,
    }


def _copies(text: str | None, cache: Any, reasons: dict[str, str]) -> dict[str, Any]:
    """How many instructions copy an array with the axes of one layer's keys, in any order."""
    layers = set()
    for leaf in jax.tree.leaves(cache):
        # Keys and values have four axes; lengths and tables have fewer.
        if leaf.ndim == 4 and leaf.size:
            layers.add(axes_of(_device_shape(leaf)))
    if not layers or text is None:
        reasons["copies"] = "no cache is kept" if text else _UNREADABLE
        return {}
    copies = 0
    for dims in _COPY.findall(text):
        shape = tuple(int(size) for size in dims.split(","))
        copies += axes_of(shape) in layers
    return {"copies": copies}


def _mesh_facts(lowered: Mapping[str, Lowered | None], cache: Any) -> dict[str, Any]:
    """What programs on a mesh cost beside their work, and what the cache takes on each device."""
    by_program = {}
    for name, program in lowered.items():
        if program is not None:
            by_program[name] = collectives(program.compile().as_text() or "")
    # Keys and values alone: four axes each.
    nbytes = 0
    for leaf in jax.tree.leaves(cache):
        if leaf.ndim == 4:
            nbytes += math.prod(_device_shape(leaf)) * leaf.dtype.itemsize
    return {
        "collectives": by_program,
        "kv_cache_bytes_per_device": nbytes,
    }


def _device_shape(leaf: Any) -> tuple[int, ...]:
    """The shape of the part of an array that one device has."""
    return leaf.shape if leaf.sharding is None else leaf.sharding.shard_shape(leaf.shape)
