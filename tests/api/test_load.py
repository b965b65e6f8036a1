"""The Python API: what the command line composes, in one's own process."""

import subprocess
import sys

import numpy as np
import pytest

import jaxgen
from jaxgen.api.candidate import candidate
from jaxgen.errors import UserError

PLEDGE = ("I pledge allegiance", [" to the flag", " of the United States", " for which it stands"])


@pytest.fixture(scope="module")
def engine():
    return jaxgen.load("workload=score")


def test_the_pledge_is_scored_one_row_per_item_one_column_per_label(engine):
    scores = np.array(engine.score(*PLEDGE, labels=[" to", " of", " for"]))
    assert scores.shape == (3, 3)
    assert ((scores > 0) & (scores < 1)).all()
    among = np.array(engine.score(*PLEDGE, labels=[" to", " of", " for"], apply_softmax=True))
    np.testing.assert_allclose(among.sum(axis=1), 1, rtol=0, atol=1e-6)
    np.testing.assert_allclose(among, scores / scores.sum(axis=1, keepdims=True), rtol=1e-4)


def test_a_label_of_several_tokens_is_refused_with_its_tokens(engine):
    with pytest.raises(UserError, match=r"labels\[0\]=' extraordinary' is \d+ tokens"):
        engine.score(*PLEDGE, labels=[" extraordinary"])


def test_generated_text_is_what_the_model_finds_likeliest(engine):
    (completion,) = engine.generate("Once upon a time", max_new_tokens=4)
    assert (len(completion.tokens), completion.finish_reason) == (4, "length")
    assert engine.decode(completion.tokens) == completion.text
    assert engine.loglikelihood("Once upon a time", completion.text).is_greedy


def test_prompts_of_text_and_of_ids_are_answered_alike(engine):
    texts = ["Once upon a time", "3 + 4 ="]
    assert engine.generate(texts, max_new_tokens=3) == engine.generate(
        [engine.encode(text) for text in texts], max_new_tokens=3
    )


def test_many_likelihoods_are_those_of_each(engine):
    pairs = [("Once upon", " a time"), ("3 + 4", " = 7")]
    for together, (context, continuation) in zip(engine.loglikelihoods(pairs), pairs, strict=True):
        assert together.logprob == pytest.approx(
            engine.loglikelihood(context, continuation).logprob, abs=1e-4
        )


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ("", r"prompts\[0\] is empty"),
        ([7], r"prompts\[0\]=7 is neither a text nor"),
        ([[-1]], "is no token id"),
    ],
)
def test_bad_prompts_are_refused_by_their_place(engine, prompts, words):
    with pytest.raises(UserError, match=words):
        engine.generate(prompts)


def test_what_only_another_process_can_have_is_refused():
    with pytest.raises(UserError, match="set XLA_FLAGS"):
        jaxgen.load("process.xla_flags=--xla_dump_to=x")


def test_a_baseline_that_cannot_be_is_no_matter():
    """Continuous batching needs a cache, which the default baseline does not have."""
    run = candidate(["cache=paged", "workload.batching=continuous"])
    assert run.workload.batching.name == "continuous"


def test_importing_the_package_imports_no_jax():
    program = (
        "import jaxgen, sys; "
        "print([name for name in ('jax', 'hydra', 'numpy') if name in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        jaxgen.laod  # noqa: B018
