"""A request for scores: it is checked and turned into token ids, and all that is wrong is said."""

import dataclasses
from collections.abc import Sequence

from jaxgen.engine.scoring.encoding import Encoder, TextOrIds, outside_vocabulary, tokens_of
from jaxgen.errors import UserError
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import CacheSpec
from jaxgen.specs.score import Tokenization, input_problems


@dataclasses.dataclass(frozen=True)
class ScoreRequest:
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
        """Say whether a row begins with the query; a merge across the border may prevent it."""
        return tuple(row[: len(self.query)]) == self.query


def make_request(
    query: TextOrIds,
    items: Sequence[TextOrIds],
    *,
    codec: Encoder,
    architecture: Architecture,
    cache: CacheSpec,
    label_token_ids: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    apply_softmax: bool = False,
    item_first: bool = False,
    tokenization: str = "joint",
) -> ScoreRequest:
    """Check and tokenise a request.

    Args:
        query: a text or token ids.
        items: of the same kind as the query; an item may be empty.
        codec: reads texts.
        architecture: says which ids and lengths the model knows.
        cache: the longest row must fit it.
        label_token_ids: the labels' ids, or
        labels: their texts, each of them one token.
        apply_softmax, item_first: see `ScoreRequest`.
        tokenization: `joint` tokenises query and item as one text, `separate` joins the tokens of
            both.

    Raises:
        UserError: anything is missing, empty, of a wrong type, out of range or too long; all of a
            kind at once.
    """
    problems = input_problems(query, items, label_token_ids=label_token_ids, labels=labels)
    problems += _option_problems(apply_softmax, item_first, tokenization)
    # Each check needs what the one before has made sure of: types, then ids, then lengths.
    _raise_for(problems)
    if label_token_ids is None:
        label_ids = _label_ids(codec, labels or ())
    else:
        label_ids = tuple(map(int, label_token_ids))
    arguments: list[tuple[str, TextOrIds]] = [("query", query)]
    for number, item in enumerate(items):
        arguments.append((f"items[{number}]", item))
    arguments.append(("label_token_ids", label_ids))
    _raise_for(outside_vocabulary(arguments, architecture.vocab_size))
    rows = []
    for item in items:
        rows.append(_row(codec, query, item, item_first=item_first, how=tokenization))
    _raise_for(_length_problems(rows, architecture, cache))
    return ScoreRequest(
        query=_tokens(codec, query),
        rows=tuple(rows),
        labels=label_ids,
        apply_softmax=apply_softmax,
        item_first=item_first,
    )


def _option_problems(
    apply_softmax: object,
    item_first: object,
    tokenization: object,
) -> list[str]:
    """What is wrong with the options: in Python a caller may give anything."""
    problems = []
    for name, value in (
        ("apply_softmax", apply_softmax),
        ("item_first", item_first),
    ):
        if not isinstance(value, bool):
            problems.append(f"{name}={value!r} must be True or False")
    ways = [way.value for way in Tokenization]
    if tokenization not in ways:
        problems.append(f"tokenization={tokenization!r} must be one of {', '.join(ways)}")
    return problems


def _raise_for(problems: list[str]) -> None:
    if problems:
        raise UserError.collected("this cannot be scored", problems)


def _tokens(codec: Encoder, text: TextOrIds, *, special: bool = True) -> tuple[int, ...]:
    if isinstance(text, str):
        return tokens_of(codec, text, special=special)
    return tuple(map(int, text))


def _row(
    codec: Encoder,
    query: TextOrIds,
    item: TextOrIds,
    *,
    item_first: bool,
    how: str,
) -> tuple[int, ...]:
    """Query and item as one row of tokens."""
    # Joint tokens are those of the text that a user would send, merges across the border included.
    first, second = (item, query) if item_first else (query, item)
    # Behind an empty first part there is no border to merge across.
    is_joint = how == Tokenization.joint.value or not first
    if is_joint and isinstance(first, str) and isinstance(second, str):
        return tokens_of(codec, first + second)
    # Only the first keeps the tokens that a tokenizer puts before a text.
    return _tokens(codec, first) + _tokens(codec, second, special=False)


def _label_ids(codec: Encoder, labels: Sequence[str]) -> tuple[int, ...]:
    """The one token of each label."""
    ids, problems = [], []
    for number, label in enumerate(labels):
        tokens = tokens_of(codec, label, special=False)
        # All labels are looked at before anything is refused.
        ids += tokens[:1]
        if len(tokens) != 1:
            problems.append(
                f"labels[{number}]={label!r} is {len(tokens)} tokens ({_pieces(codec, tokens)}), "
                "and a label must be one: try another spelling (a space in front counts), or "
                "choose one of its ids as label_token_ids"
            )
    _raise_for(problems)
    return tuple(ids)


def _pieces(codec: Encoder, tokens: Sequence[int]) -> str:
    """The tokens with their texts, such as `'a' 12, 'b' 7`."""
    if codec.tokenizer is None:
        return ", ".join(map(str, tokens))
    pieces = []
    for token in tokens:
        text = codec.tokenizer.decode([token], skip_special_tokens=False)
        pieces.append(f"{text!r} {token}")
    return ", ".join(pieces)


def _length_problems(
    rows: Sequence[Sequence[int]],
    architecture: Architecture,
    cache: CacheSpec,
) -> list[str]:
    problems = []
    for number, row in enumerate(rows):
        # One problem a row: the first of them explains the others.
        both, length = f"query and items[{number}]", len(row)
        if not row:
            problems.append(f"{both} become no token at all: give a text that the tokenizer keeps")
        elif length > architecture.context:
            problems.append(
                f"{both} are {length} tokens, beyond the model's context of "
                f"{architecture.context}: shorten one of them"
            )
        # A cache rounds up: it is too small only where the user has set `max_len`.
        elif cache.capacity(length) < length:
            problems.append(
                f"{both} are {length} tokens, more than cache.max_len={cache.capacity(length)} "
                f"holds: raise it to {length} or more"
            )
    return problems
