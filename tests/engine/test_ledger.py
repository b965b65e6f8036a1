"""What the ledger makes of compile events: how many, and how long they took."""

import time

import jax
import pytest

from jaxgen.engine.ledger import Entry, Window


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([(0.0, 1.0), (2.0, 3.0)], 2.0),
        ([(0.2, 0.4), (0.5, 0.9), (0.0, 1.0)], 1.0),
        ([(0.0, 1.0), (0.5, 1.5)], 1.5),
        ([], 0.0),
    ],
    ids=["apart", "nested", "overlapping", "none"],
)
def test_what_is_traced_inside_another_trace_is_counted_once(spans, seconds):
    entries = tuple(Entry("trace", "step", ended - began, ended) for began, ended in spans)
    other = Entry("lower", "step", 9.0, 9.0)
    assert Window((*entries, other)).seconds("trace") == pytest.approx(seconds)


def test_nothing_is_traced_for_longer_than_the_call_took(ledger):
    step = jax.jit(lambda x: x + 1)
    for _ in range(20):
        step = jax.jit(lambda x, inner=step: inner(x) * 2)
    mark, start_s = ledger.mark(), time.perf_counter()
    jax.jit(step).lower(1.0)
    assert 0 < ledger.since(mark).seconds("trace") <= time.perf_counter() - start_s
