"""One measurement of the composed arms, from the first process to the verdict and the gate. No jax here."""

from typing import cast

from jaxgen.console.progress import Console
from jaxgen.errors import ExitCode
from jaxgen.executor.pool import Pool, start_order
from jaxgen.executor.worker_group import WorkerGroup
from jaxgen.experiment import judge
from jaxgen.experiment.session import Session
from jaxgen.experiment.startup import startups
from jaxgen.gate import regression
from jaxgen.gate.regression import Stored
from jaxgen.gate.score_csv import score_table
from jaxgen.machine import cpu_load
from jaxgen.machine.device_load import foreign_device_load
from jaxgen.measure.case import Outcome
from jaxgen.results.files import LOG, SCORES
from jaxgen.results.record import Record
from jaxgen.results.schema import Startup
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.score import Score


def measure(
    experiment: Experiment, record: Record, console: Console, *, group: WorkerGroup | None = None
) -> ExitCode:
    """In each pair of processes every case, then what the programs are and the verdict (`study=single`).

    Args:
        experiment: the arms, and how they are measured.
        record: gets every figure.
        console: shows the progress.
        group: has joined a job for the arms; null starts workers.

    Returns:
        0, 20 where the measurement is invalid, 10 where the gate found a regression.

    Raises:
        UserError, ArmFailed: what was measured until then is in the record.
    """
    arms, plan = experiment.arms, experiment.measure
    yardstick = regression.yardstick(experiment.gate)  # refused before anything is measured
    strangers = foreign_device_load([])
    outcomes: list[Outcome] = []
    before = None
    for process in range(plan.processes):
        turn = start_order(arms, process)
        with Pool(turn, isolation=plan.isolation, log=record.folder / LOG, group=group) as pool:
            session = Session(turn, pool, record, console, plan=plan, process=process)
            if process == 0:
                record.environment(pool.environments, isolation=pool.isolation)
                # refused now, if it cannot be had
                judge.margin_of(experiment, record.result["environment"])
            session.load()
            outcomes = outcomes or [session.outcome() for _ in session.cases]
            before = before or cpu_load.snapshot()
            for case, outcome in enumerate(outcomes):
                session.measure(outcome, case=case)
                record.write_outputs([each.answers for each in outcomes])
            if process == 0:
                judge.describe_arms(arms, record, session.examine(case=0), isolation=pool.isolation)
    _note_load(record, before or cpu_load.snapshot(), strangers)
    if plan.startup is not None:
        for arm, facts in startups(
            arms, plan.startup, log=record.folder / LOG, console=console
        ).items():
            record.result["arms"][arm]["startup"].update(cast(Startup, facts))
    for case, outcome in enumerate(outcomes):
        judge.judge_case(experiment, record, outcome, case=case)
    judge.advise(record)
    if record.result["cases"]:
        judge.judge_grid(record)
    if isinstance(arms["candidate"].run.workload, Score) and record.result["cases"]:
        record.write(SCORES, score_table(record.result))
    return _gated(experiment, record, yardstick)


def _gated(
    experiment: Experiment, record: Record, yardstick: tuple[Stored, float] | None
) -> ExitCode:
    """The gate's word, where there is one; an invalid measurement is not let through any."""
    if yardstick is None:
        return judge.exit_code(record.result)
    stored, threshold = yardstick
    margin, _ = judge.margin_of(experiment, record.result["environment"])
    record.result["gate"] = regression.block(
        record.result, stored, threshold=threshold, noise_floor=margin
    )
    return judge.exit_code(record.result, [regression.exit_code(record.result["gate"])])


def _note_load(record: Record, before: dict, strangers: dict | None) -> None:
    """Who else used the processor meanwhile, and the accelerator before the workers came; null where none can tell."""
    after = cpu_load.snapshot()
    share = cpu_load.foreign_cpu_share(before, after)
    record.add_to_environment(
        {
            "load_average_after": after["load_average"],
            "foreign_cpu_share": share,
            "foreign_device_load": strangers,
        }
    )
    if share is not None and share > 0.05:
        record.note(
            f"other programs used {share:.0%} of the processor during the run: the figures are noisier for it"
        )
    if strangers and (strangers["foreign_processes"] or strangers["utilisation"]):
        record.note("other programs use the device: the figures are noisier for it")
