"""A model for EleutherAI's lm-evaluation-harness (the extra `lm-eval`).

    python -m jaxgen.harness --model jaxgen --model_args model=hf,model.source=FOLDER --tasks TASK

takes the harness's own arguments; in Python, `lm_eval.simple_evaluate(model=Harness(...))`.
"""

from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from jaxgen.api.candidate import candidate
from jaxgen.api.load import Engine
from jaxgen.errors import UserError

MOST_NEW_TOKENS = 256  # where a task names no limit; the harness's own default for other models


@register_model("jaxgen")
class Harness(LM):
    """A composed jaxgen model as the harness calls it.

    Args:
        batch_size: rows at a time, for scores and for text; null takes jaxgen's defaults.
        max_batch_size, device: given by the harness's command line, and of no meaning here.
        overrides: as on jaxgen's command line, such as `{"model": "hf", "model.source": FOLDER}`.

    Raises:
        UserError: as on jaxgen's command line.
    """

    def __init__(
        self,
        *,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        **overrides: Any,
    ):
        super().__init__()
        del max_batch_size, device
        composed = [f"{key}={value}" for key, value in overrides.items()]
        if str(batch_size).isdigit():  # the harness also passes "auto"
            composed.append(f"workload.batch_size={batch_size}")
        self.engine = Engine(candidate(composed))

    def loglikelihood(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return the log-probability of each continuation, and whether it is greedy.

        Contexts that are too long lose their beginning.
        """
        del disable_tqdm
        pairs = [_arguments(request) for request in requests]
        likelihoods = self.engine.loglikelihoods(pairs, truncate=True)
        return [(likelihood.logprob, likelihood.is_greedy) for likelihood in likelihoods]

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-likelihood of each whole text."""
        del disable_tqdm
        likelihoods = []
        for request in requests:
            text = _arguments(request)[0]
            likelihood = self.engine.rolling_loglikelihood(text)
            likelihoods.append(likelihood)
        return likelihoods

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return what is written after each context, up to the first string that ends it.

        Raises:
            UserError: a task wants tokens drawn by chance, or more of them than the model's
                context holds.
        """
        del disable_tqdm
        # One call for all requests of one limit: they share batches and compiled programs.
        numbers_by_limit: dict[int, list[int]] = {}
        for number, request in enumerate(requests):
            _, settings = _arguments(request)
            limit = _limit(settings)
            numbers = numbers_by_limit.setdefault(limit, [])
            numbers.append(number)
        texts = [""] * len(requests)
        for limit, numbers in sorted(numbers_by_limit.items()):
            room = self.engine.context - limit
            prompts = []
            for number in numbers:
                context, _ = _arguments(requests[number])
                prompts.append(self._shortened(context, room=room))
            completions = self.engine.generate(prompts, max_new_tokens=limit)
            for number, completion in zip(numbers, completions, strict=True):
                _, settings = _arguments(requests[number])
                # The engine stops at eos or a number of tokens alone, and never at a string.
                until = settings.get("until") or []
                texts[number] = _cut(completion.text or "", until)
        return texts

    def _shortened(self, context: str, *, room: int) -> list[int]:
        """Return the last `room` tokens of a context."""
        if room < 1:
            wanted = self.engine.context - room
            raise UserError(
                f"the task wants {wanted} new tokens, and the model's context is "
                f"{self.engine.context}: set max_gen_toks lower"
            )
        # The end of a context is nearest to what is to be written: its beginning is given up.
        return self.engine.encode(context)[-room:]


def _arguments(request: Instance) -> Any:
    """Return (context, continuation), (text,) or (context, settings) of a request.

    The harness types them as an empty tuple.
    """
    return request.args


def _limit(settings: dict[str, Any]) -> int:
    """Return the most new tokens that a task wants."""
    temperature = float(settings.get("temperature") or 0)
    if settings.get("do_sample") or temperature > 0:
        raise UserError(
            "the task draws tokens by chance (do_sample, temperature); jaxgen.harness is greedy"
        )
    # Tasks use either name; the harness's own models know both.
    limit = settings.get("max_gen_toks")
    if not limit:
        limit = settings.get("max_new_tokens")
    return int(limit or MOST_NEW_TOKENS)


def _cut(text: str, until: str | Sequence[str]) -> str:
    """Return the text before the first of the strings that end it."""
    ends = [until] if isinstance(until, str) else until
    first = len(text)
    for end in ends:
        position = text.find(end) if end else -1
        if position >= 0:
            first = min(first, position)
    return text[:first]


def main() -> None:
    """Run the harness's own command line, which knows `--model jaxgen` here."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
