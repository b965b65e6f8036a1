"""The engine: weights, the bound programs, and the two halves of a generation.

It owns no clock and prints nothing.
"""

import dataclasses
from collections.abc import Sequence

import jax

from jaxgen import caches
from jaxgen.caches.protocol import Cache
from jaxgen.engine import continuous_programs, placement, programs
from jaxgen.engine.batch import Batch
from jaxgen.engine.binders import Bound, Program, bind
from jaxgen.engine.blueprint import blueprint_of
from jaxgen.engine.capacity import capacity_for
from jaxgen.engine.programs import State
from jaxgen.engine.run_batch import run_batch
from jaxgen.models.sharding import layout_of, on_host
from jaxgen.models.structure import Leaves, Structure
from jaxgen.specs.cache import CacheSpec
from jaxgen.specs.mesh import Cut
from jaxgen.specs.run import Run
from jaxgen.specs.workload import Batching, Generate, Loop

Output = tuple[list[int], str]
"""The new tokens of a row, and why it ended."""


class Engine:
    """One arm's model, ready to generate.

    Attributes:
        run: the arm's spec, its cache as the model can have it.
        layout: of the mesh that the model is spread over; null on a single device.
        leaves: the weights; `move_to_new_buffers` copies them.
        blueprint: what the programs are closed over.
        prefill_program, step_program, loop_program: the bound programs that `prefill` and `decode`
            call.
        admit_program, serve_program: those of continuous batching.
    """

    def __init__(self, run: Run, structure: Structure, leaves: Leaves):
        architecture = structure.architecture
        self.layout = layout_of(run.mesh, architecture)
        # From here on the run's cache is the one that the model really has.
        cache = placement.resolve_cache_spec(run.cache, architecture, self.layout)
        self.run = dataclasses.replace(run, cache=cache)
        self.leaves = leaves
        structure = dataclasses.replace(structure, layout=self.layout)
        self.blueprint = blueprint_of(self.run, structure, self.generation)
        # Bound once and kept: a jit inside a function that is called again would compile again.
        self.prefill_program = self._bind(programs.prefill)
        self.step_program = self._bind(programs.step)
        self.loop_program = self._bind(programs.loop)
        self.admit_program = self._bind(continuous_programs.admit)
        self.serve_program = self._bind(continuous_programs.serve)

    def _bind(self, program: Program) -> Bound:
        """A program under the run's jit strategy; nothing is compiled before it is called."""
        strategy = self.run.jit.strategy
        donate = caches.kind(self.run.cache).donated
        return bind(strategy, program, self.blueprint, leaves=self.leaves, donate=donate)

    @property
    def cut(self) -> Cut:
        """In how many parts the model is cut: what one device has and does is counted by it."""
        return Cut() if self.layout is None else self.layout.cut

    @property
    def generation(self) -> Generate:
        """How text is generated: the run's workload, or the defaults where that is another one."""
        return self.run.workload if isinstance(self.run.workload, Generate) else Generate()

    def capacity(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        new_tokens: int | None = None,
        limits: Sequence[int] = (),
    ) -> int:
        """Return the slots of a row in the cache that serves these prompts.

        Args:
            prompts: token ids.
            new_tokens: the most per row; null takes `workload.max_new_tokens`.
            limits: the most for each prompt, where they differ.

        Raises:
            UserError: the prompts do not fit the model, the cache or the buckets.
        """
        return capacity_for(
            prompts,
            new_tokens=self.generation.max_new_tokens if new_tokens is None else new_tokens,
            cache=self.run.cache,
            architecture=self.blueprint.structure.architecture,
            limits=limits,
            token_buckets=self.generation.token_buckets,
            depths=self.generation.depths,
        )

    def batches(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        new_tokens: int | None = None,
        limits: Sequence[int] = (),
        capacity: int | None = None,
    ) -> list[Batch]:
        """Put the prompts on the device, in batches of `workload.batch_size`.

        Args:
            prompts: token ids.
            new_tokens: the most per row; null takes `workload.max_new_tokens`. The cache keeps the
                size that the workload needs, so that fewer tokens run the same programs.
            limits: the most for each prompt, where they differ; `new_tokens` lowers them.
            capacity: slots of a row; null takes what these prompts need.

        Raises:
            UserError: the prompts do not fit the model, the cache or the buckets.
        """
        if capacity is None:
            capacity = self.capacity(prompts, limits=limits)
        # Fewer tokens for a short warm-up: the capacity stays that of the whole run.
        if new_tokens is not None:
            limits = [min(limit, new_tokens) for limit in limits]
        size = self.generation.batch_size
        batches = []
        for first in range(0, len(prompts), size):
            rows = slice(first, first + size)
            batch = self._batch(
                prompts[rows],
                first_row=first,
                limits=limits[rows],
                capacity=capacity,
                new_tokens=new_tokens,
            )
            batches.append(batch)
        return batches

    def bucket_batches(
        self, lengths: Sequence[int], *, capacity: int, new_tokens: int | None = None
    ) -> list[Batch]:
        """Return one full batch of each shape that the buckets allow.

        They are for compiling ahead of any prompt.

        Args:
            lengths: the token buckets, or the lengths of the prompts.
            capacity: slots of a row.
            new_tokens: the most per row; null takes `workload.max_new_tokens`.
        """
        work = self.generation
        batches = []
        for length in lengths:
            for size in work.batch_buckets or (work.batch_size,):
                # Any tokens will do: only the shapes are compiled.
                zeros = [[0] * length] * size
                full = self._batch(zeros, first_row=0, capacity=capacity, new_tokens=new_tokens)
                batches.append(full)
        return batches

    def _batch(self, prompts: Sequence[Sequence[int]], **sizes) -> Batch:
        return run_batch(
            prompts,
            workload=self.generation,
            cache=self.run.cache,
            blueprint=self.blueprint,
            **sizes,
        )

    def empty_cache(self, batch: Batch) -> Cache:
        """Return a fresh cache for one run of a batch, ready on the device: it will be donated."""
        spec = self.run.cache
        if self.generation.batching is Batching.continuous:
            # Its pool, which rows take turns in, may be too small for all rows of a batch at once.
            spec = placement.with_full_pool(spec)
        width = batch.prompt.shape[1]
        sizes = {"batch": batch.rows, "capacity": batch.capacity, "prompt": width}
        cache = self.new_cache(spec, needed=batch.needed, **sizes)
        return jax.block_until_ready(cache.with_depth(width))

    def new_cache(self, spec: CacheSpec, **sizes) -> Cache:
        """Return an empty cache in the arm's dtype; `sizes` as of `placement.empty_cache`."""
        dtype = self.run.dtype.kv.value
        return placement.empty_cache(spec, self.blueprint.structure, dtype=dtype, **sizes)

    def prefill(self, batch: Batch, cache: Cache) -> tuple[Cache, State]:
        """Run the prompts and choose the first tokens. `cache` is from `empty_cache`."""
        return self.prefill_program(self.leaves, cache, batch.prompt, batch.state)

    def decode(
        self,
        batch: Batch,
        cache: Cache,
        state: State,
        *,
        every_step: bool = False,
    ) -> tuple[Cache, State]:
        """Choose all the tokens after the first.

        The device loop is one call per depth, the host loop one call per token.

        Args:
            batch: says how many steps at which depth.
            cache, state: from `prefill`; the cache is donated.
            every_step: the host loop goes on when all rows are done: for compiling all there is.
        """
        on_device = self.generation.loop is Loop.device and cache.static_shape
        for segment in batch.segments:
            # Static: no array moves, but each depth runs a program of its own.
            cache = cache.with_depth(segment.depth)
            if on_device:
                cache, state = self.loop_program(
                    self.leaves,
                    cache,
                    state,
                    segment.steps_on_device,
                )
                continue
            for _ in range(segment.steps):
                # The device loop sees by itself that all rows are done; here the host has to ask.
                if not every_step and on_host(state.done).all():
                    return cache, state
                cache, state = self.step_program(self.leaves, cache, state)
        return cache, state

    def outputs(self, batch: Batch, state: State) -> list[Output]:
        """Return each row's new tokens, and why it ended."""
        sequence = on_host(state.sequence)
        lengths = on_host(state.lengths)
        outputs = []
        # Rows behind these only fill the batch up.
        for row, start in enumerate(batch.prompt_lengths):
            tokens = sequence[row, start : lengths[row]].tolist()
            outputs.append((tokens, self.finish_reason(tokens)))
        return outputs

    def finish_reason(self, tokens: Sequence[int]) -> str:
        """Return `eos` where the model itself ended the row, else `length`."""
        return "eos" if tokens and tokens[-1] in self.blueprint.eos_token_ids else "length"

    def move_to_new_buffers(self) -> None:
        """Copy the weights, leaf by leaf: where they lie in memory is worth a percent or two."""
        # The engine lets go first: else every leaf would have a second owner and stay alive.
        leaves, self.leaves = list(self.leaves), ()
        self.leaves = placement.copy_leaves(leaves)
