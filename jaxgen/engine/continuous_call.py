"""One call of continuous batching: every request, from its first token to its last.

The host decides which request has which row, and the device decodes all rows together until one of
them ends.
"""

import collections
import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from jaxgen.caches.admission import Allocation
from jaxgen.caches.protocol import SlotAssignment
from jaxgen.engine.batch import initial_state
from jaxgen.engine.capacity import padded_width
from jaxgen.engine.continuous import Continuous, Request
from jaxgen.engine.programs import State
from jaxgen.models.sharding import on_host, put

Clock = Callable[[], float]


@dataclasses.dataclass
class ServedRequest:
    """A request that has a row, and what becomes of it.

    Attributes:
        number: of its prompt.
        request: itself.
        allocation: what it has of the cache.
        first_s, end_s: when its first and its last token were there, by the clock of the call.
        tokens: the new ones.
    """

    number: int
    request: Request
    allocation: Allocation
    first_s: float
    end_s: float = 0.0
    tokens: tuple[int, ...] = ()


class Call:
    """One call.

    Args:
        shared: what all calls share.
        clock: in seconds.

    Attributes:
        cache, state: of all rows.
        manager: of the cache.
        served: the requests that have ended, in the order of their prompts once all have.
        most_rows: how many had a row at the same time at most.
        steps: decode steps that were run.
        held, taken: tokens in the cache with the newest, and slots that nobody else could have,
            each summed over the steps. A window keeps no more tokens than it has slots; what
            requests share counts for each in `held`.
    """

    def __init__(self, shared: Continuous, *, clock: Clock):
        self.cache, self.state = shared.empty()
        self.manager = shared.cache_manager()
        self.served: list[ServedRequest] = []
        self.most_rows = self.steps = self.held = self.taken = 0
        self._shared = shared
        self._clock = clock
        self._waiting = collections.deque(enumerate(shared.requests))
        self._active: dict[int, ServedRequest] = {}

    def run(self) -> None:
        """Serve all requests."""
        while self._waiting or self._active:
            self._fill_rows()
            done = on_host(self.state.done)
            lengths = on_host(self.state.lengths)
            # A request may end with its very first token: then its row is free before any decode.
            if not any(done[slot] for slot in self._active):
                done, lengths = self._decode(lengths)
            self._collect(done, lengths)
        self.served.sort(key=lambda served: served.number)

    def _fill_rows(self) -> None:
        """Give the free rows to waiting requests, in their order, as far as the cache has room."""
        # In the order of the prompts: a short request never overtakes a long one that waits for
        # room.
        for slot in range(self._shared.rows):
            if slot in self._active or not self._waiting:
                continue
            number, request = self._waiting[0]
            allocation = self.manager.allocate(request.tokens, request.most_tokens)
            if allocation is None:
                assert self._active  # else the whole pool is there for this one request
                return
            self._waiting.popleft()
            self._admit(slot, number, request, allocation)
            self.most_rows = max(self.most_rows, len(self._active))

    def _admit(
        self,
        slot: int,
        number: int,
        request: Request,
        allocation: Allocation,
    ) -> None:
        """Prefill a request into its row."""
        shared = self._shared
        layout = shared.engine.layout
        # What the shared pages hold already is not run again.
        cached = allocation.cached_tokens
        rest = request.tokens[cached:]
        # Padded, so that few widths and depths are compiled.
        width = padded_width(len(rest), limit=shared.capacity)
        depth = width
        if cached:
            needed = min(cached + width, shared.capacity)
            depth = shared.spec.depth(needed, shared.capacity)
        prompt = np.zeros((1, width), np.int32)
        prompt[0, : len(rest)] = rest
        arguments = (
            self.cache.with_depth(depth),
            put(prompt, layout),
            self._row_state(number, request),
            self._assignment(slot, allocation),
            self.state,
        )
        program = shared.engine.admit_program
        self.cache, self.state = shared.use("admit", program, f"{width}_{depth}", arguments)
        # The first token is there when its time is taken.
        jax.block_until_ready(self.state)
        first_s = self._clock()
        self._active[slot] = ServedRequest(number, request, allocation, first_s=first_s)

    def _assignment(self, slot: int, allocation: Allocation) -> SlotAssignment:
        """A row and its pages on the device; the number of pages is no page's number."""
        no_page = self._shared.num_pages
        layout = self._shared.engine.layout
        # Entries without a page are out of range: what is written there is dropped.
        table = np.full((self._shared.pages_per_row,), no_page, np.int32)
        table[: len(allocation.pages)] = allocation.pages
        source = target = no_page
        # The first page of its own begins as a copy of one that is shared in part.
        if allocation.source is not None:
            source = allocation.source
            target = allocation.pages[allocation.shared]
        return SlotAssignment(
            slot=put(np.int32(slot), layout),
            table=put(table, layout),
            cached_tokens=put(np.int32(allocation.cached_tokens), layout),
            source=put(np.int32(source), layout),
            target=put(np.int32(target), layout),
        )

    def _row_state(self, number: int, request: Request) -> State:
        """The state of one row before its prefill."""
        sequence = np.zeros((1, self._shared.capacity), np.int32)
        sequence[0, : len(request.tokens)] = request.tokens
        return initial_state(
            sequence,
            lengths=np.array([len(request.tokens)]),
            limits=[request.new_tokens],
            first_row=number,
            seed=self._shared.engine.generation.seed,
            layout=self._shared.engine.layout,
        )

    def _decode(self, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decode until a row ends, or until the next depth.

        It returns `done` and `lengths` of all rows; `lengths` are those before.
        """
        shared, layout = self._shared, self._shared.engine.layout
        # Rows without a request are computed along, and count for nothing.
        active = np.isin(np.arange(shared.rows), list(self._active))
        longest = int(lengths[active].max())
        depth = shared.spec.depth(longest, shared.capacity)
        deepest = shared.spec.depth(shared.capacity, shared.capacity)
        # The last step at a depth sees exactly `depth` slots; at the deepest the rows' ends count.
        steps = depth - longest + 1 if depth < deepest else shared.capacity
        arguments = (
            self.cache.with_depth(depth),
            self.state,
            put(active, layout),
            put(np.int32(steps), layout),
        )
        # The cache is donated: from here on only the returned one is valid.
        self.cache, self.state = shared.use(
            "serve",
            shared.engine.serve_program,
            str(depth),
            arguments,
        )
        done = on_host(self.state.done)
        after = on_host(self.state.lengths)
        self._count(lengths, steps=int((after - lengths)[active].max()))
        return done, after

    def _count(self, lengths: np.ndarray, *, steps: int) -> None:
        """Add up what the steps held and took of the cache; `lengths` are those before."""
        shared = self._shared
        self.steps += steps
        for slot, served in self._active.items():
            # What the host knows of the lengths is enough: nothing is read back from the device for
            # it.
            slots = shared.spec.reserved([served.request.most_tokens], shared.capacity)
            self.held += _held_tokens(int(lengths[slot]), steps=steps, slots=slots)
        self.taken += steps * self.manager.slots()

    def _collect(self, done: np.ndarray, lengths: np.ndarray) -> None:
        """Take the requests that have ended off their rows."""
        sequence = on_host(self.state.sequence)
        for slot, served in list(self._active.items()):
            if not done[slot]:
                continue
            start = len(served.request.tokens)
            # The row keeps its old tokens until the next request overwrites them.
            served.tokens = tuple(sequence[slot, start : lengths[slot]].tolist())
            served.end_s = self._clock()
            # Its pages may go to the next request: `mask_rows` keeps this row from writing to them.
            self.manager.free(served.allocation)
            del self._active[slot]
            self.served.append(served)


def _held_tokens(length: int, *, steps: int, slots: int) -> int:
    """Tokens that a row of `slots` slots holds, summed over its steps.

    The first of them makes the tokens `length`.

    Example:
        >>> _held_tokens(5, steps=4, slots=7)  # 5 + 6 + 7 + 7
        25
    """
    # While the row grows each step holds one token more: an arithmetic series.
    growing = min(max(slots - length, 0), steps)
    grown = growing * length + growing * (growing - 1) // 2
    full = (steps - growing) * slots  # the other steps see all slots full
    return grown + full
