"""Log-likelihoods are the reference's, whatever the batch, for texts beyond the context too."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.caches.none import Recompute
from jaxgen.checkpoints.convert import convert
from jaxgen.checkpoints.restore import load
from jaxgen.engine.engine import Engine
from jaxgen.engine.scoring.likelihood import LikelihoodScorer
from jaxgen.errors import UserError
from jaxgen.specs.dtype import Dtype
from jaxgen.specs.model import Model
from jaxgen.workloads.codec import Codec
from support import golden_files
from support.small_models import FAMILIES, engine, forward, padded, run, weights

TOLERANCE = 1e-4  # of a sum of float32 log-probabilities of some five each
EOS = 96
SHORT = dataclasses.replace(FAMILIES["llama"], context=12, eos_token_ids=(EOS,))
BYTES = Codec(None, vocab_size=97, random=True)
PAIRS = (
    ((41, 7, 90), (33,)),
    ((58,), (3, 4, 5, 6)),
    ((1, 2, 3, 4, 5, 6, 7), (11, 12)),
    ((), (9, 8)),
)


@functools.cache  # it keeps what it compiled
def likelihoods(batch_size=4):
    return LikelihoodScorer(engine(run(architecture=SHORT)), BYTES, batch_size=batch_size)


@functools.cache
def next_logprobs(tokens):
    """Log-probabilities (V,) of the token after each, from the whole row's logits at once."""
    structure, leaves = weights(SHORT)
    nothing = Recompute(batch=1, visible=SHORT.context, static_shape=False)
    logits, _ = forward(
        leaves, nothing, jnp.asarray(padded([tokens], width=SHORT.context)), structure=structure
    )
    return np.asarray(jax.nn.log_softmax(logits))[0, len(tokens) - 1]


def expected(context, continuation):
    """Token after token, each after all that is before it."""
    before = [(*(context or (EOS,)), *continuation[:place]) for place in range(len(continuation))]
    pairs = [(next_logprobs(text), token) for text, token in zip(before, continuation, strict=True)]
    return sum(each[token] for each, token in pairs), all(
        each.argmax() == token for each, token in pairs
    )


def refused(*pair):
    with pytest.raises(UserError) as caught:
        likelihoods().loglikelihood(*pair)
    return str(caught.value)


@pytest.mark.parametrize("family", golden_files.FAMILIES)
def test_a_log_likelihood_is_the_reference_s(family, tmp_path):
    convert(str(golden_files.load(family).folder), tmp_path / "model")
    loaded = load(Model(name=family, checkpoint=str(tmp_path / "model")), dtype=Dtype())
    model = Engine(run(architecture=loaded.architecture), loaded.structure, loaded.leaves)
    reference = golden_files.load_scores(family)
    given = LikelihoodScorer(model, BYTES).loglikelihood(
        reference["query"], reference["continuation"]
    )
    assert given.logprob == pytest.approx(sum(reference["logprobs"]), abs=TOLERANCE)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_each_is_the_sum_of_its_tokens_whatever_stands_beside_it(batch_size):
    given = likelihoods(batch_size).loglikelihoods(PAIRS)
    np.testing.assert_allclose(
        [each.logprob for each in given],
        [expected(*pair)[0] for pair in PAIRS],
        rtol=0,
        atol=TOLERANCE,
    )
    assert [each.is_greedy for each in given] == [expected(*pair)[1] for pair in PAIRS]


def test_only_the_likeliest_tokens_all_the_way_are_greedy():
    context = (41, 7, 90)
    first = int(next_logprobs(context).argmax())
    second = int(next_logprobs((*context, first)).argmax())
    ways = [(first, second), (first, (second + 1) % 97), ((first + 1) % 97, second)]
    given = likelihoods().loglikelihoods([(context, way) for way in ways])
    assert [each.is_greedy for each in given] == [True, False, False]


def test_texts_are_tokenised_together_and_blanks_belong_to_what_follows():
    """Bytes as tokens show it: the context's blank is asked for, and stands before nothing."""
    one, other = likelihoods().loglikelihoods([("ab ", "c"), ("ab", " c")])
    assert one == other
    assert one.logprob == pytest.approx(
        expected(tuple(BYTES.encode("ab")), tuple(BYTES.encode(" c")))[0], abs=TOLERANCE
    )


def test_an_empty_context_is_the_token_that_ends_a_text():
    assert likelihoods().loglikelihood("", "ab") == likelihoods().loglikelihood(
        [EOS], BYTES.encode("ab")
    )


def test_a_continuation_may_end_one_token_beyond_the_context():
    tokens = tuple(range(SHORT.context + 1))
    given = likelihoods().loglikelihood(tokens[:4], tokens[4:])
    assert given.logprob == pytest.approx(expected(tokens[:4], tokens[4:])[0], abs=TOLERANCE)
    assert "beyond the model's context of 12" in refused(tokens[:4], (*tokens[4:], 1))


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (((1, 2), ()), "continuation of pair 0 is empty"),
        (("a", ""), "continuation of pair 0 is empty"),
        ((None, "a"), "context of pair 0 is missing"),
        (("a", [1]), "give both alike"),
        (([1], [True]), "continuation of pair 0[0]=True is no token id"),
        (([1], [97]), "continuation of pair 0[0]=97 is outside the vocabulary of 97"),
        ((7, "a"), "context of pair 0=7 is neither a text nor a list"),
    ],
    ids=str,
)
def test_what_is_no_pair_is_refused(pair, words):
    assert words in refused(*pair)


def test_without_a_token_to_begin_with_an_empty_context_is_refused():
    model = LikelihoodScorer(engine(run(architecture=FAMILIES["llama"])), BYTES)
    with pytest.raises(UserError, match="give a context"):
        model.loglikelihood("", "a")


@pytest.mark.parametrize("length", [1, 12, 13, 30])
def test_a_whole_text_is_asked_for_token_by_token_each_with_a_context_that_fits(length):
    tokens = tuple((7 * place + 3) % 97 for place in range(length))
    begun, total = (EOS, *tokens), 0.0
    for start in range(1, length + 1, SHORT.context):
        end = min(start + SHORT.context, length + 1)
        total += expected(begun[max(end - 1 - SHORT.context, 0) : start], begun[start:end])[0]
    assert likelihoods().rolling(tokens) == pytest.approx(
        total, abs=TOLERANCE * max(1, length // 5)
    )


def test_the_second_call_traces_nothing(ledger):
    likelihoods().loglikelihoods(PAIRS)
    mark = ledger.mark()
    likelihoods().loglikelihoods(PAIRS)
    assert ledger.since(mark).entries == ()
