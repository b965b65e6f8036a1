"""The engine: weights, the bound programs, and the two halves of a generation. It owns no clock and prints nothing."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from jaxgen import caches
from jaxgen.caches.protocol import Cache
from jaxgen.engine import continuous_programs, placement, programs
from jaxgen.engine.batch import Batch, capacity_for, make_batch
from jaxgen.engine.binders import Bound, Program, bind
from jaxgen.engine.capture import Captured
from jaxgen.engine.programs import Blueprint, State
from jaxgen.models.sharding import layout_of, on_host
from jaxgen.models.structure import Leaves, Structure
from jaxgen.specs.cache import CacheSpec, Paged
from jaxgen.specs.mesh import Cut
from jaxgen.specs.run import Run
from jaxgen.specs.workload import Batching, Generate, Loop

OnStep = Callable[[State], None]
Written = tuple[list[int], str]
"""New tokens of a text, and why it ended."""


class Engine:
    """One arm's model, ready to generate.

    Attributes:
        run: the arm's spec, its cache as the model can have it.
        layout: of the mesh that the model is spread over; null on a single device.
        leaves: the weights; `place` puts them into fresh buffers.
        blueprint: what the programs are closed over.
        prefill_program, step_program, loop_program: the bound programs that `prefill` and `decode` call.
        admit_program, serve_program: those of continuous batching.
    """

    def __init__(self, run: Run, structure: Structure, leaves: Leaves):
        architecture = structure.architecture
        self.layout = layout_of(run.mesh, architecture)
        self.run = run = dataclasses.replace(
            run, cache=placement.served(run.cache, architecture, self.layout)
        )
        self.leaves = leaves
        self.blueprint = Blueprint(
            structure=dataclasses.replace(structure, layout=self.layout),
            activations=run.dtype.between,
            logits=run.dtype.logits.value,
            sampling=self.generation.sampling,
            eos_token_ids=() if self.generation.ignores_eos else architecture.eos_token_ids,
            capture=self.generation.capture,
            window=run.cache.window,
        )
        self.prefill_program = self._bind(programs.prefill)
        self.step_program = self._bind(programs.step)
        self.loop_program = self._bind(programs.loop)
        self.admit_program = self._bind(continuous_programs.admit)
        self.serve_program = self._bind(continuous_programs.serve)

    def _bind(self, program: Program) -> Bound:
        """A program under the run's jit strategy; nothing is compiled before it is called."""
        donate = caches.kind(self.run.cache).donated
        return bind(
            self.run.jit.strategy, program, self.blueprint, leaves=self.leaves, donate=donate
        )

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
        """Slots of a row in the cache that serves these prompts.

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
        """The prompts in batches of `workload.batch_size`, on the device.

        Args:
            prompts: token ids.
            new_tokens: the most per row; null takes `workload.max_new_tokens`. The cache keeps the size that the
                workload needs, so that fewer tokens run the same programs.
            limits: the most for each prompt, where they differ; `new_tokens` lowers them.
            capacity: slots of a row; null takes what these prompts need.

        Raises:
            UserError: the prompts do not fit the model, the cache or the buckets.
        """
        size = self.generation.batch_size
        slots = self.capacity(prompts, limits=limits) if capacity is None else capacity
        most = [limit if new_tokens is None else min(limit, new_tokens) for limit in limits]
        given = {"capacity": slots, "new_tokens": new_tokens}
        return [
            self._batch(prompts[at : at + size], first_row=at, limits=most[at : at + size], **given)
            for at in range(0, len(prompts), size)
        ]

    def bucket_batches(
        self, lengths: Sequence[int], *, capacity: int, new_tokens: int | None = None
    ) -> list[Batch]:
        """One full batch of each shape that the buckets allow, to compile ahead of any prompt; `lengths` are the token
        buckets, or those of the prompts."""
        work = self.generation
        return [
            self._batch(
                [[0] * length] * size, first_row=0, capacity=capacity, new_tokens=new_tokens
            )
            for length in lengths
            for size in work.batch_buckets or (work.batch_size,)
        ]

    def _batch(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        first_row: int,
        capacity: int,
        new_tokens: int | None,
        limits: Sequence[int] = (),
    ) -> Batch:
        """One batch of the run, with buffers for what is captured of it, if anything is."""
        work, blueprint = self.generation, self.blueprint
        batch = make_batch(
            prompts,
            first_row=first_row,
            capacity=capacity,
            new_tokens=work.max_new_tokens if new_tokens is None else new_tokens,
            cache=self.run.cache,
            seed=work.seed,
            limits=limits,
            token_buckets=work.token_buckets,
            batch_buckets=work.batch_buckets,
            layout=self.layout,
        )
        captured = Captured.empty(
            blueprint.capture,
            blueprint.structure.architecture,
            rows=batch.rows,
            steps=batch.new_tokens,
            dtype=blueprint.activations,
            layout=self.layout,
        )
        return batch if captured is None else batch.with_captured(captured)

    def empty_cache(self, batch: Batch) -> Cache:
        """A fresh cache for one run of a batch, ready on the device: it will be donated.

        A pool that rows take turns in may be too small for all of them at once: then it gets the pages that they need.
        """
        spec = self.run.cache
        if isinstance(spec, Paged) and self.generation.batching is Batching.continuous:
            spec = dataclasses.replace(spec, num_pages=None)
        cache = self.new_cache(
            spec,
            batch=batch.rows,
            capacity=batch.capacity,
            needed=[
                length + most
                for length, most in zip(batch.prompt_lengths, batch.limits, strict=True)
            ],
            prompt=batch.prompt.shape[1],
        )
        return jax.block_until_ready(cache.reading(batch.prompt.shape[1]))

    def new_cache(self, spec: CacheSpec, **sizes) -> Cache:
        """An empty cache in the arm's dtype and on its devices; `sizes` as of `placing.empty_cache`."""
        return placement.empty_cache(
            spec, self.blueprint.structure, dtype=self.run.dtype.kv.value, **sizes
        )

    def prefill(self, batch: Batch, cache: Cache) -> tuple[Cache, State]:
        """Run the prompts and choose the first tokens. `cache` is from `empty_cache`."""
        return self.prefill_program(self.leaves, cache, batch.prompt, batch.state)

    def decode(
        self,
        batch: Batch,
        cache: Cache,
        state: State,
        *,
        on_step: OnStep | None = None,
        every_step: bool = False,
    ) -> tuple[Cache, State]:
        """All the tokens after the first, on device in one loop per depth or one call per token from the host.

        Args:
            batch: says how many steps at which depth.
            cache, state: from `prefill`; the cache is donated.
            on_step: called after each step of the host loop with the state then.
            every_step: the host loop goes on when all rows are done: for compiling all there is.
        """
        if self.generation.loop is Loop.device and cache.static_shape:
            for segment in batch.segments:
                cache, state = self.loop_program(
                    self.leaves, cache.reading(segment.depth), state, segment.steps_on_device
                )
            return cache, state
        for segment in batch.segments:
            cache = cache.reading(segment.depth)
            for _ in range(segment.steps):
                if not every_step and on_host(state.done).all():
                    return cache, state
                cache, state = self.step_program(self.leaves, cache, state)
                if on_step is not None:
                    on_step(state)
        return cache, state

    def written(self, batch: Batch, state: State) -> list[Written]:
        """Each row's new tokens, and why it ended."""
        sequence, lengths = on_host(state.sequence), on_host(state.lengths)
        rows = [
            sequence[row, start : lengths[row]].tolist()
            for row, start in enumerate(batch.prompt_lengths)
        ]
        return [(tokens, self.finish_reason(tokens)) for tokens in rows]

    def finish_reason(self, tokens: Sequence[int]) -> str:
        """`eos` where the model ended a text itself, else `length`."""
        return "eos" if tokens and tokens[-1] in self.blueprint.eos_token_ids else "length"

    def place(self) -> None:
        """Copy the weights into fresh buffers, one leaf at a time: where they lie is worth a percent or two."""
        leaves, self.leaves = list(self.leaves), ()
        self.leaves = placement.moved(leaves)

    def next_logprobs(self, prompt: Sequence[int]) -> np.ndarray:
        """Log-probabilities (V,) of the token after `prompt`, through this arm's dtypes. For comparing, not timing."""
        alone = {
            "first_row": 0,
            "capacity": len(prompt) + 1,
            "new_tokens": 1,
            "seed": 0,
            "layout": self.layout,
        }
        batch = make_batch([list(prompt)], cache=self.run.cache, **alone)
        once = jax.jit(
            functools.partial(programs.next_logprobs, self.blueprint)
        )  # all traced, nothing donated
        return on_host(once(self.leaves, self.empty_cache(batch), batch.prompt, batch.state))[0]
