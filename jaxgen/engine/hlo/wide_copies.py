"""Weights and caches that a compiled program widens before it uses them.

A backend that cannot multiply narrow numbers reads a copy in a wider dtype. Where that copy is
written to memory, all that the narrow numbers saved is spent, and more. The compiled program's text
shows it.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp

NAMED = 5
# What a narrow array may be widened to; any other dtype counts as 0 bytes, and is no wide copy.
_NUMBER_BYTES = {
    "f32": 4,
    "f64": 8,
    "bf16": 2,
    "f16": 2,
    "s32": 4,
    "u32": 4,
    "s16": 2,
}
_WRITERS = (
    "convert",
    "copy",
    "fusion",
    "multiply",
    "transpose",
)
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.\-]+ = (\(.*?\)|\S+) ([\w\-]+)\(")
_ARRAY = re.compile(r"(\w+)\[([\d,]+)\]")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_FUSION = re.compile(r" fusion\(.*calls=%?([\w.\-]+)")
_ROOT = "ROOT "
_OPERATION = re.compile(r'op_name="(?:jit\(\w+\)/)?([^"]+)"')


class Written(NamedTuple):
    """An array that an instruction writes.

    Attributes:
        operation: in the model's own code.
        dtype: as HLO names it.
        shape: its axes.
    """

    operation: str
    dtype: str
    shape: tuple[int, ...]


def wide_copies(text: str, arrays: Iterable[Any]) -> dict[str, Any]:
    """Find instructions that write a narrow array in a wider dtype.

    An array is known by its axes, in any order.

    What goes on inside a fusion stays in registers and does not count.

    Args:
        text: of a compiled program.
        arrays: weights and cache, or their shapes, as one device has them; those in 32 bits and
            those of fewer than two axes are not narrow.

    Returns:
        `count`; `bytes`, written by one run of each instruction; `operations`, the largest
        `{operation, array, count, bytes}`, named as in the model's own code.
    """
    narrow_bytes = _narrow_bytes(arrays)
    if not narrow_bytes:
        return {"count": 0, "bytes": 0, "operations": []}
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for written in _written_arrays(text):
        number_bytes = _NUMBER_BYTES.get(written.dtype, 0)
        # An array that is not among the narrow ones counts as eight bytes, which nothing exceeds.
        if number_bytes > narrow_bytes.get(axes_of(written.shape), 8):
            dims = ",".join(map(str, written.shape))
            key = (
                written.operation,
                f"{written.dtype}[{dims}]",
            )
            counts[key] += 1
            sizes[key] += number_bytes * math.prod(written.shape)
    operations = []
    for key, size in sizes.most_common(NAMED):
        operation, array = key
        facts = {
            "operation": operation,
            "array": array,
            "count": counts[key],
            "bytes": size,
        }
        operations.append(facts)
    return {
        "count": counts.total(),
        "bytes": sizes.total(),
        "operations": operations,
    }


def _narrow_bytes(
    arrays: Iterable[Any],
) -> dict[tuple[int, ...], int]:
    """Bytes of a number of each narrow array, by its axes."""
    by_axes = {}
    for array in arrays:
        axes = axes_of(array.shape)
        number_bytes = jnp.dtype(array.dtype).itemsize
        # The only axis of a vector would be that of too many other arrays.
        if len(axes) > 1 and number_bytes < 4:
            by_axes[axes] = number_bytes
    return by_axes


def axes_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes sorted, without those of 1: the same for what a compiler transposes."""
    return tuple(sorted(size for size in shape if size != 1))


def _written_arrays(text: str) -> Iterator[Written]:
    """The arrays that instructions outside fusions make of others."""
    fused = set(_FUSION.findall(text))
    computation = ""
    root_operations: dict[str, str] = {}
    # A computation stands before what calls it, so that its root's operation is known there.
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            computation = header[1]
        operation = _OPERATION.search(line)
        if operation and line.lstrip().startswith(_ROOT):
            root_operations[computation] = operation[1]
        instruction = _INSTRUCTION.match(line)
        # Inside a fusion nothing is written to memory.
        if computation in fused or instruction is None or instruction[2] not in _WRITERS:
            continue
        name = operation[1] if operation else _name_of(line, instruction[2], root_operations)
        # A fusion may write a tuple, each array of which counts.
        for dtype, dims in _ARRAY.findall(instruction[1]):
            shape = tuple(int(size) for size in dims.split(","))
            yield Written(name, dtype, shape)


def _name_of(
    line: str,
    instruction: str,
    root_operations: dict[str, str],
) -> str:
    """What an instruction without an operation does: what the root of its fusion does."""
    called = _FUSION.search(line)
    if called:
        return root_operations.get(called[1], instruction)
    return instruction
