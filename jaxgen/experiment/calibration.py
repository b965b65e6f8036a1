"""A against itself, again and again: how far apart equal arms seem on this machine.

The result is the machine's noise floor, the smallest difference that later runs take for one, and
how often equal arms would pass for different ones.
"""

import datetime
import time
from typing import cast

from jaxgen.console.progress import Console
from jaxgen.errors import ExitCode, UserError
from jaxgen.executor.pool import Pool, start_order
from jaxgen.experiment.judge import floor_key
from jaxgen.experiment.machine_load import NOISY_SHARE
from jaxgen.experiment.repetitions import Repetitions, require_same, start_repetitions
from jaxgen.machine import cpu_load
from jaxgen.measure import noise_floor
from jaxgen.results.files import LOG
from jaxgen.results.record import Record
from jaxgen.results.schema import RepeatedComparison
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.measure import DEFAULT_MARGIN
from jaxgen.specs.study import Calibrate


def calibrate(experiment: Experiment, record: Record, console: Console) -> ExitCode:
    """Measure, and keep the noise floor in the user's data directory (`study=calibrate`).

    Args:
        experiment: two equal arms, and how often they are measured.
        record: gets every comparison, and the noise floor.
        console: shows the progress.

    Raises:
        UserError: the arms are not the same, or every measurement was spoilt.
        ArmFailed: as in any run; nothing is kept then but the trials.
    """
    require_same(experiment.arms, study="calibrate")
    study = experiment.study
    assert isinstance(study, Calibrate)
    before = cpu_load.snapshot()
    comparisons = _measure_all(experiment, study, record, console)
    _note_cpu_load(record, before)
    if not comparisons:
        raise UserError(
            "study=calibrate measured nothing that counts, so no noise floor is kept; "
            "the notes say why"
        )
    _keep_floor(experiment, record, comparisons)
    return ExitCode.OK


def _measure_all(
    experiment: Experiment, study: Calibrate, record: Record, console: Console
) -> list[RepeatedComparison]:
    """Return the comparison of every measurement that counts; each is on disk at once."""
    comparisons: list[RepeatedComparison] = []
    record.result["calibration"] = {"comparisons": comparisons}
    total = study.processes * study.repetitions
    measured = 0
    start = time.monotonic()
    for process in range(study.processes):
        # Each pair of processes gets its share of the time, however slow an earlier one was.
        until = start + study.max_seconds * (process + 1) / study.processes
        # Fresh processes draw anew what a start does to the arms; repetitions in one pair share it.
        arms = start_order(experiment.arms, process, seed=experiment.measure.seed)
        isolation = experiment.measure.isolation
        with Pool(arms, isolation=isolation, log=record.folder / LOG) as pool:
            if process == 0:
                _record_environment(experiment, record, pool)
            repetitions = start_repetitions(
                experiment,
                pool,
                record,
                console,
                arms=arms,
                first=measured,
                process=process,
                process_of_run=process,
            )
            for number in range(study.repetitions):
                if number and time.monotonic() > until:
                    break
                measured += 1
                comparison = _measure_one(repetitions, record, process=process)
                if comparison is None:
                    continue
                comparisons.append(comparison)
                record.save()
                console.repetition(len(comparisons), total, study="calibrate")
    return comparisons


def _record_environment(experiment: Experiment, record: Record, pool: Pool) -> None:
    """Note where the first workers run."""
    record.environment(pool.environments, isolation=pool.isolation)
    # A file of noise floors that is damaged is refused now, not after minutes.
    noise_floor.find(floor_key(experiment.candidate, record.result["environment"]))


def _measure_one(
    repetitions: Repetitions, record: Record, *, process: int
) -> RepeatedComparison | None:
    """Return the comparison of one measurement; null, and a note, where it was spoilt."""
    comparison, dirty = repetitions.measure()
    # A spoilt ratio would widen the noise floor, and later runs would take real differences for
    # noise.
    if dirty or comparison is None:
        reason = "; ".join(dirty) or "no pair of trials was measured"
        record.note(f"a measurement was spoilt: {reason}")
        return None
    return cast(RepeatedComparison, {"process": process, **comparison})


def _note_cpu_load(record: Record, before: dict) -> None:
    share = cpu_load.foreign_cpu_share(before, cpu_load.snapshot())
    record.add_to_environment({"foreign_cpu_share": share})
    if share is not None and share > NOISY_SHARE:
        record.note(
            f"other programs used {share:.0%} of the processor: the noise floor is that of a busy "
            "machine"
        )


def _keep_floor(
    experiment: Experiment, record: Record, comparisons: list[RepeatedComparison]
) -> None:
    """Save the noise floor for later runs, and put it into the record."""
    floor = noise_floor.floor_from([comparison["ratio"] for comparison in comparisons])
    # Three margins on the same ratios: what the floor buys over the default, and over no margin.
    # With the floor hardly any can be false: it is the 95th percentile of these very ratios.
    rates = {
        "at_default_margin": noise_floor.false_verdicts(comparisons, DEFAULT_MARGIN),
        "at_noise_floor": noise_floor.false_verdicts(comparisons, floor),
        "without_margin": noise_floor.false_verdicts(comparisons, 0.0),
    }
    # The plan belongs to the floor: fewer trials or blocks scatter more.
    plan = experiment.measure
    entry: noise_floor.Entry = {
        "floor": floor,
        "repetitions": len(comparisons),
        "false_verdict_rate": rates["at_noise_floor"],
        "measured_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "plan": {"trials": plan.trials, "blocks": plan.blocks, "max_seconds": plan.max_seconds},
    }
    key = floor_key(experiment.candidate, record.result["environment"])
    path = noise_floor.save(key, entry)
    record.result["calibration"] = {
        "comparisons": comparisons,
        **entry,
        "key": key,
        "kept_in": str(path),
        "false_verdict_rates": rates,
        "default_margin": DEFAULT_MARGIN,
    }
