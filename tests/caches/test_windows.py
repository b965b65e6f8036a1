"""A sliding window through every cache, the scores and the arithmetic: no token sees more."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import caches
from jaxgen.caches.none import Recompute
from jaxgen.checkpoints.convert import convert
from jaxgen.checkpoints.restore import load
from jaxgen.config.experiment import load_experiment
from jaxgen.engine.scoring.request import ScoreRequest
from jaxgen.engine.scoring.scorer import Scorer
from jaxgen.engine.teacher_forcing import forced_logprobs
from jaxgen.errors import UserError
from jaxgen.measure import byte_counts, roofline
from jaxgen.specs.cache import Dynamic, Fixed, KVLayout, NoCache, Paged, PageKernel, windowed
from jaxgen.specs.dtype import Dtype
from jaxgen.specs.model import Model
from jaxgen.workloads import cost
from support import golden_files
from support.small_models import (
    DEEP_FAMILIES,
    engine,
    forward,
    padded,
    run,
    step_logits,
    weights,
)

ROUNDING = 1e-4  # as in test_against_none.py
TOLERANCE = 2e-4  # as in tests/engine/test_golden.py
WINDOW = 4
PROMPTS = (
    (41,),
    (7, 90, 33, 58, 3, 12, 64, 9, 80),
    (58, 3, 77, 21, 6, 30),
)  # within the window, and far beyond it
NEW_TOKENS = 6
LLAMA = DEEP_FAMILIES["llama"]


def texts(prompts, count):
    """Seeded tokens to follow the prompts, and prompts and tokens as rows."""
    forced = np.random.default_rng(5).integers(97, size=(len(prompts), count))
    rows = [[*prompt, *new] for prompt, new in zip(prompts, forced, strict=True)]
    return forced, padded(rows, width=max(map(len, rows)))


def whole(which, prompts, count, *, window):
    """The logits at each new token's place, of the texts run once from end to end."""
    structure, leaves = weights(DEEP_FAMILIES[which])
    tokens = texts(prompts, count)[1]
    nothing = Recompute(
        batch=len(prompts), visible=tokens.shape[1], static_shape=False, window=window
    )
    logits, _ = forward(leaves, nothing, jnp.asarray(tokens), structure=structure)
    at = np.array([[len(prompt)] for prompt in prompts]) - 1 + np.arange(count)
    return np.take_along_axis(np.asarray(logits), at[:, :, None], axis=1)


@pytest.fixture(scope="module", params=["gpt2", "qwen3"])
def family(request):
    return request.param, whole(request.param, PROMPTS, NEW_TOKENS, window=WINDOW)


PAGED = Paged(page_size=2, bucket=2)


@pytest.mark.parametrize(
    "spec",
    [Fixed(bucket=2), Dynamic(), NoCache(pad=True), PAGED],
    ids=lambda spec: type(spec).__name__,
)
def test_every_step_sees_the_window_alone(family, spec):
    which, logits = family
    spec = dataclasses.replace(spec, window=WINDOW)
    forced, _ = texts(PROMPTS, NEW_TOKENS)
    given = step_logits(
        *weights(DEEP_FAMILIES[which]), spec, PROMPTS, count=NEW_TOKENS, forced=forced
    )
    np.testing.assert_allclose(given, logits, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    ("spec", "prompts", "count"),
    [
        (Fixed(bucket=0, window=WINDOW, regions=2), PROMPTS, NEW_TOKENS),
        (
            Fixed(bucket=2, window=16),
            PROMPTS,
            12,
        ),  # the padded prompts fill the ring just so; the steps go round it
        (Fixed(bucket=0, window=1), PROMPTS, 2),
        (dataclasses.replace(PAGED, kernel=PageKernel.reference, window=3), PROMPTS, 2),
        (Dynamic(window=1), PROMPTS, 2),
    ],
    ids=str,
)
def test_other_windows_and_two_regions(spec, prompts, count):
    forced, _ = texts(prompts, count)
    given = step_logits(*weights(LLAMA), spec, prompts, count=count, forced=forced)
    np.testing.assert_allclose(
        given, whole("llama", prompts, count, window=spec.window), rtol=0, atol=ROUNDING
    )


def test_the_window_matters_here():
    seen = [whole("llama", PROMPTS, NEW_TOKENS, window=window) for window in (None, WINDOW)]
    assert (np.abs(seen[0] - seen[1]).max(axis=(1, 2)) > 100 * ROUNDING).all()


def test_a_ring_holds_the_last_tokens_of_each_row_by_their_position():
    cache = caches.create(
        Fixed(window=WINDOW), LLAMA, batch=3, capacity=16, dtype=jnp.dtype("float32")
    )
    numbered = jnp.broadcast_to(
        jnp.arange(9.0)[None, :, None, None], (3, 9, LLAMA.num_kv_heads, LLAMA.head_dim)
    )
    q = jnp.ones((3, 9, LLAMA.num_heads, LLAMA.head_dim))
    for layer in range(LLAMA.num_layers):
        _, cache = cache.attend(layer, q, numbered, numbered)
    cache = cache.advance(jnp.array([1, 9, 6]))
    keys, _, slots = cache.layer_kv(1)
    np.testing.assert_array_equal(slots, [[0, -1, -1, -1], [8, 5, 6, 7], [4, 5, 2, 3]])
    np.testing.assert_array_equal(keys[1:, :, 0, 0], slots[1:])
    np.testing.assert_array_equal(cache.positions(1), [[1], [9], [6]])


@pytest.fixture(scope="module")
def mistral(tmp_path_factory):
    """What Hugging Face answered with a window of 8, and the converted model."""
    golden = golden_files.load(golden_files.WINDOWED)
    checkpoint = tmp_path_factory.mktemp("golden") / "mistral"
    convert(str(golden.folder), checkpoint)
    return golden, load(Model(name="mistral", checkpoint=str(checkpoint)), dtype=Dtype())


@pytest.mark.parametrize(
    "spec", [Fixed(bucket=0, layout=KVLayout.NHD), Fixed(bucket=0, regions=2), Dynamic()], ids=str
)
def test_logits_stay_with_hugging_face_s_in_texts_far_beyond_the_window(mistral, spec):
    golden, model = mistral
    assert model.architecture.window == 8
    prompts, forced = [prompt.tolist() for prompt in golden.prompts], np.stack(golden.greedy)
    given = step_logits(
        model.structure, model.leaves, spec, prompts, count=forced.shape[1], forced=forced
    )
    np.testing.assert_allclose(given, np.stack(golden.step_logits), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("spec", [Fixed(bucket=2), Dynamic(), PAGED], ids=str)
def test_the_model_s_own_window_holds_in_forced_texts_and_scores(spec):
    windowed_llama = dataclasses.replace(LLAMA, window=WINDOW)
    model = engine(run(architecture=windowed_llama, cache=spec, max_new_tokens=NEW_TOKENS))
    forced, _ = texts(PROMPTS, NEW_TOKENS)
    expected = whole("llama", PROMPTS, NEW_TOKENS, window=WINDOW).astype(np.float64)
    expected -= np.log(np.exp(expected).sum(-1, keepdims=True))
    for piece in forced_logprobs(model, PROMPTS, outputs=forced.tolist()).pieces:
        wanted = expected[piece.row, piece.position : piece.position + len(piece.logprobs)]
        np.testing.assert_allclose(piece.logprobs, wanted, rtol=0, atol=ROUNDING)
    request = ScoreRequest(
        query=PROMPTS[2],
        rows=tuple((*PROMPTS[2], *row[:3]) for row in forced.tolist()),
        labels=(0, 17),
    )
    found = []
    for reused in (True, False):
        scorer = Scorer(model, batch_size=4, prefix_cache=reused)
        prepared = scorer.prepare(request)
        found.append(scorer.results(prepared, scorer.call(prepared)))
    probabilities = np.exp(whole_row(request.rows[0]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found[1][0], probabilities[[0, 17]], rtol=1e-3, atol=1e-6)


def whole_row(row):
    """Log-probabilities after one text, through the window."""
    structure, leaves = weights(LLAMA)
    nothing = Recompute(batch=1, visible=len(row), static_shape=False, window=WINDOW)
    logits = np.asarray(
        forward(leaves, nothing, jnp.asarray([row]), structure=structure)[0], np.float64
    )[0, -1]
    return logits - np.log(np.exp(logits).sum())


def test_fewer_slots_are_kept_and_read():
    def made(cache):
        model = engine(run(architecture=LLAMA, cache=cache))
        (batch,) = model.batches([[1] * 20])
        rows = [{"prompt_tokens": [1] * 20, "tokens": [0] * 7}]
        return (
            cost.kv_cache_bytes(model, batch),
            cost.cache_facts(model, batch, rows),
            cost.last_step(model, batch),
        )

    (all_bytes, all_facts, all_step), (few_bytes, few_facts, few_step) = map(
        made, (Fixed(bucket=0), Fixed(bucket=0, window=9))
    )
    assert (all_bytes / 27, few_bytes / 9) == (few_bytes / 9, 2 * 3 * 2 * 10 * 4)
    assert all_facts["reserved_bytes"] == all_bytes
    assert (few_facts["reserved_bytes"], few_facts["used_bytes"], few_facts["unused_share"]) == (
        few_bytes,
        few_bytes,
        0,
    )
    assert all_step.nbytes - few_step.nbytes == all_bytes - few_bytes


def test_a_long_prompt_writes_no_more_than_the_ring():
    given = {
        "element": byte_counts.ElementBytes(4, 4),
        "incremental": True,
        "rows": 1,
        "width": 48,
        "capacity": 64,
    }
    whole_text, last = (
        roofline.prefill_step(LLAMA, Fixed(bucket=0, window=window), **given)
        for window in (None, WINDOW)
    )
    assert whole_text.nbytes - last.nbytes == 2 * (48 - WINDOW) * (2 * 3 * 2 * 10) * 4
    assert whole_text.flops == last.flops  # masked, not left out


def test_the_narrower_of_two_windows_holds():
    narrow = dataclasses.replace(LLAMA, window=8)
    assert windowed(Fixed(window=5), narrow).window == 5
    assert windowed(Dynamic(window=12), narrow).window == windowed(NoCache(), narrow).window == 8
    assert windowed(Fixed(window=64), LLAMA) == Fixed()  # hides nothing from a context of 64
    assert windowed(Paged(), dataclasses.replace(LLAMA, window=64)) == Paged()


@pytest.mark.parametrize(
    ("cache", "window", "message"),
    [
        (
            Fixed(window=65),
            None,
            "cache.window=65 is larger than the model's context of 64: give 64 or less, or null",
        ),
        (Paged(window=70), 8, "cache.window=70 is larger than the model's context of 64"),
    ],
    ids=str,
)
def test_windows_that_cannot_be_are_refused(cache, window, message):
    with pytest.raises(UserError, match=re.escape(message)):
        engine(run(architecture=dataclasses.replace(LLAMA, window=window), cache=cache))


def test_the_baseline_sees_the_window_that_was_asked_for_whatever_its_cache():
    assert load_experiment(["cache.window=8", "baseline=nocache"]).arms[
        "baseline"
    ].run.cache == NoCache(window=8)
    own = ["cache.window=8", "baseline.cache=dynamic", "baseline.overrides=['cache.window=null']"]
    assert load_experiment(own).arms["baseline"].run.cache == Dynamic()


@pytest.mark.parametrize("kind", [Fixed, Dynamic, NoCache, Paged])
def test_a_window_of_nothing_is_refused(kind):
    with pytest.raises(
        UserError, match=re.escape("cache.window=0 is impossible: it must be 1 or more")
    ):
        kind(window=0)
