"""The Python API: a composed candidate as an object that generates and scores, in this process."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from jaxgen.api.candidate import candidate
from jaxgen.checkpoints.progress import Progress, silent
from jaxgen.checkpoints.restore import load as load_weights
from jaxgen.engine import engine as engines
from jaxgen.engine.continuous import Continuous, Request
from jaxgen.engine.continuous_call import Call
from jaxgen.engine.scoring.encoding import TextOrIds, outside_vocabulary
from jaxgen.engine.scoring.likelihood import Likelihood, LikelihoodScorer
from jaxgen.engine.scoring.score import score
from jaxgen.engine.scoring.scorer import Scorer
from jaxgen.errors import UserError
from jaxgen.models.sharding import shardings_of
from jaxgen.specs.run import Run
from jaxgen.specs.score import Score, text_or_id_problems
from jaxgen.specs.workload import Batching
from jaxgen.workloads.codec import Codec

# With what an engine returns and raises, so that a caller needs one import.
__all__ = ["Completion", "Engine", "Likelihood", "UserError", "load"]


class Completion(NamedTuple):
    """What a model wrote after one prompt.

    Attributes:
        text: the new text; null where the model has no tokenizer.
        tokens: the new token ids.
        finish_reason: `eos` or `length`.
    """

    text: str | None
    tokens: list[int]
    finish_reason: str


class Engine:
    """One arm's model with its dtypes, cache and jit strategy, in this process; made by `load`.

    Nothing is measured here: compiled programs are kept from call to call, one for each shape.

    Attributes:
        run: the arm's spec.
        random: whether the weights are random; what the model says means nothing then.
    """

    def __init__(self, run: Run, *, progress: Progress = silent):
        shardings = shardings_of(run.mesh)
        # Restored straight into their places: no device needs room for more than its part.
        loaded = load_weights(run.model, dtype=run.dtype, shardings=shardings, progress=progress)
        vocab_size = loaded.structure.architecture.vocab_size
        self.run = run
        self.random = loaded.random
        self._codec = Codec(loaded.tokenizer, vocab_size=vocab_size, random=loaded.random)
        self._engine = engines.Engine(run, loaded.structure, loaded.leaves)
        # Scores can be asked of any arm; one that generates scores with the defaults.
        work = run.workload if isinstance(run.workload, Score) else Score()
        self._scorer = Scorer(
            self._engine, batch_size=work.batch_size, prefix_cache=work.prefix_cache
        )
        self._likelihoods = LikelihoodScorer(self._engine, self._codec, batch_size=work.batch_size)

    @property
    def context(self) -> int:
        """The most tokens that the model can attend to."""
        return self._engine.blueprint.structure.architecture.context

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, with what the tokenizer puts around it."""
        return self._codec.encode(text)

    def decode(self, tokens: Sequence[int]) -> str | None:
        """Return the text of token ids; null without a tokenizer."""
        return self._codec.decode(tokens)

    def generate(
        self, prompts: str | Sequence[TextOrIds], *, max_new_tokens: int | None = None
    ) -> list[Completion]:
        """Continue each prompt as `workload=generate` does, `workload.batch_size` at a time.

        Args:
            prompts: a text, or several texts or lists of token ids.
            max_new_tokens: null takes `workload.max_new_tokens`.

        Returns:
            One completion per prompt, in their order.

        Raises:
            UserError: a prompt is empty, out of the vocabulary, or too long for the model or the
                cache.
        """
        # A text is a sequence as well, of single letters.
        several = [prompts] if isinstance(prompts, str) else list(prompts)
        self._check_prompts(several, max_new_tokens)
        encoded = []
        for prompt in several:
            # Token ids may be integers of NumPy, which are made into Python's here.
            ids = self.encode(prompt) if isinstance(prompt, str) else [int(id_) for id_ in prompt]
            encoded.append(ids)
        if self._engine.generation.batching is Batching.continuous:
            outputs = self._generate_continuously(encoded, new_tokens=max_new_tokens)
        else:
            outputs = self._generate_in_batches(encoded, new_tokens=max_new_tokens)
        return [Completion(self.decode(ids), ids, reason) for ids, reason in outputs]

    def _check_prompts(self, prompts: Sequence[TextOrIds], max_new_tokens: int | None) -> None:
        """Raise a UserError that names everything that is wrong with the arguments."""
        named = [(f"prompts[{number}]", prompt) for number, prompt in enumerate(prompts)]
        problems = []
        for name, prompt in named:
            problems += text_or_id_problems(prompt, name, may_be_empty=False)
        if not problems:
            # Only of well-formed ids can be said whether they lie in the vocabulary.
            vocab_size = self._engine.blueprint.structure.architecture.vocab_size
            problems = outside_vocabulary(named, vocab_size)
        if max_new_tokens is not None and max_new_tokens < 1:
            problems.append(f"max_new_tokens={max_new_tokens} must be 1 or more")
        if problems:
            raise UserError.collected("nothing can be generated", problems)

    def _generate_continuously(
        self, prompts: Sequence[list[int]], *, new_tokens: int | None
    ) -> list[engines.Output]:
        """Generate with rows that take the next prompt as soon as they are free."""
        engine = self._engine
        limit = new_tokens or engine.generation.max_new_tokens
        requests = [Request(tuple(prompt), limit) for prompt in prompts]
        call = Call(Continuous(engine, requests), clock=time.perf_counter)
        call.run()
        outputs = []
        for sequence in call.served:
            ids = list(sequence.tokens)
            outputs.append((ids, engine.finish_reason(sequence.tokens)))
        return outputs

    def _generate_in_batches(
        self, prompts: Sequence[list[int]], *, new_tokens: int | None
    ) -> list[engines.Output]:
        """Generate batch by batch; a batch ends with its longest row."""
        engine = self._engine
        outputs = []
        # One capacity for all batches, so that they share compiled programs.
        capacity = engine.capacity(prompts, new_tokens=new_tokens)
        for batch in engine.batches(prompts, new_tokens=new_tokens, capacity=capacity):
            cache = engine.empty_cache(batch)
            _, state = engine.decode(batch, *engine.prefill(batch, cache))
            outputs += engine.outputs(batch, state)
        return outputs

    def score(
        self,
        query: TextOrIds,
        items: Sequence[TextOrIds],
        label_token_ids: Sequence[int] | None = None,
        apply_softmax: bool = False,
        item_first: bool = False,
        tokenization: str = "joint",
        *,
        labels: Sequence[str] | None = None,
    ) -> list[list[float]]:
        """Return the probability of each label right after the query and each item.

        Args:
            query: a text or token ids.
            items: of the same kind as the query; an item may be empty.
            label_token_ids: the labels' ids; one score per occurrence.
            apply_softmax: probabilities among the labels alone; else over the whole vocabulary.
            item_first: the item stands before the query.
            tokenization: `joint` tokenises query and item as one text, `separate` joins the tokens
                of both.
            labels: instead of ids their texts, each of them one token.

        Returns:
            One row per item, one column per label, in their orders.

        Raises:
            UserError: anything is missing, empty, of a wrong type, out of range or too long.

        Example:
            >>> jaxgen.load().score("The sky is", [" blue", " green"], labels=[".", ","])
            [[0.00032..., 0.00032...], [7.97...e-05, 0.00092...]]
        """
        return score(
            self._scorer,
            self._codec,
            query=query,
            items=items,
            label_token_ids=label_token_ids,
            labels=labels,
            apply_softmax=apply_softmax,
            item_first=item_first,
            tokenization=tokenization,
        )

    def loglikelihood(self, context: TextOrIds, continuation: TextOrIds) -> Likelihood:
        """Return the log-probability of `continuation` right after `context`.

        Returns:
            The sum over its tokens, and whether each of them is the likeliest one.

        Raises:
            UserError: one of them is empty (the context may be), out of the vocabulary, or both
                are too long.
        """
        return self._likelihoods.loglikelihood(context, continuation)

    def loglikelihoods(
        self, pairs: Sequence[tuple[TextOrIds, TextOrIds]], *, truncate: bool = False
    ) -> list[Likelihood]:
        """Return `loglikelihood` of many (context, continuation), computed in batches.

        Args:
            pairs: the contexts and their continuations.
            truncate: shorten contexts that are too long, from their beginning.
        """
        return self._likelihoods.loglikelihoods(pairs, truncate=truncate)

    def rolling_loglikelihood(self, text: TextOrIds) -> float:
        """Return the log-likelihood of a whole text.

        A text beyond the model's context is cut into stretches that fill it.
        """
        return self._likelihoods.rolling(text)


def load(*overrides: str) -> Engine:
    """Compose a run as the command line does, and load its candidate's model into this process.

    Args:
        overrides: such as `model=hf`, `model.source=FOLDER`, `dtype=bfloat16`.

    Raises:
        UserError: as on the command line.

    Example:
        >>> engine = jaxgen.load("cache=fixed", "workload.max_new_tokens=8")
        >>> engine.generate("Once upon a time")[0].text
        ' there was a curious'
    """
    return Engine(candidate(overrides))
