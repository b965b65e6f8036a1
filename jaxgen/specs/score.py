"""Scoring (`workload=score`): how likely each label is right after the query and each item."""

import dataclasses
import enum
import numbers
from typing import Any, ClassVar

from jaxgen.errors import UserError


class Tokenization(enum.Enum):
    """What becomes tokens at once.

    `joint` is the text of query and item joined; `separate` is each of them, and their ids joined.
    """

    joint = "joint"
    separate = "separate"


@dataclasses.dataclass(frozen=True)
class Score:
    """Score every item against every label.

    Attributes:
        query: a text, or token ids.
        items: texts or lists of token ids, as the query is one.
        labels: texts of one token each.
        label_token_ids: the labels as ids; where given they go before `labels`.
        apply_softmax: probabilities among the labels alone; else over the whole vocabulary.
        item_first: the item stands before the query.
        tokenization: `joint` joins the texts first, `separate` joins their tokens.
        prefix_cache: compute the query once and continue each item from its cache.
        batch_size: items at a time.
        batch_sizes: measure requests of so many items, all of them one batch, a case each.
        num_labels: measure so many labels, whichever they are, a case each with each of
            `batch_sizes`.
        num_runs: time exactly so many calls of each arm and case, each a trial of its own; null
            leaves that to `measure`.
        item_tokens: items of so many random token ids instead of `items`, of which then only the
            number counts.
    """

    output_key: ClassVar[str] = "scores"
    """What the outputs of two arms are compared by."""
    greedy: ClassVar[bool] = True
    times_are_of_a_prompt: ClassVar[bool] = False

    query: str | tuple[int, ...] = "I pledge allegiance"
    items: tuple[str | tuple[int, ...], ...] = (
        " to the flag",
        " of the United States",
        " for which it stands",
    )
    labels: tuple[str, ...] | None = (" to", " of", " for")
    label_token_ids: tuple[int, ...] | None = None
    apply_softmax: bool = False
    item_first: bool = False
    tokenization: Tokenization = Tokenization.joint
    prefix_cache: bool = True
    batch_size: int = 16
    batch_sizes: tuple[int, ...] = ()
    num_labels: tuple[int, ...] = ()
    num_runs: int | None = None
    item_tokens: int | None = None

    def __post_init__(self):
        if self.label_token_ids is not None:
            # The default labels must not be a mistake of whoever gives ids.
            object.__setattr__(self, "labels", None)
        items = self.items
        if self.item_tokens is not None:
            items = [self.query] * len(items)  # only their number counts
        problems = input_problems(
            self.query,
            items,
            label_token_ids=self.label_token_ids,
            labels=self.labels,
            prefix="workload.",
        )
        problems += self._impossible_numbers()
        if problems:
            raise UserError.collected("impossible workload", problems)
        # Hydra has lists where a hashable spec has tuples.
        for key in ("query", "items", "labels", "label_token_ids", "batch_sizes", "num_labels"):
            object.__setattr__(self, key, _frozen(getattr(self, key)))

    def _impossible_numbers(self) -> list[str]:
        problems = []
        for key in ("batch_size", "num_runs", "item_tokens"):
            value = getattr(self, key)
            if value is not None and value < 1:
                problems.append(f"workload.{key}={value} must be 1 or more")
        for key in ("batch_sizes", "num_labels"):
            values = list(getattr(self, key))
            # Each is a case of its own: twice the same would be measured twice.
            are_different = len(set(values)) == len(values)
            are_positive = all(value >= 1 for value in values)
            if not (are_different and are_positive):
                problems.append(f"workload.{key}={values} must be different numbers of 1 or more")
        return problems

    @property
    def fixed_calls(self) -> int | None:
        """How many calls are timed exactly; null leaves that to `measure`."""
        return self.num_runs


def input_problems(
    query: Any, items: Any, *, label_token_ids: Any, labels: Any, prefix: str = ""
) -> list[str]:
    """List what is wrong with a request, as far as that is known without a model.

    Args:
        query, items, label_token_ids, labels: as the user gave them; None is missing.
        prefix: goes before the arguments' names: `workload.` on the command line.

    Returns:
        One clause per problem; none if the request is well formed. Ids may still lie beyond the
        vocabulary.
    """
    problems = text_or_id_problems(query, f"{prefix}query", may_be_empty=False)
    problems += _several(items, f"{prefix}items")
    if isinstance(items, list | tuple):
        for number, item in enumerate(items):
            name = f"{prefix}items[{number}]"
            # An empty item scores the labels right behind the query.
            problems += text_or_id_problems(item, name, may_be_empty=True)
        problems += _mixed(query, items, prefix)
    problems += _label_problems(label_token_ids, labels, prefix)
    return problems


def is_token_id(value: Any) -> bool:
    """Whether a value is a whole number, of NumPy's perhaps, and no truth value."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def text_or_id_problems(value: Any, name: str, *, may_be_empty: bool) -> list[str]:
    """List what is wrong with a value that should be a text or a list of token ids.

    Args:
        value: the user's.
        name: what messages call it.
        may_be_empty: whether nothing at all is allowed.
    """
    if value is None:
        return [f"{name} is missing: give a text or a list of token ids"]
    if isinstance(value, str):
        return _text_problems(value, name, may_be_empty=may_be_empty)
    if not isinstance(value, list | tuple):
        problem = (
            f"{name}={_short(value)} is neither a text nor a list of token ids; "
            "a number as text needs quotes"
        )
        return [problem]
    if not value and not may_be_empty:
        return [f"{name} is empty: give at least one token"]
    return _id_problems(value, name)


def _label_problems(ids: Any, texts: Any, prefix: str) -> list[str]:
    if ids is None and texts is None:
        problem = (
            f"{prefix}label_token_ids is missing: give the labels' token ids, "
            f"or their texts as {prefix}labels"
        )
        return [problem]
    if ids is not None and texts is not None:
        return [f"{prefix}label_token_ids and {prefix}labels are both given: leave one of them out"]
    if ids is not None:
        name = f"{prefix}label_token_ids"
        return _several(ids, name) or _id_problems(ids, name)
    name = f"{prefix}labels"
    problems = _several(texts, name)
    if problems:
        return problems
    for number, text in enumerate(texts or ()):
        problems += _label_text(text, f"{name}[{number}]")
    return problems


def _label_text(value: Any, name: str) -> list[str]:
    if isinstance(value, str):
        return _text_problems(value, name, may_be_empty=False)
    return [f"{name}={_short(value)} is no text; ids go into label_token_ids"]


def _mixed(query: Any, items: Any, prefix: str) -> list[str]:
    """List items that cannot be joined with the query: texts and ids are mixed."""
    problems = []
    for number, item in enumerate(items):
        both = (query, item)
        # What is neither a text nor ids has been named already.
        if not all(isinstance(value, str | list | tuple) for value in both):
            continue
        if _kind(item) != _kind(query):
            problems.append(
                f"{prefix}items[{number}] is {_kind(item)} but {prefix}query is {_kind(query)}: "
                "give both alike"
            )
    return problems


def _text_problems(text: str, name: str, *, may_be_empty: bool) -> list[str]:
    if not text and not may_be_empty:
        return [f"{name} is empty: give a text"]
    try:
        # Arguments that are no UTF-8 arrive as lone surrogates, which no tokenizer takes.
        text.encode()
    except UnicodeEncodeError as error:
        return [f"{name}={_short(text)} is no Unicode text: {error.reason}"]
    return []


def _several(values: Any, name: str) -> list[str]:
    if values is None:
        return [f"{name} is missing: give a list"]
    if not isinstance(values, list | tuple):
        return [f"{name}={_short(values)} is not a list: put it in brackets"]
    return [] if values else [f"{name} is empty: give at least one"]


def _id_problems(ids: list | tuple, name: str) -> list[str]:
    problems = []
    for number, value in enumerate(ids):
        if not is_token_id(value) or value < 0:
            problems.append(
                f"{name}[{number}]={_short(value)} is no token id: ids are whole numbers, 0 or more"
            )
    return problems


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else "token ids"


def _short(value: Any) -> str:
    text = repr(value)
    if len(text) <= 60:
        return text
    return f"{text[:57]}..."


def _frozen(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    return tuple(_frozen(item) for item in value)
