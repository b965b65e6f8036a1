"""One measurement of the composed arms, from the first process to the verdict and the gate. No jax here."""

from collections.abc import Mapping

from jaxgen import judgement
from jaxgen.console import Console
from jaxgen.errors import ExitCode
from jaxgen.measure import gate, load
from jaxgen.measure.device_load import foreign_device_load
from jaxgen.measure.gate import Stored
from jaxgen.measure.score_table import score_table
from jaxgen.outcome import Outcome
from jaxgen.pool import Pool, in_turn
from jaxgen.record import Record
from jaxgen.run_files import LOG, SCORES
from jaxgen.session import Session
from jaxgen.spec.arm import Arm
from jaxgen.spec.score import Score
from jaxgen.startup import startups
from jaxgen.team import Team


def measure(arms: Mapping[str, Arm], record: Record, console: Console, *, team: Team | None = None) -> ExitCode:
    """In each pair of processes every case, then what the programs are and the verdict (`study=single`).

    Args:
        arms: by name.
        record: gets every figure.
        console: shows the progress.
        team: has joined a job for the arms; null starts workers.

    Returns:
        0, 20 where the measurement is invalid, 10 where the gate found a regression.

    Raises:
        UserError, ArmFailed: what was measured until then is in the record.
    """
    plan = arms["candidate"].run.plan
    yardstick = gate.yardstick(arms["candidate"].run.gate)  # refused before anything is measured
    strangers = foreign_device_load([])
    outcomes: list[Outcome] = []
    before = None
    for process in range(plan.processes):
        turn = in_turn(arms, process)
        with Pool(turn, log=record.folder / LOG, team=team) as pool:
            session = Session(turn, pool, record, console, process=process)
            if process == 0:
                record.environment(pool.environments, isolation=pool.isolation)
                judgement.margin_of(arms["candidate"], record.result["environment"])  # refused now, if it cannot be had
            session.load()
            outcomes = outcomes or [session.outcome() for _ in session.cases]
            before = before or load.snapshot()
            for case, outcome in enumerate(outcomes):
                session.measure(outcome, case=case)
                record.write_outputs([each.answers for each in outcomes])
            if process == 0:
                judgement.describe_arms(arms, record, session.examine(case=0), isolation=pool.isolation)
    _note_load(record, before or load.snapshot(), strangers)
    if plan.startup is not None:
        for arm, facts in startups(arms, plan.startup, log=record.folder / LOG, console=console).items():
            record.result["arms"][arm]["startup"].update(facts)
    for case, outcome in enumerate(outcomes):
        judgement.judge_case(arms, record, outcome, case=case)
    judgement.advise(record)
    if record.result["cases"]:
        judgement.judge_grid(record)
    if isinstance(arms["candidate"].run.workload, Score) and record.result["cases"]:
        record.write(SCORES, score_table(record.result))
    return _gated(arms["candidate"], record, yardstick)


def _gated(arm: Arm, record: Record, yardstick: tuple[Stored, float] | None) -> ExitCode:
    """The gate's word, where there is one; an invalid measurement is not let through any."""
    if yardstick is None:
        return judgement.exit_code(record.result)
    stored, threshold = yardstick
    margin, _ = judgement.margin_of(arm, record.result["environment"])
    record.result["gate"] = gate.block(record.result, stored, threshold=threshold, noise_floor=margin)
    return judgement.exit_code(record.result, [gate.exit_code(record.result["gate"])])


def _note_load(record: Record, before: dict, strangers: dict | None) -> None:
    """Who else used the processor meanwhile, and the accelerator before the workers came; null where none can tell."""
    after = load.snapshot()
    share = load.foreign_cpu_share(before, after)
    record.result["environment"]["load_average_after"] = after["load_average"]
    record.result["environment"]["foreign_cpu_share"] = share
    if share is not None and share > 0.05:
        record.note(f"other programs used {share:.0%} of the processor during the run: the figures are noisier for it")

    record.result["environment"]["foreign_device_load"] = strangers
    if strangers and (strangers["foreign_processes"] or strangers["utilisation"]):
        record.note("other programs use the device: the figures are noisier for it")
