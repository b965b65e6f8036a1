"""Log-likelihoods of continuations and of whole texts, as evaluation harnesses need them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxgen.engine.binders import bind
from jaxgen.engine.engine import Engine
from jaxgen.engine.right_padding import right_padded
from jaxgen.engine.scoring import programs
from jaxgen.engine.scoring.encoding import (
    Encoder,
    TextOrIds,
)
from jaxgen.engine.scoring.pairs import Pair, PairEncoder
from jaxgen.engine.scoring.rows import (
    RowBatch,
    make_row_batches,
    on_device,
    row_width,
)
from jaxgen.models.sharding import on_host


class Likelihood(NamedTuple):
    """Of one continuation.

    Attributes:
        logprob: sum over its tokens, natural logarithm.
        is_greedy: every one of its tokens is the likeliest at its position.
    """

    logprob: float
    is_greedy: bool


class LikelihoodScorer:
    """Log-likelihoods with an engine's weights, dtypes and jit strategy.

    Nothing is decoded, so no cache is needed.

    Args:
        engine: its weights at the time of each call are used.
        codec: encodes texts.
        batch_size: rows at a time.

    Example:
        >>> likelihoods = LikelihoodScorer(engine, codec)
        >>> logprob, is_greedy = likelihoods.loglikelihood("The sky is", " blue")
    """

    def __init__(
        self,
        engine: Engine,
        codec: Encoder,
        *,
        batch_size: int = 16,
    ):
        self.engine = engine
        self.batch_size = batch_size
        self._pairs = PairEncoder(codec, engine.blueprint.structure.architecture)
        # Nothing is donated: there is no cache to write to.
        self._logprobs = bind(
            engine.run.jit.strategy,
            programs.continuation_logprobs,
            engine.blueprint,
            leaves=engine.leaves,
            donate=False,
        )

    def loglikelihood(self, context: TextOrIds, continuation: TextOrIds) -> Likelihood:
        """Return the likelihood of `continuation` right after `context`; see `loglikelihoods`."""
        return self.loglikelihoods([(context, continuation)])[0]

    def loglikelihoods(
        self,
        pairs: Sequence[tuple[TextOrIds, TextOrIds]],
        *,
        truncate: bool = False,
    ) -> list[Likelihood]:
        """Return the likelihood of each continuation after its context, in order.

        Args:
            pairs: texts or token ids, both alike. Texts are tokenised together; blanks that end a
                context count as the continuation's first, as its tokens hold them. An empty context
                is the token that begins a text.
            truncate: shorten contexts that are too long.

        Raises:
            UserError: a pair is empty, mixed, out of the vocabulary, or longer than the model's
                context by more than the continuation's last token, which is never fed.
        """
        token_pairs = []
        for number, (context, continuation) in enumerate(pairs):
            pair = self._pairs.token_pair(
                context,
                continuation,
                number=number,
                truncate=truncate,
            )
            token_pairs.append(pair)
        return self._likelihoods(token_pairs)

    def rolling(self, text: TextOrIds) -> float:
        """Return the log-likelihood of a whole text from the token that begins one.

        A text beyond the model's context is divided into windows that fill it; each of their tokens
        counts once, and the last window reaches back for as much context as there is room for.
        """
        self._pairs.check({"text": text})
        windows = list(self._pairs.windows(self._pairs.tokens(text)))
        likelihoods = self._likelihoods(windows)
        return sum(
            (likelihood.logprob for likelihood in likelihoods),
            0.0,
        )

    def _likelihoods(self, pairs: Sequence[Pair]) -> list[Likelihood]:
        """Run all pairs, in batches of rows of similar lengths."""
        rows = {}
        for number, (context, continuation) in enumerate(pairs):
            # The last token is never fed: it predicts nothing that counts.
            rows[number] = (*context, *continuation)[:-1]
        batches = make_row_batches(
            rows,
            batch_size=self.batch_size,
            longest=self.engine.blueprint.structure.architecture.context,
            layout=self.engine.layout,
        )
        by_number: dict[int, Likelihood] = {}
        for batch in batches:
            in_batch = [pairs[number] for number in batch.numbers]
            likelihoods = self._of_batch(batch, in_batch)
            by_number.update(
                zip(
                    batch.numbers,
                    likelihoods,
                    strict=True,
                )
            )
        # Batches are by length, answers in the order of the questions.
        return [by_number[number] for number in range(len(pairs))]

    def _of_batch(self, batch: RowBatch, pairs: Sequence[Pair]) -> list[Likelihood]:
        """Run one batch and sum up over the tokens of each continuation."""
        engine, layout = self.engine, self.engine.layout
        count, width = batch.tokens.shape
        # Rows of padding have no pair: they stay at position 0, and nobody reads what they yield.
        continuations = [continuation for _, continuation in pairs]
        # The token after the context's last position is the continuation's first.
        firsts = np.zeros((count,), np.int32)
        firsts[: len(pairs)] = [len(context) - 1 for context, _ in pairs]
        # Continuations are padded on their own: most are far shorter than their contexts.
        columns = row_width(max(map(len, continuations)), longest=width)
        targets = right_padded(continuations, count=count, width=columns)
        logprobs, is_likeliest = self._logprobs(
            engine.leaves,
            batch.empty_cache(engine.blueprint.window),
            batch.tokens,
            on_device(firsts, layout, "batch"),
            on_device(targets, layout, "batch"),
        )
        lengths = [len(continuation) for continuation in continuations]
        return _summed(
            on_host(logprobs),
            on_host(is_likeliest),
            lengths,
        )


def _summed(
    logprobs: np.ndarray,
    is_likeliest: np.ndarray,
    lengths: Sequence[int],
) -> list[Likelihood]:
    """Sum up each row over its first tokens; the others are padding."""
    # In float64: a long text has thousands of tokens.
    logprobs = logprobs.astype(np.float64)
    likelihoods = []
    for row, length in enumerate(lengths):
        logprob = float(logprobs[row, :length].sum())
        is_greedy = bool(is_likeliest[row, :length].all())
        likelihoods.append(Likelihood(logprob, is_greedy))
    return likelihoods
