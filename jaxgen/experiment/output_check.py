"""How the arms' answers are compared: token by token or score by score, with what the workers are asked beside."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.agreement import scores, tokens
from jaxgen.executor.pool import Pool
from jaxgen.results.schema import Agreement
from jaxgen.specs.arm import Arm
from jaxgen.specs.score import Score

Rows = list[dict[str, Any]]

_KNOBS = ("weights", "activations", "kv", "logits")

_PRODUCTS = {"gpu": "tensorfloat32", "tpu": "bfloat16"}
"""What JAX's default precision makes of float32 operands of a matrix product, by platform (`jax.lax.Precision`)."""
_WHOLE = ("highest", "float32")


def agreement_of(
    arms: Mapping[str, Arm], pool: Pool, rows: Mapping[str, Rows], *, case: int
) -> Agreement | None:
    """The block `agreement` of a case; null with one arm alone.

    Args:
        arms: by name.
        pool: their workers.
        rows: what each arm answered.
        case: its number.
    """
    if len(rows) < 2:
        return None
    dtypes = {name: computed_in(arm, pool.environments[name]) for name, arm in arms.items()}
    workloads = [arm.run.workload for arm in arms.values()]
    if any(isinstance(work, Score) for work in workloads):
        return scores.compare(rows["candidate"], rows["baseline"], dtypes=dtypes)

    divergences = _divergences(rows)
    forced = _forced(pool, rows["baseline"], divergences, case=case)
    answers = _answers(rows["baseline"], divergences, forced["divergences"])

    def logprobs(arm: str, tokens: list[int], candidates: list[int]) -> list[float]:
        # The teacher-forced pass has them, but for positions that it had to leave out.
        answer = answers.get((arm, *tokens, *candidates))
        return answer or pool.call(arm, "logprobs", tokens=tokens, candidates=candidates)

    return tokens.compare(
        rows["candidate"],
        rows["baseline"],
        dtypes=dtypes,
        greedy=all(work.sampling.greedy for work in workloads if not isinstance(work, Score)),
        logprobs=logprobs,
        forced=forced,
    )


def computed_in(arm: Arm, environment: Mapping[str, Any]) -> list[str]:
    """The names of all that an arm stores or computes in, its device's float32 products among them."""
    dtypes = {knob: getattr(arm.run.dtype, knob).value for knob in _KNOBS}
    products = _PRODUCTS.get(environment.get("platform", "cpu"))
    precision = (environment.get("jax_config") or {}).get("jax_default_matmul_precision")
    multiplied = "float32" in (dtypes["activations"], dtypes["logits"])
    narrowed = [products] if products and multiplied and precision not in _WHOLE else []
    return [*dtypes.values(), *narrowed]


def _divergences(rows: Mapping[str, Rows]) -> list[dict[str, Any]]:
    """Where the arms part, and the two tokens there; one that has ended has no token."""
    divergences = []
    pairs = zip(rows["candidate"], rows["baseline"], strict=True)
    for row, (candidate, baseline) in enumerate(pairs):
        at = tokens.first_divergence(candidate, baseline)
        if at is not None and at.candidate is not None and at.baseline is not None:
            both = [at.candidate, at.baseline]
            divergences.append({"row": row, "position": at.position, "tokens": both})
    return divergences


def _answers(
    baseline: Rows, divergences: list[dict[str, Any]], logprobs: list[dict[str, Any] | None]
) -> dict[tuple[Any, ...], list[float]]:
    """The log-probabilities by arm, tokens before and tokens asked for; NaN for no number."""
    answers = {}
    for at, by_arm in zip(divergences, logprobs, strict=True):
        row = baseline[at["row"]]
        before = [*row["prompt_tokens"], *row["tokens"][: at["position"]]]
        for arm, values in (by_arm or {}).items():
            numbers = [math.nan if value is None else value for value in values]
            answers[arm, *before, *at["tokens"]] = numbers
    return answers


def _forced(
    pool: Pool, teacher: Rows, divergences: list[dict[str, Any]], *, case: int
) -> dict[str, Any]:
    """Both arms' logits on the baseline's own answers, through a file: they are too many for the pipe."""
    with tempfile.TemporaryDirectory(prefix="jaxgen-") as folder:
        path = str(Path(folder) / "reference.npy")
        rows = [{key: row[key] for key in ("prompt_tokens", "tokens")} for row in teacher]
        taught = pool.call("baseline", "write_reference_logits", case=case, rows=rows, path=path)
        learnt = pool.call(
            "candidate",
            "compare_logits",
            case=case,
            rows=rows,
            path=path,
            divergences=divergences,
        )
    methods = {"baseline": taught["forced"], **learnt["forced"]}
    return {**learnt, "forced": methods, "positions_total": taught["positions_total"]}
