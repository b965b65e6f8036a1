"""A request for scores, checked and turned into token ids: all that can be wrong with it is said here."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Protocol

from tokenizers import Tokenizer

from jaxgen.errors import UserError
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import CacheSpec
from jaxgen.specs.score import Tokenization, input_problems

Text = str | Sequence[int]
"""A text, or its token ids."""


class Encoder(Protocol):
    """What is asked of a codec; without a tokenizer it makes ids of its own."""

    tokenizer: Tokenizer | None

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""
        ...


@dataclasses.dataclass(frozen=True)
class Request:
    """What is scored: each row's last position, against the labels.

    Attributes:
        query: tokens of the query alone.
        rows: tokens of query and item together, one row per item.
        labels: token ids; one score per occurrence.
        apply_softmax: probabilities among the labels; else over the whole vocabulary.
        item_first: the item stands before the query, so that rows have no common beginning.
    """

    query: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]
    labels: tuple[int, ...]
    apply_softmax: bool = False
    item_first: bool = False

    def begins_with_query(self, row: Sequence[int]) -> bool:
        """Whether a row's tokens are the query's and more; a merge across the border may have changed them."""
        return tuple(row[: len(self.query)]) == self.query


def make_request(
    query: Text,
    items: Sequence[Text],
    *,
    codec: Encoder,
    architecture: Architecture,
    cache: CacheSpec,
    label_token_ids: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    apply_softmax: bool = False,
    item_first: bool = False,
    tokenization: str = "joint",
) -> Request:
    """Check and tokenise a request.

    Args:
        query: a text or token ids.
        items: of the same kind as the query; an item may be empty.
        codec: reads texts.
        architecture: says which ids and lengths the model knows.
        cache: the longest row must fit it.
        label_token_ids: the labels' ids, or
        labels: their texts, each of them one token.
        apply_softmax, item_first: see `Request`.
        tokenization: `joint` tokenises query and item as one text, `separate` joins the tokens of both.

    Raises:
        UserError: anything is missing, empty, of a wrong type, out of range or too long; all of a kind at once.
    """
    problems = input_problems(query, items, label_token_ids=label_token_ids, labels=labels)
    for name, value in (("apply_softmax", apply_softmax), ("item_first", item_first)):
        if not isinstance(value, bool):
            problems.append(f"{name}={value!r} must be True or False")
    ways = [way.value for way in Tokenization]
    if tokenization not in ways:
        problems.append(f"tokenization={tokenization!r} must be one of {', '.join(ways)}")
    _refuse(problems)
    label_ids = (
        tuple(map(int, label_token_ids))
        if label_token_ids is not None
        else _one_each(codec, labels or ())
    )
    named = [("query", query), *((f"items[{number}]", item) for number, item in enumerate(items))]
    _refuse(outside_vocabulary([*named, ("label_token_ids", label_ids)], architecture.vocab_size))
    tokens = _tokens(codec, query)
    rows = tuple(
        _joined(codec, query, item, item_first=item_first, way=tokenization) for item in items
    )
    _refuse(_length_problems(rows, architecture, cache))
    return Request(
        query=tokens,
        rows=rows,
        labels=label_ids,
        apply_softmax=apply_softmax,
        item_first=item_first,
    )


def tokens_of(codec: Encoder, text: str, *, special: bool = True) -> tuple[int, ...]:
    """Token ids of a text.

    Args:
        codec: what reads it.
        text: any.
        special: keep what the tokenizer puts before a text. What it puts behind is left out in any case: the next
            token after the text is what is asked for, not the one after its end.
    """
    if codec.tokenizer is None:
        return tuple(codec.encode(text))
    encoding = codec.tokenizer.encode(text, add_special_tokens=special)
    end = len(encoding.ids)
    while end and encoding.special_tokens_mask[end - 1]:
        end -= 1
    return tuple(encoding.ids[:end])


def outside_vocabulary(named: Iterable[tuple[str, Text]], vocab_size: int) -> list[str]:
    """The token ids that the model has no row for, each by its argument's name and its place; texts have none."""
    return [
        f"{name}[{place}]={token} is outside the vocabulary of {vocab_size} (0 to {vocab_size - 1})"
        for name, ids in named
        if not isinstance(ids, str)
        for place, token in enumerate(ids)
        if token >= vocab_size
    ]


def _refuse(problems: list[str]) -> None:
    if problems:
        raise UserError.collected("this cannot be scored", problems)


def _tokens(codec: Encoder, text: Text, *, special: bool = True) -> tuple[int, ...]:
    return (
        tokens_of(codec, text, special=special) if isinstance(text, str) else tuple(map(int, text))
    )


def _joined(
    codec: Encoder, query: Text, item: Text, *, item_first: bool, way: str
) -> tuple[int, ...]:
    """Both as one row of tokens. Only what stands first keeps the tokens that a tokenizer puts before a text."""
    first, second = (item, query) if item_first else (query, item)
    if (
        isinstance(first, str)
        and isinstance(second, str)
        and (way == Tokenization.joint.value or not first)
    ):
        return tokens_of(codec, first + second)
    return _tokens(codec, first) + _tokens(codec, second, special=False)


def _one_each(codec: Encoder, labels: Sequence[str]) -> tuple[int, ...]:
    """The token of each label."""
    ids, problems = [], []
    for number, label in enumerate(labels):
        tokens = tokens_of(codec, label, special=False)
        ids += tokens[:1]
        if len(tokens) != 1:
            problems.append(
                f"labels[{number}]={label!r} is {len(tokens)} tokens ({_pieces(codec, tokens)}), and a label must be "
                "one: try another spelling (a space in front counts), or choose one of its ids as label_token_ids"
            )
    _refuse(problems)
    return tuple(ids)


def _pieces(codec: Encoder, tokens: Sequence[int]) -> str:
    if codec.tokenizer is None:
        return ", ".join(map(str, tokens))
    pieces = [codec.tokenizer.decode([token], skip_special_tokens=False) for token in tokens]
    return ", ".join(f"{piece!r} {token}" for piece, token in zip(pieces, tokens, strict=True))


def _length_problems(
    rows: Sequence[Sequence[int]], architecture: Architecture, cache: CacheSpec
) -> list[str]:
    problems = []
    for number, row in enumerate(rows):
        what = f"query and items[{number}] are {len(row)} tokens"
        if not row:
            problems.append(
                f"query and items[{number}] become no token at all: give a text that the tokenizer keeps"
            )
        elif len(row) > architecture.context:
            problems.append(
                f"{what}, beyond the model's context of {architecture.context}: shorten one of them"
            )
        elif cache.capacity(len(row)) < len(row):
            problems.append(
                f"{what}, more than cache.max_len={cache.capacity(len(row))} holds: raise it to {len(row)} or more"
            )
    return problems
