"""What a cache reserves for a batch and how much of it is used, kind by kind."""

import pytest

from jaxgen.measure import byte_counts
from jaxgen.specs.cache import Dynamic, Fixed, NoCache, Paged
from jaxgen.specs.mesh import Mesh
from jaxgen.workloads import cost
from support import small_models
from support.small_models import CACHES

NEW_TOKENS = 5
TOKEN_BYTES = 2 * 3 * 2 * 10 * 4  # keys and values, layers, kv heads, head size, float32


def facts_of(cache):
    deep = small_models.DEEP_FAMILIES["llama"]
    spec = small_models.run(architecture=deep, cache=cache, max_new_tokens=NEW_TOKENS)
    model = small_models.engine(spec)
    (batch,) = model.batches(small_models.PROMPTS)  # 1, 3 and 2 tokens
    rows = [
        {"prompt_tokens": prompt, "tokens": [0] * NEW_TOKENS} for prompt in small_models.PROMPTS
    ]
    return cost.cache_facts(model, batch, rows)


@pytest.mark.parametrize(
    ("cache", "slots"),
    [
        (Fixed(bucket=0), 3 * 8),
        (Fixed(max_len=20), 3 * 20),
        (Dynamic(), 3 * 8),
        (Paged(page_size=4), 8 + 8 + 8),
    ],
    ids=str,
)
def test_reserved_slots_and_used_ones(cache, slots):
    facts = facts_of(cache)
    used = (1 + 3 + 2) + 3 * (NEW_TOKENS - 1)
    assert facts["reserved_bytes"] == slots * TOKEN_BYTES
    assert facts["used_bytes"] == used * TOKEN_BYTES
    assert facts["unused_share"] == pytest.approx(1 - used / slots)


def test_pages_are_counted():
    facts = facts_of(Paged(page_size=2))
    assert (facts["page_size"], facts["pages"]) == (2, 3 + 4 + 4)
    assert (
        facts["allocated_bytes"] == (3 * 4 + 1) * 2 * TOKEN_BYTES
    )  # full rows, and the reserved page
    assert "pages" not in facts_of(CACHES["fixed"])


def test_nothing_kept_is_nothing_told():
    assert facts_of(NoCache()) is None


@pytest.mark.parametrize("cache", [NoCache(), Dynamic(), Fixed(bucket=4)], ids=str)
def test_the_mean_step_is_of_the_steps_that_ran(cache):
    """In batches of two rows, of 7 planned tokens: 3 steps after the first token, and 1."""
    model = small_models.engine(small_models.run(cache=cache, max_new_tokens=7, batch_size=2))
    batches = model.batches(small_models.PROMPTS)
    rows = [{"tokens": [0] * count} for count in (2, 4, 2)]
    ran = cost.steps(model, batches, rows)["tpot_s"]
    one, other = (
        model.batches(small_models.PROMPTS, limits=limits)[number]
        for number, limits in enumerate([(4, 4, 4), (2, 2, 2)])
    )
    first, second = (cost.steps(model, [batch])["tpot_s"] for batch in (one, other))
    assert ran.nbytes == pytest.approx((3 * first.nbytes + second.nbytes) / 4)
    assert ran.flops == pytest.approx((3 * first.flops + second.flops) / 4)
    assert first.flops < cost.steps(model, batches[:1])["tpot_s"].flops
    assert cost.steps(model, batches, [{"tokens": [0]}] * 3)["tpot_s"] is None


def test_a_step_on_a_mesh_is_what_one_device_has_of_it():
    arch, prompts = small_models.FAMILIES["llama"], [*small_models.PROMPTS, (5,)]
    work = {"architecture": arch, "max_new_tokens": NEW_TOKENS, "batch_size": 4}
    alone = small_models.engine(small_models.run(**work))
    spread = small_models.engine(small_models.run(mesh=Mesh(data=2, tensor=2), **work))
    one, part = (cost.last_step(model, model.batches(prompts)[0]) for model in (alone, spread))
    assert one.flops / 4 == pytest.approx(part.flops, rel=0.01)  # the odd vocabulary's last row
    vectors = byte_counts.weight_elements(arch)["vectors"] * 4  # whole on every device
    assert one.nbytes / 4 < part.nbytes < one.nbytes / 2 + vectors


def test_a_prefill_is_as_wide_as_its_token_bucket_whatever_the_cache_would_pad_to():
    """Prompts of up to 3 tokens in a bucket of 5; in steps of 16 the cache would make them 16."""
    cache, work = Fixed(bucket=16), {"max_new_tokens": 30}
    model = small_models.engine(small_models.run(cache=cache, token_buckets=(5,), **work))
    batches = model.batches(small_models.PROMPTS)
    assert batches[0].prompt.shape[1] == 5
    wider = small_models.engine(small_models.run(cache=cache, token_buckets=(10,), **work))
    twice = wider.batches(small_models.PROMPTS)
    narrow, wide = (
        cost.steps(model, batches)["ttft_s"].flops,
        cost.steps(wider, twice)["ttft_s"].flops,
    )
    # A head for one token a row, and attention over the square of the width, are beside it.
    assert 1.9 < wide / narrow < 2.4
