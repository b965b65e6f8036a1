"""A model for EleutherAI's lm-evaluation-harness (the extra `lm-eval`).

    python -m jaxgen.harness --model jaxgen --model_args model=hf,model.source=FOLDER --tasks TASK

takes the harness's own arguments; in Python, `lm_eval.simple_evaluate(model=Harness(...))`.
"""

import itertools
from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from jaxgen.api.load import Engine, candidate
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
        sized = str(batch_size).isdigit()  # it may be "auto"
        composed = [f"{key}={value}" for key, value in overrides.items()]
        composed += [f"workload.batch_size={batch_size}"] if sized else []
        self.engine = Engine(candidate(composed))

    def loglikelihood(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Sum of log-probabilities of each continuation, and whether it is greedy; contexts lose what is too long."""
        del disable_tqdm
        pairs = [_arguments(request) for request in requests]
        return [
            (each.logprob, each.is_greedy)
            for each in self.engine.loglikelihoods(pairs, truncate=True)
        ]

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-likelihood of each whole text."""
        del disable_tqdm
        return [self.engine.rolling_loglikelihood(_arguments(request)[0]) for request in requests]

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """What is written after each context, up to the first of the strings that end it.

        Raises:
            UserError: a task wants tokens drawn by chance, or more of them than the model's context holds.
        """
        del disable_tqdm
        asked = [(number, _arguments(request)) for number, request in enumerate(requests)]
        written: dict[int, str] = {}
        by_limit = sorted(asked, key=lambda each: _limit(each[1][1]))
        for limit, group in itertools.groupby(by_limit, key=lambda each: _limit(each[1][1])):
            several = list(group)
            prompts = [
                self._shortened(context, room=self.engine.context - limit)
                for _, (context, _) in several
            ]
            completed = self.engine.generate(prompts, max_new_tokens=limit)
            for (number, (_, settings)), completion in zip(several, completed, strict=True):
                written[number] = _cut(completion.text or "", settings.get("until") or [])
        return [written[number] for number in range(len(asked))]

    def _shortened(self, context: str, *, room: int) -> list[int]:
        if room < 1:
            raise UserError(
                f"the task wants {self.engine.context - room} new tokens, and the model's context is "
                f"{self.engine.context}: set max_gen_toks lower"
            )
        return self.engine.encode(context)[-room:]


def _arguments(request: Instance) -> Any:
    """What a request asks: (context, continuation), (text,) or (context, settings); the harness types them as empty."""
    return request.args


def _limit(settings: dict[str, Any]) -> int:
    if settings.get("do_sample") or float(settings.get("temperature") or 0) > 0:
        raise UserError(
            "the task draws tokens by chance (do_sample, temperature); jaxgen.harness is greedy"
        )
    return int(settings.get("max_gen_toks") or settings.get("max_new_tokens") or MOST_NEW_TOKENS)


def _cut(text: str, until: str | Sequence[str]) -> str:
    """The text before the first of the strings that end it."""
    ends = [until] if isinstance(until, str) else until
    return text[: min((text.index(end) for end in ends if end and end in text), default=len(text))]


def main() -> None:
    """The harness's own command line, which knows `--model jaxgen` here."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
