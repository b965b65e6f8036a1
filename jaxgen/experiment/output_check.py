"""How the arms' outputs are compared, token by token or score by score.

Where tokens are compared, both arms also compute the logits of the baseline's outputs: what they
say there tells a rounding error from a fault.
"""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.agreement import divergence, scores, tokens
from jaxgen.executor.pool import Pool
from jaxgen.results.schema import Agreement
from jaxgen.specs.arm import Arm

Rows = list[dict[str, Any]]

_KNOBS = ("weights", "activations", "kv", "logits")

_PRODUCT_DTYPES = {"gpu": "tensorfloat32", "tpu": "bfloat16"}
"""What JAX's default precision makes of float32 operands of a matrix product, by platform
(`jax.lax.Precision`)."""
_FULL_PRECISION = ("highest", "float32")


def agreement_of(
    arms: Mapping[str, Arm], pool: Pool, rows: Mapping[str, Rows], *, case: int
) -> Agreement | None:
    """Compare the outputs of a case.

    Args:
        arms: by name.
        pool: their workers.
        rows: the outputs of each arm.
        case: the number of the case.

    Returns:
        The section `agreement` of the result; null with one arm alone.
    """
    if len(rows) < 2:
        return None
    # The allowed rounding follows from what the arms really compute in, so that the platform is
    # asked.
    dtypes = {name: computed_in(arm, pool.environments[name]) for name, arm in arms.items()}
    workloads = [arm.run.workload for arm in arms.values()]
    if any(workload.output_key == "scores" for workload in workloads):
        return scores.compare_scores(rows["candidate"], rows["baseline"], dtypes=dtypes)

    # Where the texts part is found first: the teacher-forced pass, which reads every position
    # anyway, then gives the log-probabilities there too, and nothing is compiled for them.
    divergences = _divergences(rows)
    forced = _compare_logits(pool, rows["baseline"], divergences, case=case)
    known = _logprobs_by_prefix(rows["baseline"], divergences, forced["divergences"])

    def logprobs(arm: str, prefix: list[int], candidates: list[int]) -> list[float]:
        # The teacher-forced pass has them, but for positions that it had to leave out.
        values = known.get((arm, *prefix, *candidates))
        return values or pool.call(arm, "logprobs", tokens=prefix, candidates=candidates)

    return tokens.compare_tokens(
        rows["candidate"],
        rows["baseline"],
        dtypes=dtypes,
        greedy=all(workload.greedy for workload in workloads),
        logprobs=logprobs,
        forced=forced,
    )


def changed_between_processes(
    names: Mapping[str, str],
    outputs: Mapping[str, Rows],
    first_outputs: Mapping[str, Rows],
    *,
    process: int,
) -> list[str]:
    """Return a sentence for each arm that wrote something else than in the first processes.

    Args:
        names: what to call each arm.
        outputs: of each arm, in this pair of processes.
        first_outputs: of each arm, in the first one.
        process: the number of this pair, from 0.
    """
    sentences = []
    for arm, rows in outputs.items():
        # Equal to the bit, scores included: the same program on the same machine is expected to
        # round alike.
        if rows != first_outputs[arm]:
            sentences.append(
                f"{names[arm]} wrote other outputs in process pair {process + 1} than in the first"
            )
    return sentences


def computed_in(arm: Arm, environment: Mapping[str, Any]) -> list[str]:
    """Return the names of all dtypes that an arm stores or computes in.

    Args:
        arm: with its four dtype knobs.
        environment: of its worker; on a GPU or TPU, products of float32 are made of narrower parts.
    """
    dtype = arm.run.dtype
    names = [getattr(dtype, knob).value for knob in _KNOBS]
    platform = environment.get("platform", "cpu")
    product_dtype = _PRODUCT_DTYPES.get(platform)
    jax_config = environment.get("jax_config") or {}
    precision = jax_config.get("jax_default_matmul_precision")
    operands = (dtype.activations.value, dtype.logits.value)
    if product_dtype and "float32" in operands and precision not in _FULL_PRECISION:
        names.append(product_dtype)
    return names


def _divergences(rows: Mapping[str, Rows]) -> list[dict[str, Any]]:
    """Return where the arms part, and the two tokens there; an arm that has ended has none."""
    divergences = []
    pairs = zip(rows["candidate"], rows["baseline"], strict=True)
    for row, (candidate, baseline) in enumerate(pairs):
        at = divergence.first_divergence(candidate, baseline)
        if at is not None and at.candidate is not None and at.baseline is not None:
            both = [at.candidate, at.baseline]
            divergences.append({"row": row, "position": at.position, "tokens": both})
    return divergences


def _logprobs_by_prefix(
    baseline: Rows, divergences: list[dict[str, Any]], logprobs: list[dict[str, Any] | None]
) -> dict[tuple[Any, ...], list[float]]:
    """Return log-probabilities by (arm, tokens before, tokens wanted); NaN for no number."""
    known = {}
    for at, by_arm in zip(divergences, logprobs, strict=True):
        if by_arm is None:
            continue
        row = baseline[at["row"]]
        # The key is what the arm has read when it chooses: the prompt and all tokens before the
        # divergence, which both arms share.
        written = row["tokens"][: at["position"]]
        prefix = [*row["prompt_tokens"], *written]
        for arm, values in by_arm.items():
            # JSON has no NaN: null stands for it on the pipe.
            numbers = [math.nan if value is None else value for value in values]
            known[arm, *prefix, *at["tokens"]] = numbers
    return known


def _compare_logits(
    pool: Pool, baseline: Rows, divergences: list[dict[str, Any]], *, case: int
) -> dict[str, Any]:
    """Compare both arms' logits on the baseline's outputs.

    They go through a file: a hundred positions over a large vocabulary are too many for the pipe.
    """
    rows = []
    for row in baseline:
        rows.append({"prompt_tokens": row["prompt_tokens"], "tokens": row["tokens"]})
    with tempfile.TemporaryDirectory(prefix="jaxgen-") as folder:
        path = str(Path(folder) / "reference.npy")
        # One after the other, not both at once: the candidate reads what the baseline has written.
        written = pool.call("baseline", "write_reference_logits", case=case, rows=rows, path=path)
        compared = pool.call(
            "candidate",
            "compare_logits",
            case=case,
            rows=rows,
            path=path,
            divergences=divergences,
        )
    methods = {"baseline": written["forced"], **compared["forced"]}
    return {**compared, "forced": methods, "positions_total": written["positions_total"]}
