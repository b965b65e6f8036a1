"""Texts and token ids as a caller may give them, and the tokens of a text."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from tokenizers import Tokenizer

TextOrIds = str | Sequence[int]


class Encoder(Protocol):
    """Encodes texts; without a tokenizer it makes ids of its own."""

    tokenizer: Tokenizer | None

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        ...


def tokens_of(codec: Encoder, text: str, *, special: bool = True) -> tuple[int, ...]:
    """Return the token ids of a text.

    Args:
        codec: encodes it.
        text: any.
        special: keep the tokens that the tokenizer puts before a text. Those that it puts behind
            are left out in any case: scores are of the token right after the text, not of one
            after its end.
    """
    # Bytes as ids have no special tokens.
    if codec.tokenizer is None:
        return tuple(codec.encode(text))
    encoding = codec.tokenizer.encode(text, add_special_tokens=special)
    # Special tokens at the end are cut off; those at the beginning stay.
    end = len(encoding.ids)
    while end and encoding.special_tokens_mask[end - 1]:
        end -= 1
    return tuple(encoding.ids[:end])


def outside_vocabulary(arguments: Iterable[tuple[str, TextOrIds]], vocab_size: int) -> list[str]:
    """Return a problem for each token id that the model does not have.

    Args:
        arguments: names and values; those that are texts have no ids.
        vocab_size: of the model.
    """
    problems = []
    for name, ids in arguments:
        if isinstance(ids, str):
            continue
        # Negative ids are refused with the types, before this.
        for position, token in enumerate(ids):
            if token >= vocab_size:
                problems.append(
                    f"{name}[{position}]={token} is outside the vocabulary of {vocab_size} "
                    f"(0 to {vocab_size - 1})"
                )
    return problems
