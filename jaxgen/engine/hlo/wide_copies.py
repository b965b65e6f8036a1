"""Weights and caches that a compiled program widens before it uses them: why a narrow dtype saves no time.

A product that the backend has not for narrow numbers reads a copy in a wider dtype. Where that is written to memory,
all that the narrow numbers saved is spent, and more. The compiled program's text shows it.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import jax.numpy as jnp

NAMED = 5
_WIDTHS = {"f32": 4, "f64": 8, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "s16": 2}
_MAKERS = ("convert", "copy", "fusion", "multiply", "transpose")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.\-]+ = (\(.*?\)|\S+) ([\w\-]+)\(")
_ARRAY = re.compile(r"(\w+)\[([\d,]+)\]")
_BEGINNING = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_FUSED = re.compile(r" fusion\(.*calls=%?([\w.\-]+)")
_ROOT = "ROOT "
_OPERATION = re.compile(r'op_name="(?:jit\(\w+\)/)?([^"]+)"')


def wide_copies(text: str, arrays: Iterable[Any]) -> dict[str, Any]:
    """Instructions that write an array with the axes of a narrow one, in any order, in a wider dtype.

    What goes on inside a fusion stays in registers and does not count.

    Args:
        text: of a compiled program.
        arrays: weights and cache, or their shapes, as one device has them; those in 32 bits and those of fewer than
            two axes are not narrow.

    Returns:
        `count`; `bytes`, written by one run of each instruction; `operations`, the largest `{operation, array, count,
        bytes}`, named as in the model's own code.
    """
    narrow: dict[tuple[int, ...], int] = {}
    for array in arrays:
        width = jnp.dtype(array.dtype).itemsize
        if len(axes_of(array.shape)) > 1 and width < 4:
            narrow[axes_of(array.shape)] = width
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for operation, kind, dims in _written(text) if narrow else ():
        shape = tuple(map(int, dims.split(",")))
        if _WIDTHS.get(kind, 0) > narrow.get(axes_of(shape), 8):
            key = operation, f"{kind}[{dims}]"
            counts[key] += 1
            sizes[key] += _WIDTHS[kind] * math.prod(shape)
    operations = [
        {"operation": key[0], "array": key[1], "count": counts[key], "bytes": size}
        for key, size in sizes.most_common(NAMED)
    ]
    return {"count": counts.total(), "bytes": sizes.total(), "operations": operations}


def _written(text: str) -> Iterator[tuple[str, str, str]]:
    """(operation, dtype, axes) of each array that an instruction outside a fusion makes of others."""
    fused = set(_FUSED.findall(text))
    inside, meant = "", {}
    for line in text.splitlines():  # what is called stands before what calls it
        if begun := _BEGINNING.match(line):
            inside = begun[1]
        found = _INSTRUCTION.match(line)
        meaning = _OPERATION.search(line)
        if meaning and line.lstrip().startswith(_ROOT):
            meant[inside] = meaning[1]
        if inside in fused or found is None or found[2] not in _MAKERS:
            continue
        called = _FUSED.search(line)
        within = meant.get(called[1], found[2]) if called else found[2]
        for kind, dims in _ARRAY.findall(found[1]):
            yield meaning[1] if meaning else within, kind, dims


def axes_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes in no order, those of 1 left out: what a compiler turns and squeezes stays the same."""
    return tuple(sorted(size for size in shape if size != 1))
