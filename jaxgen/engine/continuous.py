"""Continuous batching: a fixed number of rows, each given to the next prompt as soon as it is free.

Here is what all calls share: the requests, the programs and their shapes. `continuous_call` serves
the requests once.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxgen.caches.admission import CacheManager, cache_manager
from jaxgen.caches.protocol import SlottedCache
from jaxgen.engine.batch import initial_state
from jaxgen.engine.engine import Engine
from jaxgen.engine.program_use import Use, shapes_of
from jaxgen.engine.programs import State
from jaxgen.specs.cache import Fixed, Paged


@dataclasses.dataclass(frozen=True)
class Request:
    """One prompt and how many tokens it may get."""

    tokens: tuple[int, ...]
    new_tokens: int

    @property
    def most_tokens(self) -> int:
        """Tokens of prompt and outputs at their longest."""
        return len(self.tokens) + self.new_tokens


class Continuous:
    """What all calls share: requests, programs, shapes.

    Args:
        engine: the arm's.
        requests: in the order in which they are served.

    Attributes:
        spec: of the cache.
        capacity: slots that a row may use.
        rows: that are computed together.
        num_pages: of the pool, the reserved one included; 0 for a cache without pages.
        pages_per_row: that a row's table has; 0 for a cache without pages.
        uses: the programs as the calls so far have used them, by name.

    Raises:
        UserError: a prompt does not fit the model or the cache.
    """

    def __init__(self, engine: Engine, requests: Sequence[Request]):
        work, spec = engine.generation, engine.run.cache
        assert isinstance(spec, Fixed | Paged)  # the run's spec refuses others
        prompts = [request.tokens for request in requests]
        limits = [request.new_tokens for request in requests]
        self.engine = engine
        self.spec = spec
        self.requests = tuple(requests)
        self.capacity = engine.capacity(prompts, limits=limits)
        # Fewer requests than rows: the others would be computed for nothing.
        self.rows = min(work.batch_size, len(requests))
        self.num_pages = spec.pool(self.rows, self.capacity)
        self.pages_per_row = spec.pages_per_row(self.capacity)
        self.uses: dict[str, Use] = {}
        # A pool that is too small for the longest request is refused here, before any call.
        longest = max(requests, key=lambda request: request.most_tokens)
        self.cache_manager().allocate(longest.tokens, longest.most_tokens)

    def cache_manager(self) -> CacheManager:
        """Return the manager of an empty cache, for one call."""
        share = self.engine.generation.shared_prefix
        return cache_manager(
            self.spec,
            rows=self.rows,
            capacity=self.capacity,
            share=share,
        )

    def empty(self) -> tuple[SlottedCache, State]:
        """Return cache and state of one call, ready on the device; no row has a prompt."""
        # No row needs anything yet: pages are assigned when a request gets its row.
        cache: Any = self.engine.new_cache(
            self.spec,
            batch=self.rows,
            capacity=self.capacity,
            needed=[0] * self.rows,
        )
        state = initial_state(
            np.zeros((self.rows, self.capacity), np.int32),
            lengths=np.ones((self.rows,), np.int32),
            limits=(),
            first_row=0,
            seed=self.engine.generation.seed,
            layout=self.engine.layout,
        )
        return jax.block_until_ready((cache, state))

    def used(self) -> list[Use]:
        """Return the programs as the calls so far have used them, the deepest decode last."""

        def depth(use: Use) -> int:
            if use.program == "serve":
                return int(use.variant)
            return 0

        # The deepest decode last: what is examined is the last program.
        return sorted(self.uses.values(), key=depth)

    def use(
        self,
        name: str,
        program: Any,
        variant: str,
        arguments: tuple[Any, ...],
    ) -> Any:
        """Call a program; its first use of each shape is remembered.

        Args:
            name: of the program.
            program: as the engine has bound it.
            variant: what tells this use from others, such as the depth.
            arguments: all but the weights.

        Returns:
            What the program returns.
        """
        key = f"{name}_{variant}"
        if key not in self.uses:
            # Only the shapes: the cache is donated to the call.
            shapes = shapes_of((self.engine.leaves, *arguments))
            self.uses[key] = Use(name, program, shapes, variant=variant)
        return program(self.engine.leaves, *arguments)
