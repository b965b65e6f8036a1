"""Requests for scores: how texts become tokens, and every way in which a request is none."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

import jaxgen.assets
from jaxgen.engine.scoring.encoding import tokens_of
from jaxgen.engine.scoring.request import make_request
from jaxgen.errors import UserError
from jaxgen.specs.cache import Dynamic, Fixed
from jaxgen.workloads.codec import Codec
from support.small_models import FAMILIES

TOKENIZER = Path(jaxgen.assets.__file__).parent / "tiny" / "tokenizer.json"
IDS = {"query": [1, 2], "items": [[3]], "label_token_ids": [4]}
TEXT = {
    "query": "I pledge allegiance",
    "items": [" to the flag", ""],
    "labels": [" to", " of", " for"],
}


@pytest.fixture(scope="module")
def codec():
    return Codec(TOKENIZER, vocab_size=1024, random=False)


@pytest.fixture(scope="module")
def framed(tmp_path_factory):
    """The same tokenizer, with a token before every text and one behind it."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    end = "<|endoftext|>"
    tokenizer.post_processor = TemplateProcessing(
        single=f"{end} $A {end}", special_tokens=[(end, tokenizer.token_to_id(end))]
    )
    path = tmp_path_factory.mktemp("framed") / "tokenizer.json"
    tokenizer.save(str(path))
    return Codec(path, vocab_size=1024, random=False)


def made(codec, *, cache=Dynamic(), context=64, vocab_size=1024, **request):  # noqa: B008 - frozen
    architecture = dataclasses.replace(FAMILIES["llama"], context=context, vocab_size=vocab_size)
    query, items = request.pop("query", None), request.pop("items", None)
    return make_request(
        query, items, codec=codec, architecture=architecture, cache=cache, **request
    )


class TestTokens:
    def test_texts_are_joined_before_they_are_tokenised(self, codec):
        request = made(codec, **TEXT)
        joined = [codec.encode(TEXT["query"] + item) for item in TEXT["items"]]
        assert [list(row) for row in request.rows] == joined
        assert list(request.query) == codec.encode(TEXT["query"])
        assert request.labels == tuple(codec.encode(label)[0] for label in TEXT["labels"])

    def test_a_merge_across_the_border_is_seen(self, codec):
        request = made(codec, query="I pledge to th", items=["e", " dog"], labels=[" to"])
        assert [request.begins_with_query(row) for row in request.rows] == [False, True]

    def test_separate_tokenisation_never_merges(self, codec):
        request = made(
            codec, query="I pledge to th", items=["e"], labels=[" to"], tokenization="separate"
        )
        assert list(request.rows[0]) == codec.encode("I pledge to th") + codec.encode("e")

    @pytest.mark.parametrize("tokenization", ["joint", "separate"])
    def test_the_item_may_stand_first(self, codec, tokenization):
        request = made(
            codec,
            query=" and",
            items=["He", ""],
            labels=[" a"],
            item_first=True,
            tokenization=tokenization,
        )
        assert [list(row) for row in request.rows] == [codec.encode("He and"), codec.encode(" and")]

    @pytest.mark.parametrize("tokenization", ["joint", "separate"])
    def test_ids_are_joined_as_they_are(self, codec, tokenization):
        request = made(
            codec, **IDS | {"items": [[3], [], (5, np.int64(6))]}, tokenization=tokenization
        )
        assert request.rows == ((1, 2, 3), (1, 2), (1, 2, 5, 6))
        first = made(codec, **IDS, item_first=True, tokenization=tokenization)
        assert first.rows == ((3, 1, 2),)

    @pytest.mark.parametrize("tokenization", ["joint", "separate"])
    def test_a_tokenizer_s_own_tokens_stand_before_the_row_alone(self, codec, framed, tokenization):
        request = made(framed, **TEXT, tokenization=tokenization)
        bare = made(codec, **TEXT, tokenization=tokenization)
        assert request.rows == tuple((0, *row) for row in bare.rows)
        assert request.query == (0, *bare.query)
        assert request.labels == bare.labels

    def test_the_ends_of_the_vocabulary_and_labels_that_come_twice_are_valid(self, codec):
        request = made(codec, **IDS | {"query": [0, 1023], "label_token_ids": [0, 1023, 0]})
        assert request.labels == (0, 1023, 0)

    def test_without_a_tokenizer_texts_are_bytes(self):
        codec = Codec(None, vocab_size=1024, random=True)
        assert made(codec, query="ab", items=["c"], labels=["d"]).rows == ((97, 98, 99),)

    def test_an_empty_text_has_no_tokens(self, framed):
        assert tokens_of(framed, "") == ()


REFUSED = {
    "no query": (IDS | {"query": None}, "query is missing"),
    "empty query": (IDS | {"query": ""}, "query is empty"),
    "empty query of ids": (IDS | {"query": []}, "query is empty"),
    "query of another type": (
        IDS | {"query": 7},
        "query=7 is neither a text nor a list of token ids",
    ),
    "no items": (IDS | {"items": None}, "items is missing"),
    "empty items": (IDS | {"items": []}, "items is empty"),
    "items that are one text": (TEXT | {"items": " to"}, "items=' to' is not a list"),
    "items that are bare ids": (IDS | {"items": [3, 4]}, "items[0]=3 is neither"),
    "an item that is none": (TEXT | {"items": ["a", None]}, "items[1] is missing"),
    "no labels": (IDS | {"label_token_ids": None}, "label_token_ids is missing"),
    "empty labels": (IDS | {"label_token_ids": []}, "label_token_ids is empty"),
    "empty label texts": (TEXT | {"labels": []}, "labels is empty"),
    "an empty label": (TEXT | {"labels": [" to", ""]}, "labels[1] is empty"),
    "both kinds of label": (
        TEXT | {"label_token_ids": [1]},
        "label_token_ids and labels are both given",
    ),
    "labels as one number": (IDS | {"label_token_ids": 4}, "label_token_ids=4 is not a list"),
    "labels as one text": (TEXT | {"labels": " to"}, "labels=' to' is not a list"),
    "a label text that is a number": (TEXT | {"labels": [5]}, "labels[0]=5 is no text"),
    "a label id that is a text": (
        IDS | {"label_token_ids": [" to"]},
        "label_token_ids[0]=' to' is no token id",
    ),
    "text and then ids": (
        TEXT | {"items": [" to", [3]]},
        "items[1] is token ids but query is text",
    ),
    "ids and then text": (IDS | {"items": [[3], ""]}, "items[1] is text but query is token ids"),
    "a truth value in the query": (IDS | {"query": [1, True]}, "query[1]=True is no token id"),
    "a fraction in an item": (IDS | {"items": [[3], [1.0]]}, "items[1][0]=1.0 is no token id"),
    "a truth value as a label": (
        IDS | {"label_token_ids": [4, False]},
        "label_token_ids[1]=False is no token id",
    ),
    "a negative id": (IDS | {"items": [[-1]]}, "items[0][0]=-1 is no token id"),
    "a negative label": (
        IDS | {"label_token_ids": [4, -4]},
        "label_token_ids[1]=-4 is no token id",
    ),
    "a query beyond the vocabulary": (
        IDS | {"query": [1024]},
        "query[0]=1024 is outside the vocabulary of 1024",
    ),
    "an item beyond the vocabulary": (
        IDS | {"items": [[3], [5, 2000]]},
        "items[1][1]=2000 is outside",
    ),
    "a label beyond the vocabulary": (
        IDS | {"label_token_ids": [1024]},
        "label_token_ids[0]=1024 is outside",
    ),
    "no Unicode": (TEXT | {"items": ["\ud800"]}, "items[0]='\\ud800' is no Unicode text"),
    "another tokenisation": (
        IDS | {"tokenization": "both"},
        "tokenization='both' must be one of joint, separate",
    ),
    "a switch that is none": (IDS | {"apply_softmax": 1}, "apply_softmax=1 must be True or False"),
    "an order that is none": (IDS | {"item_first": "no"}, "item_first='no' must be True or False"),
    "beyond the context": (
        IDS | {"items": [[3], [3] * 63]},
        "query and items[1] are 65 tokens, beyond the model's context of 64",
    ),
    "beyond the cache": (
        IDS | {"items": [[3], [3] * 7], "cache": Fixed(max_len=8)},
        "query and items[1] are 9 tokens, more than cache.max_len=8 holds: raise it to 9 or more",
    ),
    "a label of several tokens": (
        TEXT | {"labels": [" to", " allegiance"]},
        (
            "labels[1]=' allegiance' is 6 tokens (' all' 575, 'e' 69, 'g' 71, 'i' 73, 'an' 276, "
            "'ce' 429)"
        ),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_request_is_refused_by_name(codec, name):
    request, words = REFUSED[name]
    with pytest.raises(UserError) as caught:
        made(codec, **request)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_problems_of_a_kind_are_told_together(codec):
    with pytest.raises(UserError) as caught:
        made(codec, query=[True], items=[[-1], "a"], label_token_ids=[])
    told = str(caught.value)
    assert all(
        words in told
        for words in ("query[0]=True", "items[0][0]=-1", "items[1] is text", "label_token_ids is")
    )


def test_texts_without_a_tokenizer_are_refused():
    with pytest.raises(UserError, match=r"no tokenizer\.json"):
        made(Codec(None, vocab_size=1024, random=False), **TEXT)


def test_a_row_may_fill_the_context_and_the_cache(codec):
    assert made(codec, **IDS | {"items": [[3] * 6]}, cache=Fixed(max_len=8), context=8).rows == (
        (1, 2, *[3] * 6),
    )
