"""Log-likelihoods of continuations and of whole texts, as evaluation harnesses ask for them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxgen.engine.binders import bind
from jaxgen.engine.engine import Engine
from jaxgen.engine.scoring import programs
from jaxgen.engine.scoring.request import Encoder, Text, outside_vocabulary, tokens_of
from jaxgen.engine.scoring.rows import Rows, make_rows, on_device, padded, width
from jaxgen.errors import UserError
from jaxgen.models.sharding import on_host
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.score import text_or_id_problems


class Likelihood(NamedTuple):
    """Of one continuation.

    Attributes:
        logprob: sum over its tokens, natural logarithm.
        is_greedy: every one of its tokens is the likeliest at its place.
    """

    logprob: float
    is_greedy: bool


Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Tokens of a context, at least one, and of what follows it."""


class LikelihoodScorer:
    """Log-likelihoods with an engine's weights, dtypes and jit strategy; nothing is decoded, so no cache is needed.

    Args:
        engine: its weights at the time of each call are used.
        codec: reads texts.
        batch_size: texts at a time.

    Example:
        >>> likelihoods = LikelihoodScorer(engine, codec)
        >>> logprob, is_greedy = likelihoods.loglikelihood("The sky is", " blue")
    """

    def __init__(self, engine: Engine, codec: Encoder, *, batch_size: int = 16):
        self.engine = engine
        self.codec = codec
        self.batch_size = batch_size
        program = programs.continuation_logprobs
        self._logprobs = bind(
            engine.run.jit.strategy, program, engine.blueprint, leaves=engine.leaves, donate=False
        )

    def loglikelihood(self, context: Text, continuation: Text) -> Likelihood:
        """Of `continuation` right after `context`; see `loglikelihoods`."""
        return self.loglikelihoods([(context, continuation)])[0]

    def loglikelihoods(
        self, pairs: Sequence[tuple[Text, Text]], *, truncate: bool = False
    ) -> list[Likelihood]:
        """Of each continuation after its context, in order.

        Args:
            pairs: texts or token ids, both alike. Texts are tokenised together; blanks that end a context count as the
                continuation's first, as its tokens hold them. An empty context is the token that begins a text.

        Raises:
            UserError: a pair is empty, mixed, out of the vocabulary, or longer than the model's context by more than
                the continuation's last token, which is never fed.
        """
        made = [
            self._pair(*pair, number=number, truncate=truncate) for number, pair in enumerate(pairs)
        ]
        return self._of(made)

    def rolling(self, text: Text) -> float:
        """Log-likelihood of a whole text from the token that begins one, natural logarithm.

        A text beyond the model's context is cut into stretches that fill it; each of their tokens is asked for once,
        and the last stretch reaches back for as much context as there is room for.
        """
        self._check({"text": text})
        return sum(
            (each.logprob for each in self._of(list(self._stretches(self._tokens(text))))), 0.0
        )

    @property
    def _architecture(self) -> Architecture:
        return self.engine.blueprint.structure.architecture

    def _rows(self, fed: Mapping[int, Sequence[int]]) -> tuple[Rows, ...]:
        longest = self._architecture.context
        return make_rows(
            fed, batch_size=self.batch_size, longest=longest, layout=self.engine.layout
        )

    def _of(self, pairs: Sequence[Pair]) -> list[Likelihood]:
        found: dict[int, Likelihood] = {}
        fed = {
            number: (*context, *continuation)[:-1]
            for number, (context, continuation) in enumerate(pairs)
        }
        for rows in self._rows(fed):
            wanted = [pairs[number][1] for number in rows.numbers]
            count = rows.tokens.shape[0]
            asked = width(max(map(len, wanted)), longest=rows.tokens.shape[1])
            firsts = np.zeros((count,), np.int32)
            firsts[: len(wanted)] = [len(pairs[number][0]) - 1 for number in rows.numbers]
            targets = padded(wanted, count=count, width=asked)
            logprobs, likeliest = self._logprobs(
                self.engine.leaves,
                rows.from_the_beginning(self.engine.blueprint.window),
                rows.tokens,
                on_device(firsts, self.engine.layout, "batch"),
                on_device(targets, self.engine.layout, "batch"),
            )
            found |= _summed(
                rows.numbers, wanted, on_host(logprobs).astype(np.float64), on_host(likeliest)
            )
        return [found[number] for number in range(len(pairs))]

    def _pair(self, context: Text, continuation: Text, *, number: int, truncate: bool) -> Pair:
        names = f"context of pair {number}", f"continuation of pair {number}"
        self._check({names[0]: context, names[1]: continuation}, may_be_empty=names[0])
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
            first = first[-(limit + 1 - len(second)) :]
        if len(first) + len(second) - 1 > limit:
            raise UserError(
                f"{names[0]} and {names[1]} are {len(first)} + {len(second)} tokens, beyond the model's context of "
                f"{limit}: shorten the context"
            )
        return first, second

    def _check(self, named: dict[str, Text], *, may_be_empty: str | None = None) -> None:
        """Every value is a text or ids of the vocabulary."""
        problems = [
            problem
            for name, value in named.items()
            for problem in text_or_id_problems(value, name, may_be_empty=name == may_be_empty)
        ] or outside_vocabulary(named.items(), self._architecture.vocab_size)
        if problems:
            raise UserError.collected("no log-likelihood", problems)

    def _split(self, context: Text, continuation: Text) -> Pair:
        if not context:
            return self._beginning(), self._tokens(continuation)
        if isinstance(context, str) and isinstance(continuation, str):
            bare = context.rstrip()
            if not bare:  # blanks alone: nothing is left to stand before them
                return self._beginning(), self._tokens(context + continuation)
            joint, start = (
                tokens_of(self.codec, context + continuation),
                len(tokens_of(self.codec, bare)),
            )
            if 0 < start < len(joint):
                return joint[:start], joint[start:]
        return self._tokens(context, special=True), self._tokens(continuation)

    def _tokens(self, text: Text, *, special: bool = False) -> tuple[int, ...]:
        return (
            tokens_of(self.codec, text, special=special)
            if isinstance(text, str)
            else tuple(map(int, text))
        )

    def _beginning(self) -> tuple[int, ...]:
        """What begins a text that nothing stands before: the tokenizer's own token for it, or the model's EOS."""
        text = "a"
        before = len(tokens_of(self.codec, text)) - len(tokens_of(self.codec, text, special=False))
        ends = self._architecture.eos_token_ids
        if before:
            return tokens_of(self.codec, text)[:before]
        if not ends:
            raise UserError(
                "context is empty, and the model has no token that begins or ends a text: give a context"
            )
        return ends[:1]

    def _stretches(self, tokens: Sequence[int]) -> Iterator[Pair]:
        """Contexts and what follows them. With room for 4 and 10 tokens after B: B|0123, 3|4567, 567|89 (the last
        reaches back over three tokens: 567 and 8 are fed, 8 and 9 asked for)."""
        room = self._architecture.context
        begun = (*self._beginning(), *tokens)
        skipped = len(begun) - len(tokens)
        for start in range(skipped, len(begun), room):
            end = min(start + room, len(begun))
            yield tuple(begun[max(end - 1 - room, 0) : start]), tuple(begun[start:end])


def _summed(
    numbers: Sequence[int],
    wanted: Sequence[Sequence[int]],
    logprobs: np.ndarray,
    likeliest: np.ndarray,
) -> dict[int, Likelihood]:
    return {
        number: Likelihood(
            float(logprobs[row, : len(tokens)].sum()), bool(likeliest[row, : len(tokens)].all())
        )
        for row, (number, tokens) in enumerate(zip(numbers, wanted, strict=True))
    }
