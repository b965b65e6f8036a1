"""One arm in a worker: where its weights lie, who shares them, and what it says of itself."""

import dataclasses
import math
import weakref

import pytest
from small_models import FAMILIES, run

from jaxgen.arm import LoadedArm
from jaxgen.checkpoints.progress import silent
from jaxgen.spec.cache import Dynamic, Fixed, NoCache
from jaxgen.spec.dtype import Dtype, Float
from jaxgen.spec.prompts import Synthetic


@pytest.fixture
def load(ledger):
    """Loads an arm beside others."""

    def loaded(*, others=(), **changed):
        spec = dataclasses.replace(run(**changed), prompts=Synthetic(count=2, length=5))
        return LoadedArm(spec, ledger=ledger, others=dict(enumerate(others)), progress=silent)

    return loaded


def same_buffers(one, other):
    return all(a is b for a, b in zip(one.engine.leaves, other.engine.leaves, strict=True))


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")], ids=" then ".join)
def test_arms_of_equal_weights_share_one_copy_wherever_it_is_placed(order, load):
    first = load()
    arms = {"first": first, "second": load(others=[first], cache=NoCache())}
    before = weakref.ref(first.engine.leaves[0])
    for _ in range(2):
        for name in order:
            arms[name].place()
        assert same_buffers(arms["first"], arms["second"])
    assert before() is None


def test_weights_of_another_dtype_are_not_shared(load):
    first = load()
    second = load(others=[first], dtype=Dtype(weights=Float.bfloat16))
    assert not any(a is b for a, b in zip(first.engine.leaves, second.engine.leaves, strict=True))
    assert second.facts()["weights"]["bytes"] * 2 == first.facts()["weights"]["bytes"]


def test_an_arm_holds_its_weights_once(load):
    arm = load()
    before = [weakref.ref(leaf) for leaf in arm.engine.leaves]
    arm.place()
    assert [reference() for reference in before] == [None] * len(before)


def expected(slots):
    llama = FAMILIES["llama"]
    return 2 * llama.num_layers * 2 * math.prod((slots, llama.num_kv_heads, llama.head_dim)) * 4


@pytest.mark.parametrize(
    ("cache", "nbytes"), [(Fixed(max_len=40), expected(40)), (NoCache(), 0), (Dynamic(), None)], ids=repr
)
def test_a_cache_that_grows_has_no_size_to_tell(cache, nbytes, load):
    assert load(cache=cache).facts()["kv_cache_bytes"] == nbytes
