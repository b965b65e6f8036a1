"""What an engine's programs are: their identity, and what it costs to look at them."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jaxgen import caches
from jaxgen.engine.hlo import inspection
from jaxgen.engine.hlo.inspection import dump, examine, meanings
from jaxgen.engine.program_use import generation_uses
from jaxgen.measure import roofline
from jaxgen.measure.byte_counts import ElementBytes
from jaxgen.specs.cache import CacheSpec, Dynamic, Fixed, KVLayout
from jaxgen.specs.jit import Strategy
from jaxgen.specs.workload import Loop
from support.small_models import CACHES, DEEP_FAMILIES, PROMPTS, engine, run, tokens, with_loop

NEW_TOKENS = 3
CACHE = Fixed(bucket=0)
SAME_PROGRAM = [Strategy.closure, Strategy.partial, Strategy.partial_kept, Strategy.aot]
KEPT = [strategy for strategy in Strategy if strategy not in (Strategy.partial, Strategy.eager)]
pytestmark = pytest.mark.filterwarnings(
    "ignore:A large amount of constants were captured:UserWarning"
)

# XLA counts element-wise work too, at most a fifth here; and activations, as many bytes as the
# weights in so narrow a model.
ELEMENT_WISE, ACTIVATIONS = 1.2, 3.0

IN_ANOTHER_PROCESS = """
import conftest
from engine.hlo.test_inspection import examined
print(examined()["stablehlo_sha256"])
"""


@functools.cache  # what is compiled to be looked at is compiled once
def looked_at():
    """An engine that no test changes, and whose compiles no test counts."""
    return engine(run(cache=CACHE, max_new_tokens=NEW_TOKENS))


def examined(*, cache: CacheSpec = CACHE, jit=Strategy.closure, warm=False, **others):
    model = engine(run(cache=cache, jit=jit, max_new_tokens=NEW_TOKENS, **others))
    if warm:
        tokens(model)
    (batch,) = model.batches(PROMPTS)
    return examine(model, generation_uses(model, batch))


@pytest.fixture(scope="module")
def facts():
    """Those of each strategy."""
    return {strategy: examined(jit=strategy, warm=strategy in KEPT) for strategy in Strategy}


def ids(value):
    return value.value


def test_strategies_that_bind_the_same_program_have_one_hash(facts):
    assert len({facts[strategy]["stablehlo_sha256"] for strategy in SAME_PROGRAM}) == 1
    assert len({facts[strategy]["module_bytes"] for strategy in SAME_PROGRAM}) == 1


def test_captured_weights_are_part_of_the_program(facts):
    closure, captured = facts[Strategy.closure], facts[Strategy.captured]
    weights = sum(leaf.nbytes for leaf in engine(run()).leaves)
    assert captured["stablehlo_sha256"] != closure["stablehlo_sha256"]
    assert captured["module_bytes"] > closure["module_bytes"] + 2 * weights
    assert (captured["captured_bytes"], closure["captured_bytes"]) == (weights, 0)
    assert captured["program_argument_bytes"] <= closure["program_argument_bytes"] - weights


def test_eager_has_no_programs_and_says_so(facts):
    told = facts[Strategy.eager]
    nulls = [key for key, value in told.items() if value is None]
    assert "stablehlo_sha256" in nulls
    assert told["reasons"] == dict.fromkeys(nulls, "jit=eager compiles no program")


def test_another_cache_is_another_program(facts):
    others = [
        examined(cache=Dynamic()),
        examined(cache=CACHES["none_padded"]),
        examined(cache=Fixed(max_len=12)),
    ]
    hashes = {
        facts[Strategy.closure]["stablehlo_sha256"],
        *(other["stablehlo_sha256"] for other in others),
    }
    assert len(hashes) == 4


def test_the_hash_is_that_of_another_process_with_another_hash_seed(facts):
    tests = Path(__file__).parents[2]
    paths = os.pathsep.join((str(tests), str(tests.parent)))
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "4711",
        "PYTHONPATH": paths,
        "JAX_PLATFORMS": "cpu",
    }
    told = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        env=environment,
        text=True,
        capture_output=True,
        check=True,
    )
    assert told.stdout.strip() == facts[Strategy.closure]["stablehlo_sha256"]


@pytest.mark.parametrize(
    ("strategy", "loop"),
    [(KEPT[0], Loop.host), *((strategy, Loop.device) for strategy in KEPT)],
    ids=ids,
)
def test_looking_at_a_warm_engine_lowers_and_compiles_nothing(ledger, strategy, loop):
    model = with_loop(engine(run(cache=Fixed(bucket=2), jit=strategy, max_new_tokens=4)), loop)
    tokens(model)
    (batch,) = model.batches(PROMPTS)
    model.empty_cache(batch)
    mark = ledger.mark()
    facts = examine(model, generation_uses(model, batch))
    assert ledger.since(mark).entries == ()
    assert list(facts["programs"]) == [
        "prefill",
        *(f"{'loop' if loop is Loop.device else 'step'}_{n}" for n in (4, 8)),
    ]


@pytest.mark.parametrize("cache", ["dynamic", "none"])
def test_the_last_program_of_a_growing_shape_is_one_that_ran(ledger, cache):
    model = engine(run(cache=CACHES[cache], max_new_tokens=NEW_TOKENS))
    tokens(model)
    (batch,) = model.batches(PROMPTS)
    mark = ledger.mark()
    facts = examine(model, generation_uses(model, batch))
    assert not {"lower", "compile"} & {entry.kind for entry in ledger.since(mark).entries}
    assert list(facts["programs"]) == ["prefill", "step_5"]


def test_looking_leaves_the_batch_and_the_weights_usable():
    model = looked_at()
    before = tokens(model)
    (batch,) = model.batches(PROMPTS)
    examine(model, generation_uses(model, batch))
    assert tokens(model) == before


def test_the_donated_cache_is_aliased_and_its_copies_are_counted():
    architecture = DEEP_FAMILIES["llama"]
    sliced, by_slot, by_head = (
        examined(architecture=architecture, cache=Fixed(max_len=56, bucket=bucket, layout=layout))
        for bucket, layout in ((8, KVLayout.auto), (0, KVLayout.NHD), (0, KVLayout.HND))
    )
    keys_and_values = (
        2 * 3 * 56 * architecture.num_layers * architecture.num_kv_heads * architecture.head_dim * 4
    )
    lengths = 3 * 4
    assert {told["program_alias_bytes"] for told in (sliced, by_slot, by_head)} == {
        keys_and_values + lengths
    }
    assert (sliced["copies"], by_slot["copies"] > 0, by_head["copies"]) == (0, True, 0)


def test_without_a_cache_there_is_nothing_to_copy():
    told = examined(cache=CACHES["none_padded"])
    assert (told["copies"], told["reasons"]) == (None, {"copies": "no cache is kept"})


def test_a_loop_is_counted_as_one_step(facts):
    loop = facts[Strategy.closure]["cost"]
    model = with_loop(looked_at(), Loop.host)
    (batch,) = model.batches(PROMPTS)
    step = examine(model, generation_uses(model, batch))["cost"]
    assert loop["flops"] == pytest.approx(step["flops"], rel=0.01)
    assert loop["bytes_accessed"] == pytest.approx(step["bytes_accessed"], rel=0.05)


@pytest.mark.parametrize("family", DEEP_FAMILIES)
def test_our_count_of_a_step_agrees_with_the_compilers(family):
    architecture = DEEP_FAMILIES[family]
    cost = examined(architecture=architecture)["cost"]
    step = roofline.decode_step(
        architecture,
        CACHE,
        element=ElementBytes(4, 4),
        incremental=caches.kind(CACHE).incremental,
        rows=len(PROMPTS),
        width=CACHE.prompt_width(3, 6),
        longest=3,
        new_tokens=NEW_TOKENS,
        capacity=6,
    )
    assert step is not None
    assert 1 < cost["flops"] / step.flops < ELEMENT_WISE
    assert 1 < cost["bytes_accessed"] / step.nbytes < ACTIVATIONS


def test_many_captured_weights_are_not_written_as_text(monkeypatch, tmp_path):
    monkeypatch.setattr(inspection, "MOST_CONSTANTS_BYTES", 1000)
    model = engine(run(cache=CACHE, jit=Strategy.captured, max_new_tokens=1))
    (batch,) = model.batches(PROMPTS)
    told = examine(model, generation_uses(model, batch))
    assert (told["stablehlo_sha256"], told["module_bytes"], told["programs"]) == (None, None, {})
    assert "captured weights" in told["reasons"]["stablehlo_sha256"]
    assert [path.name for path in dump(model, generation_uses(model, batch), tmp_path)] == [
        "prefill.hlo.txt"
    ]


def test_the_dump_has_both_texts_of_every_program(tmp_path):
    model = looked_at()
    (batch,) = model.batches(PROMPTS)
    written = dump(model, generation_uses(model, batch), tmp_path / "programs")
    assert sorted(path.name for path in written) == [
        f"{program}.{text}.txt"
        for program in ("loop_6", "prefill")
        for text in ("hlo", "stablehlo")
    ]
    assert all(path.read_text() for path in written)
    assert "stablehlo.while" in (tmp_path / "programs" / "loop_6.stablehlo.txt").read_text()


def test_instructions_are_traced_back_to_the_operations_they_came_from():
    model = looked_at()
    (batch,) = model.batches(PROMPTS)
    told = meanings(generation_uses(model, batch))
    assert "while/body/dot_general" in told.values()
    assert {name.split("/")[0] for name in told} == {"prefill", "loop"}


def test_a_batch_of_one_token_each_is_a_prefill_alone():
    model = engine(run(cache=CACHE, max_new_tokens=1))
    (batch,) = model.batches(PROMPTS)
    told = examine(model, generation_uses(model, batch))
    assert list(told["programs"]) == ["prefill"]
    assert told["program_argument_bytes"] >= sum(
        leaf.nbytes for leaf in jax.tree.leaves(model.leaves)
    )
