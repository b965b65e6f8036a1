"""The jit strategies: six ways to make a callable of one and the same pure program.

What is compared is only how often a program is traced and compiled, and what it carries along. Each
binder takes a program `f(blueprint, leaves, cache, *rest)` and returns a call of `(leaves, cache,
*rest)`; the cache is donated where its kind allows. Each call can also say what it runs: `lower`
takes the same arguments, or their shapes.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
from jax.stages import Lowered

from jaxgen.engine.programs import Blueprint
from jaxgen.models.sharding import Layout
from jaxgen.models.structure import Leaves
from jaxgen.specs.jit import Strategy

Program = Callable[..., Any]

CACHE_ARGUMENT = 1  # of (leaves, cache, *rest)


class Bound(Protocol):
    """One program under one strategy."""

    def __call__(self, *args) -> Any:
        """Run it on (leaves, cache, *rest)."""
        ...

    def lower(self, *args) -> Lowered | None:
        """Return what a call runs; null where nothing is lowered.

        Arguments may be `jax.ShapeDtypeStruct`s. Of a program that a call has compiled and kept,
        neither this nor its `compile()` traces or compiles again."""
        ...


def bind(
    strategy: Strategy,
    program: Program,
    blueprint: Blueprint,
    *,
    leaves: Leaves,
    donate: bool,
) -> Bound:
    """One program under one strategy.

    Args:
        strategy: which.
        program: pure; its name is the one that the compile ledger reports.
        blueprint: static, closed over by every strategy.
        leaves: used by `captured` alone, which keeps them for good; the others take them at each
            call.
        donate: hand the cache's buffers over to the call.
    """
    donated = (CACHE_ARGUMENT,) if donate else ()
    # On a mesh every call has to find its arguments where the last one has left them.
    layout = blueprint.structure.layout
    program = program if layout is None else _in_place(program, layout)
    if strategy is Strategy.captured:
        return _Captured(program, blueprint, leaves=leaves, donated=donated)
    return _BINDERS[strategy](program, blueprint, donated)


def _closure(
    program: Program,
    blueprint: Blueprint,
    donated: tuple[int, ...],
) -> Any:
    """A closure over structure only, jitted once and kept: the bare jitted function."""
    # At a call all arguments are traced; static is only what the closure holds.
    return jax.jit(_closed(program, blueprint), donate_argnums=donated)


@dataclasses.dataclass(frozen=True)
class _Partial:
    """Two nested partials, built and jitted at every call: nothing compiled is found again."""

    program: Program
    blueprint: Blueprint
    donated: tuple[int, ...]

    def __call__(self, *args):
        return self._anew()(*args)

    def lower(self, *args) -> Lowered:
        return self._anew().lower(*args)

    def _anew(self):
        # As in the code that is compared with: new partial objects, which no cache of jit knows.
        inner = functools.partial(self.program)
        outer = functools.partial(inner, self.blueprint)
        return jax.jit(outer, donate_argnums=self.donated)


class _PartialKept:
    """Two nested partials around a jitted function that is kept: partial as such costs nothing."""

    def __init__(
        self,
        program: Program,
        blueprint: Blueprint,
        donated: tuple[int, ...],
    ):
        self._kept = _closure(program, blueprint, donated)
        self.lower = self._kept.lower

    def __call__(self, *args):
        return functools.partial(functools.partial(self._kept, args[0]), *args[1:])()


class _Captured:
    """The closure holds the weights too, as constants of the program: later ones are ignored."""

    def __init__(
        self,
        program: Program,
        blueprint: Blueprint,
        *,
        leaves: Leaves,
        donated: tuple[int, ...],
    ):
        # The leaves are closed over: jit makes them constants, and the program grows by their size.
        def captured(cache, *rest):
            return program(blueprint, leaves, cache, *rest)

        captured.__name__ = program.__name__
        self._kept = jax.jit(
            captured,
            # Without the leaves each argument stands one place earlier.
            donate_argnums=tuple(argument - 1 for argument in donated),
        )

    def __call__(self, _leaves, *args):
        return self._kept(*args)

    def lower(self, _leaves, *args) -> Lowered:
        return self._kept.lower(*args)


class _Aot:
    """Lowered and compiled ahead for each signature; the executable is called, not jit."""

    def __init__(
        self,
        program: Program,
        blueprint: Blueprint,
        donated: tuple[int, ...],
    ):
        self._jitted = _closure(program, blueprint, donated)
        self._executables: dict[object, Callable[..., Any]] = {}
        self.lower = self._jitted.lower

    def __call__(self, *args):
        # The weights never change their shapes, so they are no part of the signature.
        flat, treedef = jax.tree.flatten(args[CACHE_ARGUMENT:])
        # By shapes and dtypes as jit would do it, but without its dispatch.
        signature = (
            treedef,
            tuple((leaf.shape, leaf.dtype) for leaf in flat),
        )
        if signature not in self._executables:
            self._executables[signature] = self.lower(*args).compile()
        return self._executables[signature](*args)


@dataclasses.dataclass(frozen=True)
class _Eager:
    """No jit at all, for debugging: loops run in Python, nothing is donated."""

    program: Program
    blueprint: Blueprint
    donated: tuple[int, ...]

    def __call__(self, *args):
        with jax.disable_jit():
            return self.program(self.blueprint, *args)

    def lower(self, *args) -> None:
        del args


def _in_place(program: Program, layout: Layout) -> Program:
    """The program, its results constrained to where the next call expects them.

    Else that call would have other shardings, and would be compiled again.
    """

    def placed(*args):
        return layout.constrain(program(*args))

    placed.__name__ = program.__name__
    return placed


def _closed(program: Program, blueprint: Blueprint) -> Program:
    def closure(leaves, cache, *rest):
        return program(blueprint, leaves, cache, *rest)

    # The compile ledger reports a program by this name.
    closure.__name__ = program.__name__
    return closure


_BINDERS: dict[
    Strategy,
    Callable[[Program, Blueprint, tuple[int, ...]], Bound],
] = {
    Strategy.closure: _closure,
    Strategy.partial: _Partial,
    Strategy.partial_kept: _PartialKept,
    Strategy.aot: _Aot,
    Strategy.eager: _Eager,
}
