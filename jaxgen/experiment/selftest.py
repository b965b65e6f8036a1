"""The benchmark benchmarked: equal arms, a known slowdown, and every fault that must be found."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxgen.console.progress import Console
from jaxgen.errors import ExitCode
from jaxgen.executor.pool import Pool, start_order
from jaxgen.experiment import selftest_continued, selftest_rates
from jaxgen.experiment.judge import margin_of
from jaxgen.experiment.repetitions import Repetitions, require_same, start_repetitions
from jaxgen.experiment.selftest_continued import Earlier
from jaxgen.experiment.selftest_faults import MeasureOnce, measure_faults
from jaxgen.experiment.start_noise import spread_for
from jaxgen.measure.verdict import verdict
from jaxgen.results import schema
from jaxgen.results.files import LOG
from jaxgen.results.record import Record
from jaxgen.specs.arm import Arm
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.study import Selftest


@dataclasses.dataclass(frozen=True)
class PairOfProcesses:
    """One pair of processes of a self-test.

    Attributes:
        process: its number in this run.
        count: the measurements of each kind that it makes.
        earlier: what a self-test that is continued has measured.
    """

    process: int
    count: int
    earlier: Earlier | None


@dataclasses.dataclass(frozen=True)
class _Where:
    """Where a measurement is made.

    Attributes:
        process: the number of the pair of processes, those of an earlier run counted.
        started_first: the arm whose process started first, by its own name.
        swapped: whether the two processes have exchanged their names.
    """

    process: int
    started_first: str
    swapped: bool


def selftest(
    experiment: Experiment, record: Record, console: Console, *, measure_once: MeasureOnce
) -> ExitCode:
    """Measure, and say how often jaxgen was right (`study=selftest`).

    Args:
        experiment: two equal arms, and how often they are measured.
        record: gets every verdict.
        console: shows the progress.
        measure_once: makes one whole measurement; a fault must make it invalid.

    Returns:
        0 where equal arms were left alone and the slowdown was found in 95 % of the measurements,
        the intervals of equal arms hold 1 as often as they should, and every fault was found; else
        20.

    Raises:
        UserError: the arms are not the same.
        ArmFailed: as in any run; what was measured until then is on disk.
    """
    require_same(experiment.arms, study="selftest")
    study = experiment.study
    assert isinstance(study, Selftest)
    section: schema.Selftest = {"same": [], "slowed": [], "slowdown": study.slowdown, "faults": {}}
    record.result["selftest"] = section
    earlier = selftest_continued.earlier(study, record)
    left = study.repetitions - (len(earlier.same) if earlier else 0)
    processes = min(study.processes, left)
    for process in range(processes):
        # Dealt out like cards: 100 measurements over 8 processes are 13 in four, 12 in the others.
        count = len(range(process, left, processes))
        pair = PairOfProcesses(process, count=count, earlier=earlier)
        _measure_verdicts(experiment, record, console, pair)
    # Faults come last, as an arm that a fault brings down would end the whole self-test.
    if study.faults:
        measure_faults(experiment, record, console, section, measure_once=measure_once)
    failures = selftest_rates.failures(section)
    if not failures:
        return ExitCode.OK
    record.result["verdict"] = "invalid"
    record.result["verdict_reason"] = f"the self-test failed: {'; '.join(failures)}"
    return ExitCode.INVALID


def _measure_verdicts(
    experiment: Experiment, record: Record, console: Console, pair: PairOfProcesses
) -> None:
    """Measure equal arms and the slowed candidate in turn, in one pair of processes."""
    study, section = experiment.study, record.result.get("selftest")
    assert isinstance(study, Selftest)
    assert section is not None
    number = _next_process(section, pair.earlier)
    plan = experiment.measure
    arms = start_order(experiment.arms, number, seed=plan.seed)
    with Pool(arms, isolation=plan.isolation, log=record.folder / LOG) as pool:
        if pair.process == 0:
            _note_conditions(experiment, record, pool, pair.earlier)
        repetitions = start_repetitions(
            pool,
            record,
            console,
            arms=arms,
            first=len(section["same"]) + len(section["slowed"]),
            process=number,
            process_of_run=pair.process,
            plan=plan,
        )
        _compile_slowdown(pool, arms, study.slowdown)
        for repetition in range(pair.count):
            where = _where(number, repetition, started_first=next(iter(arms)))
            _measure_both_kinds(repetitions, section, where)
            record.save()
            console.repetition(len(section["same"]), study.repetitions, study="selftest")


def _where(process: int, repetition: int, *, started_first: str) -> _Where:
    """Say whether the names are exchanged in one measurement of a pair of processes."""
    # Names change from one measurement to the next, starts from pair to pair. With one measurement
    # a pair, pairs 0 and 1 have their own names and pairs 2 and 3 exchange them.
    swapped = (repetition + process // 2) % 2 == 1
    return _Where(process, started_first=started_first, swapped=swapped)


def _compile_slowdown(pool: Pool, arms: Mapping[str, Arm], slowdown: float) -> None:
    """Have both processes compile the extra work, so that they stay alike."""
    for arm in arms:
        pool.call(arm, "inject_fault", fault={"slowdown": slowdown})
        pool.call(arm, "inject_fault", fault={})


def _note_conditions(
    experiment: Experiment, record: Record, pool: Pool, earlier: Earlier | None
) -> None:
    """Note where the first workers run, and by which margin and interval they are judged."""
    record.environment(pool.environments, isolation=pool.isolation)
    section = record.result.get("selftest")
    assert section is not None
    section["margin"], _ = margin_of(experiment)
    spread = spread_for(experiment.candidate, record.result["environment"])
    section["start_spread"] = dataclasses.asdict(spread)
    # Only now are this machine and its margin known, which the earlier ones must have had too.
    if earlier:
        selftest_continued.add(earlier, record)


def _measure_both_kinds(repetitions: Repetitions, section: schema.Selftest, where: _Where) -> None:
    """Measure the equal arms, and then the slowed candidate."""
    margin = section.get("margin")
    assert margin is not None, "the first pair of processes has set it"
    # In turn, so that a machine which drifts over an hour does the same to both kinds.
    section["same"].append(_judged(repetitions, {}, where, margin=margin))
    slowdown = {"slowdown": section["slowdown"]}
    section["slowed"].append(_judged(repetitions, slowdown, where, margin=margin))
    # Now, so that a run which is stopped has the rates of what it measured.
    selftest_rates.add_rates(section)


def _next_process(section: schema.Selftest, earlier: Earlier | None) -> int:
    """Return the number of the next pair of processes, those of an earlier run counted."""
    measured = section["same"]
    if not measured and earlier:
        measured = earlier.same
    # A resumed self-test has processes of its own: pairs of two starts must not share a number, and
    # the order of starting goes on alternating.
    last = -1
    for judged in measured:
        last = max(last, judged["process"])
    return last + 1


def _judged(
    repetitions: Repetitions, fault: dict[str, Any], where: _Where, *, margin: float
) -> schema.Repetition:
    """Make one measurement; return its comparison and the verdict on it."""
    measured = repetitions.measure(swapped=where.swapped, **fault)
    # No outputs are compared here: this is about times alone, and a wrong token has a run of its
    # own.
    word, reason = verdict(
        measured.comparison, margin=margin, agreement="identical", dirty=measured.dirty
    )
    judged: schema.Repetition = {
        "process": where.process,
        "verdict": word,
        "reason": reason,
        "started_first": where.started_first,
        "swapped": where.swapped,
        "block_means": measured.block_means,
    }
    if measured.comparison is not None:
        judged.update(measured.comparison)  # type: ignore[typeddict-item]  # has the same keys
    return judged
