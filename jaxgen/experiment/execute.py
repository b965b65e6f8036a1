"""The whole story of a run, top to bottom: from a composed experiment to a result on disk.

`execute` opens the record and sees that it is closed, whatever happens. `measure_once` is what
happens in between, step by step. A job of several processes comes last. No jax here.
"""

import contextlib
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

from jaxgen.console.progress import Console
from jaxgen.console.sweep_board import Board
from jaxgen.errors import ExitCode, UserError
from jaxgen.executor import job
from jaxgen.executor.pool import ArmFailed, start_order
from jaxgen.executor.worker_group import WorkerGroup
from jaxgen.experiment import calibration, gating, judge, machine_load, mirrors, programs, selftest
from jaxgen.experiment.kept_programs import kept_programs
from jaxgen.experiment.padded_pool import padded_pool
from jaxgen.experiment.session import Session
from jaxgen.experiment.signals import terminated_like_interrupted
from jaxgen.experiment.startup import add_startups
from jaxgen.gate import regression
from jaxgen.gate.score_csv import score_table
from jaxgen.gate.stored import StoredRuns
from jaxgen.measure.case import Outcome
from jaxgen.results.files import LOG, SCORES
from jaxgen.results.record import Record
from jaxgen.results.schema import Failure
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.study import Calibrate, Selftest, Single

Study = Callable[[Experiment, Record, Console], ExitCode]


def execute(
    experiment: Experiment, folder: Path, *, pages: bool = True, board: Board | None = None
) -> ExitCode:
    """Measure the arms and write everything into a folder.

    Args:
        experiment: the arms, and how they are measured.
        folder: of the run, made by Hydra.
        pages: write report.md, report.html and plots/ too, if the run was not interrupted.
        board: of the sweep that this is a point of.

    Returns:
        The exit code. What was measured is on disk whatever it is. Of a job, process 0 writes it.

    Raises:
        UserError: found by a worker, such as a checkpoint that is missing; the result has it too.
    """
    if job.joins_a_job(experiment.arms):
        return _execute_in_a_job(experiment, folder, pages=pages, board=board)
    # From here on: the folder of a gate's commit must be gone after a SIGTERM too.
    with terminated_like_interrupted(), gating.with_commit(experiment) as prepared:
        study = _STUDIES[type(prepared.study)]
        return _execute_recorded(study, prepared, folder, pages=pages, board=board)


def _execute_recorded(
    study: Study, experiment: Experiment, folder: Path, *, pages: bool, board: Board | None
) -> ExitCode:
    """Open the record, run the study, close the record, report and track."""
    # 1. The record. Its first result.json says `running`, by which a killed run is known.
    record = Record(experiment.arms, folder)
    record.start()
    console = Console(experiment, folder, board=board)
    with contextlib.ExitStack() as stack:
        # A cluster's SIGTERM ends a run as Ctrl-C does: what was measured is kept.
        stack.enter_context(terminated_like_interrupted())
        # However the run ends, the tracker hears of it; last, when all files are there.
        stack.callback(mirrors.track, experiment, record)
        stack.enter_context(console)
        # 2. The study: mostly one measurement, as `measure_once` tells.
        code = _run_and_close(study, experiment, record, console)
        # 3. The report, before the tracker, which sends the plots.
        if pages and code != ExitCode.INTERRUPTED:
            mirrors.report_on(record)
    console.summary(record.result)
    return code


def _run_and_close(
    study: Study, experiment: Experiment, record: Record, console: Console
) -> ExitCode:
    """Run the study; whatever ends it, the record says so."""
    try:
        code = study(experiment, record, console)
        record.finish("completed", code)
        return code
    except UserError as error:
        record.note(str(error))
        record.finish("failed", ExitCode.USER_ERROR)
        raise
    except ArmFailed as failure:
        # The other arm's figures stand.
        record.result["arms"][failure.arm]["failure"] = cast(Failure, failure.record)
        record.note(f"the {failure.arm} arm failed: {failure.record['message']}")
        record.finish("failed", ExitCode.ARM_FAILED)
        return ExitCode.ARM_FAILED
    except KeyboardInterrupt:
        record.note("interrupted: what was measured until then is kept")
        record.finish("failed", ExitCode.INTERRUPTED)
        return ExitCode.INTERRUPTED
    except BaseException:
        record.finish("failed", ExitCode.USER_ERROR)
        raise


def measure_once(
    experiment: Experiment, record: Record, console: Console, *, group: WorkerGroup | None = None
) -> ExitCode:
    """Make one measurement and judge it (`study=single`).

    Args:
        experiment: the arms, and how they are measured.
        record: gets every figure as it comes.
        console: shows the progress.
        group: has joined a job for the arms; null starts workers here.

    Returns:
        0, 20 where the measurement is invalid, 10 where the gate found a regression.

    Raises:
        UserError, ArmFailed: what was measured until then is in the record.
    """
    # First what the gate compares with: an unreadable file must not cost a measurement.
    stored_result = regression.stored_result(experiment.gate)
    # The load of others, while no worker of this run loads the machine itself.
    load = machine_load.before_workers()
    outcomes, load = _measure_in_processes(experiment, record, console, load=load, group=group)
    machine_load.note(record, load)

    # Startups are measured by themselves, in processes that find nothing compiled.
    if experiment.measure.startup is not None:
        add_startups(experiment, experiment.measure.startup, record, console)

    return _judge(experiment, record, outcomes, stored_result)


def _measure_in_processes(
    experiment: Experiment,
    record: Record,
    console: Console,
    *,
    load: machine_load.Load,
    group: WorkerGroup | None,
) -> tuple[list[Outcome], machine_load.Load]:
    """Measure every case in every pair of processes; return the outcomes and the load."""
    # Each pair of processes is a start of its own, which can move a ratio by itself.
    plan, outcomes = experiment.measure, list[Outcome]()
    with kept_programs(processes=plan.num_processes) as kept:
        begin = functools.partial(Session, plan=plan, kept=kept, agreement=experiment.agreement)
        for pair in range(plan.num_processes):
            arms = start_order(experiment.arms, pair, seed=plan.seed)
            with padded_pool(arms, record, plan, process=pair, group=group) as pool:
                session = begin(arms, pool, record, console, process=pair)
                if pair == 0:
                    record.environment(pool.environments, isolation=pool.isolation)
                session.load()
                outcomes = outcomes or session.new_outcomes()
                load = load.with_cpu()
                _measure_cases(session, outcomes, record, short_warmup=plan.short_warmup)
                if pair == 0:
                    # After the trials, as looking at programs may compile, and takes memory.
                    facts = session.examine(case=0)
                    programs.describe_arms(arms, record, facts, isolation=pool.isolation)
            # The interval knows of starts: a clear answer needs no other one.
            if plan.may_end_early and all(outcome.is_settled for outcome in outcomes):
                break
    return outcomes, load


def _measure_cases(
    session: Session, outcomes: list[Outcome], record: Record, *, short_warmup: bool
) -> None:
    """Measure every case of the workload's grid in one pair of processes."""
    for case, outcome in enumerate(outcomes):
        _measure_case(session, outcome, case=case, short_warmup=short_warmup)
        # After each case, so that a run which is stopped leaves the outputs that it has.
        record.write_outputs([measured.answers for measured in outcomes])


def _measure_case(
    session: Session, outcome: Outcome, *, case: int, short_warmup: bool = False
) -> None:
    """Warm up, compare the outputs, and make the trials of one case in one pair of processes."""
    # Warm-up calls have the trials' own shapes, so that nothing compiles inside the clock.
    session.warm_up(case)
    if short_warmup:
        # What the user left cold on purpose must be cold in the trials: they come first.
        trials = session.run_trials(outcome, case=case, call_s=None)
        session.compare_outputs(outcome, case=case)
    else:
        # The outputs come first: a speed-up of wrong outputs is none, even if the trials fail.
        call_s = session.compare_outputs(outcome, case=case)
        trials = session.run_trials(outcome, case=case, call_s=call_s)
    # Probed before and after: the machine may have been disturbed at either time.
    session.probe(outcome, case=case)
    session.capture(case)
    session.add_trials(outcome, trials)


def _judge(
    experiment: Experiment,
    record: Record,
    outcomes: list[Outcome],
    stored_result: StoredRuns | None,
) -> ExitCode:
    """Say what may be said of the measurement, and hold it against the gate."""
    for case, outcome in enumerate(outcomes):
        judge.judge_case(experiment, record, outcome, case=case)
        machine_load.judge(record, outcome.samples, case=case, plan=experiment.measure)
    judge.advise(record)
    if record.result["cases"]:
        judge.judge_grid(record)
        if experiment.candidate.run.workload.output_key == "scores":
            record.write(SCORES, score_table(record.result))
    if stored_result is None:
        return judge.exit_code(record.result)
    # The gate comes last: an invalid measurement passes none, whatever its figures.
    return gating.judge_gate(experiment, record, stored_result)


_STUDIES: dict[type, Study] = {
    Single: measure_once,
    Calibrate: calibration.calibrate,
    # A fault must be found by the very measurement that users make.
    Selftest: functools.partial(selftest.selftest, measure_once=measure_once),
}


def _execute_in_a_job(
    experiment: Experiment, folder: Path, *, pages: bool, board: Board | None
) -> ExitCode:
    """Run as one of a job's processes; it is joined once, so the study is one measurement."""
    try:
        with job.joined_group(experiment.arms, folder / LOG) as group:
            if not group.leads:
                job.follow(group)
                return ExitCode.OK
            study = functools.partial(measure_once, group=group)
            return _execute_recorded(study, experiment, folder, pages=pages, board=board)
    except ArmFailed as failure:  # here there is no record, or it is process 0's
        print(f"jaxgen: {failure.record['message']}", file=sys.stderr)
        return ExitCode.ARM_FAILED
