"""Each fault does what its spec says, and nothing compiles for it inside a trial."""

import re
import time

import numpy as np
import pytest

from jaxgen.errors import UserError
from jaxgen.specs.fault import Fault
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.generate import Generating
from jaxgen.workloads.prompts import Prompt
from support import small_models
from support.small_models import PROMPTS

BYTES = Codec(None, vocab_size=97, random=True)


@pytest.fixture(scope="module")
def model():
    return small_models.engine(small_models.run(max_new_tokens=3))


@pytest.fixture
def faults():
    return Faults(Fault())


@pytest.fixture
def workload(model, faults):
    ready = Generating(model, [Prompt(tokens=tokens) for tokens in PROMPTS], BYTES, faults=faults)
    ready.warm_up(0, new_tokens=None)
    return ready


def written(workload):
    return [row["tokens"] for row in workload.outputs(0, workload.call(0))]


def test_without_a_fault_nothing_is_changed(model, workload, faults, ledger):
    mark = ledger.mark()
    assert written(workload) == small_models.tokens(model)
    assert ledger.since(mark).events == 0
    assert faults.weights(model.leaves) is model.leaves


def test_a_recompile_happens_in_every_call_and_has_a_name(workload, faults, ledger):
    faults.fault = Fault(recompile=True)
    for _ in range(3):
        mark = ledger.mark()
        workload.call(0)
        assert ledger.since(mark).functions == {"recompiled_on_purpose": 1}


def test_one_token_is_wrong_and_telling_so_compiles_nothing(workload, faults, ledger):
    right = written(workload)
    faults.fault = Fault(wrong_token=True)
    mark = ledger.mark()
    wrong = written(workload)
    assert ledger.since(mark).events == 0
    apart = [
        (row, place)
        for row in range(3)
        for place in range(3)
        if right[row][place] != wrong[row][place]
    ]
    assert apart == [(0, 2)]
    assert 0 <= wrong[0][2] < 97


def test_one_tensor_is_nan(model):
    broken = Faults(Fault(nan_weights=True)).weights(model.leaves)
    assert np.isnan(broken[0]).all()
    assert (broken[0].shape, broken[0].dtype) == (model.leaves[0].shape, model.leaves[0].dtype)
    assert all(one is other for one, other in zip(broken[1:], model.leaves[1:], strict=True))


def test_a_slow_clock_makes_everything_look_fast(workload, faults):
    faults.fault = Fault(clock=1e-4)
    start = time.perf_counter()
    (timed,) = workload.call(0)
    assert 0 < timed.ttft_s < timed.latency_s < 1e-3 * (time.perf_counter() - start)


def test_a_slowdown_that_comes_later_compiles_outside_the_trial(workload, faults, ledger):
    faults.change(Fault(slowdown=0.05))
    mark = ledger.mark()
    workload.call(0)
    assert ledger.since(mark).events == 0


def test_the_extra_work_lasts_its_share_of_the_call(faults):
    faults.change(Fault(slowdown=2.0))
    pieces, since = [], time.perf_counter() - 0.02
    work = faults._piece
    faults._piece = lambda: (work(), pieces.append(1))
    faults.after_call((), since)
    assert (
        time.perf_counter() - since > 0.055
    )  # 0.02 s and twice as much more, but for half a piece
    assert pieces


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"slowdown": -0.1}, "fault.slowdown=-0.1 must be 0 or more and below 10"),
        ({"slowdown": 5e300}, "fault.slowdown=5e+300 must be"),
        ({"clock": 0.0}, "fault.clock=0.0 must be a positive number (1 is a true clock)"),
        ({"clock": float("nan"), "slowdown": float("nan")}, "fault.slowdown=nan"),
    ],
)
def test_an_impossible_fault_is_refused(given, message):
    with pytest.raises(UserError, match=re.escape(message)):
        Fault(**given)
