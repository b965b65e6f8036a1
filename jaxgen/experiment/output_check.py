"""How the arms' outputs are compared, token by token or score by score.

Where tokens are compared, both arms also compute the logits of the baseline's outputs: what they
say there tells a rounding error from a fault.
"""

import functools
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen.agreement import divergence, scores, tokens
from jaxgen.agreement.tolerance import tolerance
from jaxgen.executor.pool import Pool
from jaxgen.experiment import algorithm_check
from jaxgen.experiment.precision import computed_in
from jaxgen.results.schema import Agreement
from jaxgen.specs.agreement import AgreementPlan
from jaxgen.specs.arm import Arm

Rows = list[dict[str, Any]]


def agreement_of(
    arms: Mapping[str, Arm],
    pool: Pool,
    rows: Mapping[str, Rows],
    *,
    case: int,
    plan: AgreementPlan = AgreementPlan(),  # noqa: B008 - frozen
) -> Agreement | None:
    """Compare the outputs of a case.

    Args:
        arms: by name.
        pool: their workers.
        rows: the outputs of each arm.
        case: the number of the case.
        plan: what narrow numbers may cost, and how they are looked through.

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
        return _score_agreement(arms, pool, rows, case=case, plan=plan, dtypes=dtypes)
    # The files of the passes are gone when the outputs are judged.
    with tempfile.TemporaryDirectory(prefix="jaxgen-") as folder:
        return _token_agreement(
            arms, pool, rows, case=case, plan=plan, dtypes=dtypes, folder=Path(folder)
        )


def _score_agreement(
    arms: Mapping[str, Arm],
    pool: Pool,
    rows: Mapping[str, Rows],
    *,
    case: int,
    plan: AgreementPlan,
    dtypes: Mapping[str, list[str]],
) -> Agreement:
    """Compare scores, and whether both arms compute them by the same function."""
    passes = algorithm_check.ScorePasses(arms, pool, case=case, rows=rows)
    checked = algorithm_check.check(arms, dtypes, passes, plan=plan)
    agreement = scores.compare_scores(
        rows["candidate"],
        rows["baseline"],
        dtypes=dtypes,
        algorithm=checked.test,
        kl_budget=plan.kl,
    )
    agreement["warnings"] += checked.warnings
    return agreement


def _token_agreement(
    arms: Mapping[str, Arm],
    pool: Pool,
    rows: Mapping[str, Rows],
    *,
    case: int,
    plan: AgreementPlan,
    dtypes: Mapping[str, list[str]],
    folder: Path,
) -> Agreement:
    """Compare tokens, and the distributions that they come from."""
    specs = [arm.run.workload for arm in arms.values()]
    # Where the texts part is found first: the teacher-forced pass, which reads every position
    # anyway, then gives the log-probabilities there too, and nothing is compiled for them.
    divergences = _divergences(rows)
    if _are_coupled(specs):
        allowed = tolerance(dtypes, None).value
        divergences = [{**at, "tolerance": allowed} for at in divergences]
    reading = _plain_rows(rows["baseline"])
    forced = _compare_logits(pool, reading, divergences, case=case, folder=folder)
    passes = algorithm_check.TokenPasses(
        arms, pool, case=case, rows=reading, folder=folder, own=forced
    )
    checked = algorithm_check.check(arms, dtypes, passes, plan=plan)
    known = _logprobs_by_prefix(rows["baseline"], divergences, forced["divergences"])
    agreement = tokens.compare_tokens(
        rows["candidate"],
        rows["baseline"],
        dtypes=dtypes,
        greedy=all(spec.greedy for spec in specs),
        logprobs=functools.partial(_logprobs, pool, known),
        forced=forced,
        draws=_draws(divergences, forced["draws"], specs[0]),
        algorithm=checked.test,
        kl_budget=plan.kl,
    )
    agreement["warnings"] += checked.warnings
    return agreement


def _logprobs(
    pool: Pool,
    known: Mapping[tuple[Any, ...], list[float]],
    arm: str,
    prefix: list[int],
    candidates: list[int],
) -> list[float]:
    """Return the log-probabilities of two tokens behind a prefix, as an arm has them."""
    # The teacher-forced pass has them, but for positions that it had to leave out.
    values = known.get((arm, *prefix, *candidates))
    return values or pool.call(arm, "logprobs", tokens=prefix, candidates=candidates)


def _are_coupled(specs: Sequence[Any]) -> bool:
    """Say whether both arms draw in one way and with one seed: their noise is the same then."""
    ways = {(spec.sampling, spec.seed) for spec in specs}
    return len(ways) == 1 and not specs[0].greedy


def _draws(
    divergences: Sequence[Mapping[str, Any]],
    draws: Sequence[Mapping[str, Any] | None],
    workload: Any,
) -> dict[int, divergence.Draw]:
    """Return what is known of the draws at the divergences, by prompt."""
    by_prompt = {}
    for at, draw in zip(divergences, draws, strict=True):
        if draw is not None:
            by_prompt[at["row"]] = divergence.Draw(
                temperature=workload.temperature, noise=draw["noise"], standing=draw["standing"]
            )
    return by_prompt


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


def _plain_rows(outputs: Rows) -> Rows:
    """Return what a reader needs of outputs."""
    rows = []
    for row in outputs:
        rows.append({"prompt_tokens": row["prompt_tokens"], "tokens": row["tokens"]})
    return rows


def _compare_logits(
    pool: Pool,
    rows: Rows,
    divergences: list[dict[str, Any]],
    *,
    case: int,
    folder: Path,
) -> dict[str, Any]:
    """Compare both arms' logits on the baseline's outputs.

    They go through a file: a hundred positions over a large vocabulary are too many for the pipe.
    """
    path = str(folder / "reference.npy")
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
