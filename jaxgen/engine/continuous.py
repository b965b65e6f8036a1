"""Continuous batching: a fixed number of rows, each given to the next prompt as soon as its text has ended."""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxgen.caches.admission import Allocation, CacheManager, cache_manager
from jaxgen.caches.protocol import SlotAssignment, SlottedCache
from jaxgen.engine.batch import initial_state, padded_width
from jaxgen.engine.engine import Engine
from jaxgen.engine.program_use import Use, shapes_of
from jaxgen.engine.programs import State
from jaxgen.models.sharding import Layout, on_host, put
from jaxgen.specs.cache import Fixed, Paged

Clock = Callable[[], float]


@dataclasses.dataclass(frozen=True)
class Request:
    """One prompt and how many tokens it may get."""

    tokens: tuple[int, ...]
    new_tokens: int

    @property
    def most(self) -> int:
        """Tokens of the whole text at its longest."""
        return len(self.tokens) + self.new_tokens


@dataclasses.dataclass
class Text:
    """A request on its way, and what becomes of it.

    Attributes:
        number: of its prompt.
        request: itself.
        room: what it has of the cache.
        first_s, end_s: when its first and its last token were there, by the clock of the call.
        tokens: the new ones.
    """

    number: int
    request: Request
    room: Allocation
    first_s: float
    end_s: float = 0.0
    tokens: tuple[int, ...] = ()


class Continuous:
    """What all calls share: requests, programs, shapes.

    Args:
        engine: the arm's.
        requests: in the order in which they are begun.

    Attributes:
        capacity: slots that a row may use.
        rows: that are computed together.
        uses: the programs as the calls so far have used them, by name.

    Raises:
        UserError: a prompt does not fit the model or the cache.
    """

    def __init__(self, engine: Engine, requests: Sequence[Request]):
        work, spec = engine.generation, engine.run.cache
        assert isinstance(spec, Fixed | Paged)  # the run's spec refuses others
        limits = [request.new_tokens for request in requests]
        self.engine = engine
        self.spec = spec
        self.requests = tuple(requests)
        self.capacity = engine.capacity([request.tokens for request in requests], limits=limits)
        self.rows = min(work.batch_size, len(requests))
        self.uses: dict[str, Use] = {}
        longest = max(requests, key=lambda request: request.most)
        self.rooms().allocate(
            longest.tokens, longest.most
        )  # a pool too small for one text is too small for all

    @property
    def num_pages(self) -> int:
        """Of the pool, the reserved one included; 0 for a cache without pages."""
        return self.spec.pool(self.rows, self.capacity)

    def rooms(self) -> CacheManager:
        """All room there is, for one call."""
        share = self.engine.generation.shared_prefix
        return cache_manager(self.spec, rows=self.rows, capacity=self.capacity, share=share)

    def empty(self) -> tuple[SlottedCache, State]:
        """Cache and state of one call, ready on the device; no row has a text."""
        sizes = {"batch": self.rows, "capacity": self.capacity, "needed": [0] * self.rows}
        cache: Any = self.engine.new_cache(self.spec, **sizes)
        given = {"first_row": 0, "seed": self.engine.generation.seed, "layout": self.engine.layout}
        sequence, lengths = (
            np.zeros((self.rows, self.capacity), np.int32),
            np.ones((self.rows,), np.int32),
        )
        state = initial_state(sequence, lengths=lengths, limits=(), **given)
        return jax.block_until_ready((cache, state))

    def used(self) -> list[Use]:
        """The programs as the calls so far have used them, the deepest decode last."""
        return sorted(
            self.uses.values(), key=lambda use: int(use.variant) if use.program == "serve" else 0
        )

    def use(self, name: str, program: Any, variant: str, arguments: tuple[Any, ...]) -> Any:
        """Call a program; its first use of each shape is remembered."""
        key = f"{name}_{variant}"
        if key not in self.uses:
            self.uses[key] = Use(
                name, program, shapes_of((self.engine.leaves, *arguments)), variant=variant
            )
        return program(self.engine.leaves, *arguments)


class Call:
    """One call: every request, from its first token to its last.

    Args:
        shared: what all calls share.
        clock: in seconds.

    Attributes:
        texts: those that have ended, in the order of their prompts once all have.
        most_rows: how many went on at the same time at most.
        steps: decode steps that were run.
        held, taken: tokens in the cache with the newest, and slots that nobody else could have, each summed over the
            steps. A window keeps no more tokens than it has slots; what texts share counts for each in `held`.
    """

    def __init__(self, shared: Continuous, *, clock: Clock):
        self.cache, self.state = shared.empty()
        self.rooms = shared.rooms()
        self.texts: list[Text] = []
        self.most_rows = self.steps = self.held = self.taken = 0
        self._shared = shared
        self._clock = clock
        self._waiting = collections.deque(enumerate(shared.requests))
        self._active: dict[int, Text] = {}

    def run(self) -> None:
        """Serve all requests."""
        while self._waiting or self._active:
            self._fill()
            done, lengths = on_host(self.state.done), on_host(self.state.lengths)
            if not any(done[slot] for slot in self._active):
                done, lengths = self._go_on(lengths)
            self._collect(done, lengths)
        self.texts.sort(key=lambda text: text.number)

    def _fill(self) -> None:
        """Begin as many of the waiting texts as there are rows and room for, in their order."""
        for slot in range(self._shared.rows):
            if slot in self._active or not self._waiting:
                continue
            number, request = self._waiting[0]
            room = self.rooms.allocate(request.tokens, request.most)
            if room is None:
                assert self._active  # else the whole pool is there for this one text
                return
            self._waiting.popleft()
            self._admit(slot, number, request, room)
            self.most_rows = max(self.most_rows, len(self._active))

    def _admit(self, slot: int, number: int, request: Request, room: Allocation) -> None:
        shared, capacity = self._shared, self._shared.capacity
        rest = request.tokens[room.cached_tokens :]
        width = padded_width(len(rest), limit=capacity)
        depth = (
            shared.spec.depth(min(room.cached_tokens + width, capacity), capacity)
            if room.cached_tokens
            else width
        )
        prompt, sequence = np.zeros((1, width), np.int32), np.zeros((1, capacity), np.int32)
        prompt[0, : len(rest)] = rest
        sequence[0, : len(request.tokens)] = request.tokens
        text = initial_state(
            sequence,
            lengths=np.array([len(request.tokens)]),
            limits=[request.new_tokens],
            first_row=number,
            seed=shared.engine.generation.seed,
            layout=shared.engine.layout,
        )
        pages = {"num_pages": shared.num_pages, "table": self._pages_in_row()}
        place = _placed(slot, room, layout=shared.engine.layout, **pages)
        arguments = (
            self.cache.with_depth(depth),
            put(prompt, shared.engine.layout),
            text,
            place,
            self.state,
        )
        self.cache, self.state = shared.use(
            "admit", shared.engine.admit_program, f"{width}_{depth}", arguments
        )
        jax.block_until_ready(self.state)
        self._active[slot] = Text(number, request, room, first_s=self._clock())

    def _go_on(self, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decode until a text ends, or until the next depth."""
        shared = self._shared
        active = np.isin(np.arange(shared.rows), list(self._active))
        longest = int(lengths[active].max())
        depth, whole = (
            shared.spec.depth(needed, shared.capacity) for needed in (longest, shared.capacity)
        )
        left = (
            depth - longest + 1 if depth < whole else shared.capacity
        )  # the last of them sees `depth` slots
        steps, going = (put(each, shared.engine.layout) for each in (np.int32(left), active))
        arguments = (self.cache.with_depth(depth), self.state, going, steps)
        self.cache, self.state = shared.use(
            "serve", shared.engine.serve_program, str(depth), arguments
        )
        done, after = on_host(self.state.done), on_host(self.state.lengths)
        run = int((after - lengths)[active].max())
        self.steps += run
        for slot, text in self._active.items():
            room = shared.spec.reserved([text.request.most], shared.capacity)
            self.held += _held(int(lengths[slot]), steps=run, room=room)
        self.taken += run * self.rooms.slots()
        return done, after

    def _collect(self, done: np.ndarray, lengths: np.ndarray) -> None:
        """Take the texts that have ended off their rows."""
        sequence = on_host(self.state.sequence)
        for slot, text in list(self._active.items()):
            if done[slot]:
                text.tokens = tuple(
                    sequence[slot, len(text.request.tokens) : lengths[slot]].tolist()
                )
                text.end_s = self._clock()
                self.rooms.free(text.room)
                del self._active[slot]
                self.texts.append(text)

    def _pages_in_row(self) -> int:
        return self._shared.spec.pages_per_row(self._shared.capacity)


def _held(length: int, *, steps: int, room: int) -> int:
    """Tokens that a row of `room` slots holds, summed over its steps, the first of which makes them `length`.

    Example:
        >>> _held(5, steps=4, room=7)  # 5 + 6 + 7 + 7
        25
    """
    growing = min(max(room - length, 0), steps)  # the others see the room full
    return growing * length + growing * (growing - 1) // 2 + (steps - growing) * room


def _placed(
    slot: int, room: Allocation, *, num_pages: int, table: int, layout: Layout | None
) -> SlotAssignment:
    """A room on the device; `num_pages` is no page's number."""
    listed = np.full((table,), num_pages, np.int32)
    listed[: len(room.pages)] = room.pages
    source, target = (
        (num_pages, num_pages) if room.source is None else (room.source, room.pages[room.shared])
    )
    numbers = {
        "slot": slot,
        "cached_tokens": room.cached_tokens,
        "source": source,
        "target": target,
    }
    return SlotAssignment(
        table=put(listed, layout),
        **{name: put(np.int32(value), layout) for name, value in numbers.items()},
    )
