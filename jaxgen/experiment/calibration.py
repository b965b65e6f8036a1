"""A against itself, again and again: how far apart equal arms seem here, and how often that passes for a verdict."""

import datetime
import time
from typing import cast

from jaxgen.console.progress import Console
from jaxgen.errors import ExitCode, UserError
from jaxgen.executor.pool import Pool, start_order
from jaxgen.experiment.judge import DEFAULT_MARGIN, floor_key
from jaxgen.experiment.repetitions import Repetitions, require_same
from jaxgen.experiment.session import Session
from jaxgen.machine import cpu_load
from jaxgen.measure import noise_floor
from jaxgen.results.files import LOG
from jaxgen.results.record import Record
from jaxgen.results.schema import Repetition
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.study import Calibrate

_BUSY = 0.05  # of the processor, by other programs


def calibrate(experiment: Experiment, record: Record, console: Console) -> ExitCode:
    """Measure, keep the noise floor in the user's data directory, and say what was seen (`study=calibrate`).

    Raises:
        UserError: the arms are not the same, or every measurement was spoilt.
        ArmFailed: as in any run; nothing is kept then but the trials.
    """
    require_same(experiment.arms, study="calibrate")
    study = experiment.study
    assert isinstance(study, Calibrate)
    before = cpu_load.snapshot()
    comparisons = _comparisons(experiment, study, record, console)
    share = cpu_load.foreign_cpu_share(before, cpu_load.snapshot())
    record.add_to_environment({"foreign_cpu_share": share})
    if share is not None and share > _BUSY:
        record.note(
            f"other programs used {share:.0%} of the processor: the noise floor is that of a busy machine"
        )
    if not comparisons:
        raise UserError(
            "study=calibrate measured nothing that counts, so no noise floor is kept; the notes say why"
        )
    floor = noise_floor.floor_from([comparison.get("ratio", 1.0) for comparison in comparisons])
    rates = {
        "at_default_margin": noise_floor.false_verdicts(comparisons, DEFAULT_MARGIN),
        "at_noise_floor": noise_floor.false_verdicts(comparisons, floor),
        "without_margin": noise_floor.false_verdicts(comparisons, 0.0),
    }
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
    return ExitCode.OK


def _comparisons(
    experiment: Experiment, study: Calibrate, record: Record, console: Console
) -> list[Repetition]:
    """Every repetition's comparison, each on disk as soon as it is made."""
    done: list[Repetition] = []
    plan = experiment.measure
    record.result["calibration"] = {"comparisons": done}
    tried, total, start = 0, study.processes * study.repetitions, time.monotonic()
    for process in range(study.processes):
        until = start + study.max_seconds * (process + 1) / study.processes
        turn = start_order(experiment.arms, process)
        with Pool(turn, isolation=plan.isolation, log=record.folder / LOG) as pool:
            if process == 0:
                record.environment(pool.environments, isolation=pool.isolation)
                noise_floor.find(
                    floor_key(experiment.candidate, record.result["environment"])
                )  # may be damaged
            session = Session(turn, pool, record, console, plan=plan, process=process)
            repetitions = Repetitions(
                turn, pool, session, record, plan=plan, first=tried, process=process
            )
            for number in range(study.repetitions):
                if number and time.monotonic() > until:
                    break
                comparison, dirty = repetitions.once()
                tried += 1
                if dirty or comparison is None:
                    record.note(
                        f"a measurement was spoilt: {'; '.join(dirty) or 'no pair of trials was measured'}"
                    )
                    continue
                done.append(cast(Repetition, {"process": process, **comparison}))
                record.save()
                console.repetition(len(done), total, study="calibrate")
    return done
