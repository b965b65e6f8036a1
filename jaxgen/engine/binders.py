"""The jit strategies: six ways to make a callable of one and the same pure program.

What is compared is only how often a program is traced and compiled, and what it carries along. Each binder takes a
program `f(blueprint, leaves, cache, *rest)` and returns a call of `(leaves, cache, *rest)`; the cache is donated where
its kind allows.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxgen.engine.programs import Blueprint
from jaxgen.models.structure import Leaves
from jaxgen.spec.jit import Strategy

Program = Callable[..., Any]
Bound = Callable[..., Any]

CACHE_ARGUMENT = 1  # of (leaves, cache, *rest)


def bind(strategy: Strategy, program: Program, blueprint: Blueprint, *, leaves: Leaves, donate: bool) -> Bound:
    """One program under one strategy.

    Args:
        strategy: which.
        program: pure; its name is the one that the compile ledger reports.
        blueprint: static, closed over by every strategy.
        leaves: used by `captured` alone, which keeps them for good; the others take them at each call.
        donate: hand the cache's buffers over to the call.
    """
    donated = (CACHE_ARGUMENT,) if donate else ()
    if strategy is Strategy.captured:
        return _captured(program, blueprint, leaves=leaves, donated=donated)
    return _BINDERS[strategy](program, blueprint, donated)


def _closure(program: Program, blueprint: Blueprint, donated: tuple[int, ...]) -> Bound:
    """A closure over structure only, jitted once and kept."""
    return jax.jit(_closed(program, blueprint), donate_argnums=donated)  # all arguments traced


def _partial(program: Program, blueprint: Blueprint, donated: tuple[int, ...]) -> Bound:
    """Two nested partials, built and jitted anew at every call: nothing compiled is ever found again."""

    def call(*args):
        inner = functools.partial(program)
        outer = functools.partial(inner, blueprint)
        return jax.jit(outer, donate_argnums=donated)(*args)

    return call


def _partial_kept(program: Program, blueprint: Blueprint, donated: tuple[int, ...]) -> Bound:
    """Two nested partials around a jitted function that is kept: partial as such costs nothing."""
    kept = _closure(program, blueprint, donated)

    def call(*args):
        return functools.partial(functools.partial(kept, args[0]), *args[1:])()

    return call


def _captured(program: Program, blueprint: Blueprint, *, leaves: Leaves, donated: tuple[int, ...]) -> Bound:
    """The closure holds the weights too: they become constants of the program, and later weights are ignored."""

    def captured(cache, *rest):
        return program(blueprint, leaves, cache, *rest)

    captured.__name__ = program.__name__
    kept = jax.jit(captured, donate_argnums=tuple(argument - 1 for argument in donated))
    return lambda _leaves, *args: kept(*args)


def _aot(program: Program, blueprint: Blueprint, donated: tuple[int, ...]) -> Bound:
    """Lowered and compiled ahead for each signature; the executable is called, without jit's dispatch."""
    jitted: Any = _closure(program, blueprint, donated)  # Any: a jitted function has `lower`, which Callable lacks
    executables: dict[object, Bound] = {}

    def call(*args):
        flat, treedef = jax.tree.flatten(args[CACHE_ARGUMENT:])
        signature = (treedef, tuple((leaf.shape, leaf.dtype) for leaf in flat))
        if signature not in executables:
            executables[signature] = jitted.lower(*args).compile()
        return executables[signature](*args)

    return call


def _eager(program: Program, blueprint: Blueprint, donated: tuple[int, ...]) -> Bound:
    """No jit at all, for debugging: loops run in Python, nothing is donated."""
    del donated

    def call(*args):
        with jax.disable_jit():
            return program(blueprint, *args)

    return call


def _closed(program: Program, blueprint: Blueprint) -> Program:
    def closure(leaves, cache, *rest):
        return program(blueprint, leaves, cache, *rest)

    closure.__name__ = program.__name__
    return closure


_BINDERS: dict[Strategy, Callable[[Program, Blueprint, tuple[int, ...]], Bound]] = {
    Strategy.closure: _closure,
    Strategy.partial: _partial,
    Strategy.partial_kept: _partial_kept,
    Strategy.aot: _aot,
    Strategy.eager: _eager,
}
