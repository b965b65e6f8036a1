"""Contexts and continuations as token ids, checked: what a log-likelihood is computed of."""

from collections.abc import Iterator, Sequence

from jaxgen.engine.scoring.encoding import (
    Encoder,
    TextOrIds,
    outside_vocabulary,
    tokens_of,
)
from jaxgen.errors import UserError
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.score import text_or_id_problems

Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Tokens of a context, at least one, and of what follows it."""


class PairEncoder:
    """Turns texts or token ids into pairs that a model can run.

    Args:
        codec: encodes texts.
        architecture: says which ids and lengths the model knows.
    """

    def __init__(self, codec: Encoder, architecture: Architecture):
        self._codec = codec
        self._architecture = architecture

    def token_pair(
        self,
        context: TextOrIds,
        continuation: TextOrIds,
        *,
        number: int,
        truncate: bool,
    ) -> Pair:
        """Check a pair and return its tokens, within the model's context.

        Args:
            context: may be empty.
            continuation: a text or token ids, as the context.
            number: of the pair, for messages.
            truncate: shorten a context that is too long.

        Raises:
            UserError: as of `LikelihoodScorer.loglikelihoods`.
        """
        names = (
            f"context of pair {number}",
            f"continuation of pair {number}",
        )
        named = {
            names[0]: context,
            names[1]: continuation,
        }
        self.check(named, may_be_empty=names[0])
        if context and isinstance(context, str) != isinstance(continuation, str):
            raise UserError(
                f"{names[0]} and {names[1]}: one is a text, one token ids; give both alike"
            )
        first, second = self._split(context, continuation)
        if not second:
            raise UserError(
                f"{names[1]} becomes no token at all: give a text that the tokenizer keeps"
            )
        limit = self._architecture.context
        if truncate and len(second) <= limit:
            room = limit + 1 - len(second)
            first = first[-room:]
        # The continuation's last token is never fed, and needs no room.
        if len(first) + len(second) - 1 > limit:
            raise UserError(
                f"{names[0]} and {names[1]} are {len(first)} + {len(second)} tokens, beyond the "
                f"model's context of {limit}: shorten the context"
            )
        return first, second

    def check(
        self,
        named: dict[str, TextOrIds],
        *,
        may_be_empty: str | None = None,
    ) -> None:
        """Raise where a value is neither a text nor ids of the vocabulary.

        Args:
            named: values by the names that the user knows.
            may_be_empty: the name of one that may.

        Raises:
            UserError: all problems at once.
        """
        problems = []
        for name, value in named.items():
            problems += text_or_id_problems(
                value,
                name,
                may_be_empty=name == may_be_empty,
            )
        if not problems:
            problems = outside_vocabulary(
                named.items(),
                self._architecture.vocab_size,
            )
        if problems:
            raise UserError.collected("no log-likelihood", problems)

    def _split(self, context: TextOrIds, continuation: TextOrIds) -> Pair:
        """The tokens of both; texts are tokenised together and then divided."""
        if not context:
            return self._beginning(), self.tokens(continuation)
        if isinstance(context, str) and isinstance(continuation, str):
            # Tokenisers put a blank to the word behind it, so blanks go with the continuation.
            bare = context.rstrip()
            if not bare:  # blanks alone: nothing is left to stand before them
                return self._beginning(), self.tokens(context + continuation)
            # Divided by count: the first tokens, as many as the context alone has, are the
            # context's.
            joint = tokens_of(self._codec, context + continuation)
            start = len(tokens_of(self._codec, bare))
            if 0 < start < len(joint):
                return joint[:start], joint[start:]
        # Ids, or texts whose joint tokens leave one side empty: each is taken by itself.
        return self.tokens(context, special=True), self.tokens(continuation)

    def tokens(self, text: TextOrIds, *, special: bool = False) -> tuple[int, ...]:
        """Return token ids, without the tokens that a tokenizer puts before a text."""
        if isinstance(text, str):
            return tokens_of(self._codec, text, special=special)
        return tuple(map(int, text))

    def _beginning(self) -> tuple[int, ...]:
        """What begins a text: the tokenizer's own token for it, or the model's EOS."""
        # What the tokenizer puts before any text, found out with one letter.
        with_special = tokens_of(self._codec, "a")
        count = len(with_special) - len(tokens_of(self._codec, "a", special=False))
        if count:
            return with_special[:count]
        ends = self._architecture.eos_token_ids
        if not ends:
            raise UserError(
                "context is empty, and the model has no token that begins or ends a text: give a "
                "context"
            )
        return ends[:1]

    def windows(self, tokens: Sequence[int]) -> Iterator[Pair]:
        """Yield contexts and what follows them, for a text of any length.

        With room for 4 and 10 tokens after B: B|0123, 3|4567, 567|89 (the last reaches back over
        three tokens: 567 and 8 are fed, 8 and 9 count).
        """
        room = self._architecture.context
        beginning = self._beginning()
        sequence = (*beginning, *tokens)
        for start in range(len(beginning), len(sequence), room):
            # All but a window's last token are fed: there is room for one more than the context.
            end = min(start + room, len(sequence))
            yield (
                sequence[max(end - 1 - room, 0) : start],
                sequence[start:end],
            )
