"""A against itself in fresh pairs of processes: how far a start alone moves a ratio.

The result is this machine's start spread, which later runs put into their intervals: blocks inside
a few pairs of processes say nothing of it.
"""

import dataclasses
import datetime
import math
import statistics
from typing import Any, cast

from jaxgen.console.progress import Console
from jaxgen.errors import ExitCode, UserError
from jaxgen.executor.pool import Pool, start_order
from jaxgen.experiment.machine_load import NOISY_SHARE
from jaxgen.experiment.repetitions import Repetition, require_same, start_repetitions
from jaxgen.experiment.start_noise import conditions_of, spread_for
from jaxgen.machine import cpu_load
from jaxgen.measure import start_spread
from jaxgen.results.files import LOG
from jaxgen.results.record import Record
from jaxgen.results.schema import MeasuredSpread, RepeatedComparison
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.measure import NEVER_NARROW_ENOUGH, Measure
from jaxgen.specs.study import Calibrate

TRIAL_S = 0.05
"""No trial is planned longer: at one length in time, many short pairs tell more than few long."""

WANTED_ERROR = 0.004
"""The standard error of a pair's mean beyond which the start spread is mostly noise of trials."""

_MANY_BLOCKS = 100_000  # the time ends the trials of a pair


def calibrate(experiment: Experiment, record: Record, console: Console) -> ExitCode:
    """Measure, and keep the start spread in the user's data directory (`study=calibrate`).

    Args:
        experiment: two equal arms, and how often they are measured.
        record: gets every comparison, and the start spread.
        console: shows the progress.

    Raises:
        UserError: the arms are not the same, or all pairs of processes but one were spoilt.
        ArmFailed: as in any run; nothing is kept then but the trials.
    """
    require_same(experiment.arms, study="calibrate")
    comparisons: list[RepeatedComparison] = []
    record.result["calibration"] = {"comparisons": comparisons}
    study = experiment.study
    assert isinstance(study, Calibrate)
    old_file_note = start_spread.old_file_note()
    if old_file_note is not None:
        record.note(old_file_note)
    before = cpu_load.snapshot()
    for process in range(study.processes):
        comparison = _measure_pair(experiment, record, console, process=process)
        if comparison is None:
            continue
        comparisons.append(comparison)
        record.save()
        console.repetition(len(comparisons), study.processes, study="calibrate")
    _note_cpu_load(record, before)
    if len(comparisons) < 2:
        raise UserError(
            f"study=calibrate has {len(comparisons)} pairs of processes that count, of "
            f"{study.processes}, so no start spread is kept; the notes say why"
        )
    _keep_spread(experiment, record, comparisons)
    return ExitCode.OK


def plan_of(plan: Measure, *, seconds: float) -> Measure:
    """Return how one pair of processes is measured: short trials, as many as the time allows.

    Args:
        plan: of the experiment; its warm-up and its seed stay, and trials that are shorter still.
        seconds: of trials in each pair.
    """
    return dataclasses.replace(
        plan,
        # One pair a block: new buffers cost little, and blocks differ by as much as pairs do.
        trials=1,
        blocks=_MANY_BLOCKS,
        processes=1,
        max_seconds=seconds,
        min_trial_s=min(plan.min_trial_s, TRIAL_S),
        target_ci=NEVER_NARROW_ENOUGH,
        margin=0.0,
    )


def _measure_pair(
    experiment: Experiment, record: Record, console: Console, *, process: int
) -> RepeatedComparison | None:
    """Measure equal arms in one pair of processes; null, and a note, where that was spoilt."""
    study = experiment.study
    assert isinstance(study, Calibrate)
    plan = plan_of(experiment.measure, seconds=study.seconds)
    # Fresh processes draw anew what a start does to the arms, and compile anew: where a program's
    # code lies in memory is a part of it.
    arms = start_order(experiment.arms, process, seed=plan.seed)
    with Pool(arms, isolation=plan.isolation, log=record.folder / LOG) as pool:
        if process == 0:
            record.environment(pool.environments, isolation=pool.isolation)
            # A file of start spreads that is damaged is refused now, not after minutes.
            spread_for(experiment.candidate, record.result["environment"])
        repetitions = start_repetitions(
            pool,
            record,
            console,
            arms=arms,
            first=process,
            process=process,
            process_of_run=process,
            plan=plan,
        )
        measured = repetitions.measure()
    return _comparison_of(record, measured, process=process, started_first=next(iter(arms)))


def _comparison_of(
    record: Record, measured: Repetition, *, process: int, started_first: str
) -> RepeatedComparison | None:
    """Return what one pair of processes showed; null, and a note, where it was spoilt."""
    # A spoilt ratio would widen every later interval.
    if measured.dirty or measured.comparison is None:
        reason = "; ".join(measured.dirty) or "no pair of trials was measured"
        record.note(f"a pair of processes was spoilt: {reason}")
        return None
    facts: dict[str, Any] = {
        "process": process,
        "started_first": started_first,
        "block_means": measured.block_means,
        "standard_error": _standard_error(measured.block_means),
    }
    return cast(RepeatedComparison, {**measured.comparison, **facts})


def _note_cpu_load(record: Record, before: dict) -> None:
    share = cpu_load.foreign_cpu_share(before, cpu_load.snapshot())
    record.add_to_environment({"foreign_cpu_share": share})
    if share is not None and share > NOISY_SHARE:
        record.note(
            f"other programs used {share:.0%} of the processor: the start spread is that of a busy "
            "machine"
        )


def _keep_spread(
    experiment: Experiment, record: Record, comparisons: list[RepeatedComparison]
) -> None:
    """Save the start spread for later runs, and put it into the record."""
    spread = _spread_of(comparisons)
    _note_precision(record, comparisons)
    study = experiment.study
    assert isinstance(study, Calibrate)
    conditions = conditions_of(experiment.candidate, record.result["environment"])
    plan = plan_of(experiment.measure, seconds=study.seconds)
    entry: start_spread.Entry = {
        "deviation": spread["deviation"],
        "freedom": spread["freedom"],
        "measured_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "conditions": conditions,
        "plan": {
            "processes": study.processes,
            "seconds": study.seconds,
            "min_trial_s": plan.min_trial_s,
            "seed": plan.seed,
        },
    }
    key = start_spread.key_of(conditions)
    path = start_spread.save(key, entry)
    record.result["calibration"] = {
        "comparisons": comparisons,
        "start_spread": spread,
        "measured_at": entry["measured_at"],
        "conditions": conditions,
        "plan": entry["plan"],
        "key": key,
        "kept_in": str(path),
    }


def _spread_of(comparisons: list[RepeatedComparison]) -> MeasuredSpread:
    """Return the spread of the pairs' means, their mean, and what starting first is worth."""
    # A pair that counts has blocks, and says who started first.
    means = [_mean(comparison.get("block_means", [])) for comparison in comparisons]
    deviation, freedom = start_spread.spread_of(means)
    gains: dict[str, list[float]] = {"candidate": [], "baseline": []}
    for comparison, mean in zip(comparisons, means, strict=True):
        gains[comparison.get("started_first", "")].append(mean)
    first_starter_gain = None
    if all(gains.values()):
        # Equal arms: what the candidate gains by starting first, it loses by starting second.
        first_starter_gain = (_mean(gains["candidate"]) - _mean(gains["baseline"])) / 2
    return {
        "deviation": deviation,
        "freedom": freedom,
        "mean": _mean(means),
        "first_starter_gain": first_starter_gain,
    }


def _note_precision(record: Record, comparisons: list[RepeatedComparison]) -> None:
    """Say where the pairs' means are known too little to show how starts differ."""
    errors = [comparison.get("standard_error") for comparison in comparisons]
    known = [error for error in errors if error is not None]
    worst = max(known, default=None)
    if worst is None or worst > WANTED_ERROR:
        text = "not known" if worst is None else f"known to {worst:.2%} at worst"
        record.note(
            f"the mean of a pair of processes is {text}, which is in the start spread too: "
            "a larger study.seconds would tell more"
        )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _standard_error(means: list[float]) -> float | None:
    """Return the standard error of the mean of block means; null below two blocks."""
    if len(means) < 2:
        return None
    return statistics.stdev(means) / math.sqrt(len(means))
