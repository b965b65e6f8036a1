"""What the arms' programs are: their size, their memory, and whether both arms run the same one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from jaxgen.console.progress import Console
from jaxgen.executor.pool import Pool
from jaxgen.measure import roofline
from jaxgen.measure.case import Facts
from jaxgen.results import schema
from jaxgen.results.record import Record
from jaxgen.specs.arm import Arm, names_of
from jaxgen.specs.measure import Isolation, Measure

_PROGRAM = (
    "stablehlo_sha256",
    "module_bytes",
    "programs",
    "cost",
    "copies",
    "wide_copies",
    "captured_bytes",
)
_PROGRAM_MEMORY = ("program_temp_bytes", "program_alias_bytes")
_PEAKS = ("device_peak_bytes", "host_peak_rss_bytes")
_OF_BOTH = "both arms share a process; measure.isolation=separate tells them apart"


def examine(
    arms: Mapping[str, Arm],
    pool: Pool,
    console: Console,
    *,
    folder: Path,
    plan: Measure,
    peaks: Mapping[str, Facts],
    case: int,
) -> dict[str, Facts]:
    """Examine each arm's programs; profile one more call of each where the plan says so.

    Args:
        arms: by name.
        pool: their workers.
        console: shows the progress.
        folder: of the run, for the programs' text and the profiles.
        plan: whether these are wanted.
        peaks: of each arm, the most memory that it needed.
        case: the number of the case.

    Returns:
        Of each arm `{peaks, examined, profile}`.
    """
    dumps: dict[str, dict[str, Any]] = {}
    for arm in arms:
        dumps[arm] = {"dump": str(folder / "hlo" / arm) if plan.dump_hlo else None}
    with console.stage("both", "look at the programs"):
        examined = pool.call_all("examine", by_arm=dumps, case=case)
    facts = {}
    for arm in arms:
        profile = None
        if plan.profile:
            with console.stage(arm, "profile one more trial"):
                own_folder = str(folder / "profile" / arm)
                profile = pool.call(arm, "profile", case=case, folder=own_folder)
        facts[arm] = {"peaks": peaks[arm], "examined": examined[arm], "profile": profile}
    return facts


def describe_arms(
    arms: Mapping[str, Arm], record: Record, facts: Mapping[str, Facts], *, isolation: Isolation
) -> None:
    """Put programs, memory and profile of each arm into the record.

    Args:
        arms: by name.
        record: of the run.
        facts: of each arm `{peaks, examined, profile}`, as `Session.examine` has them.
        isolation: whether each arm has a process of its own, and so a peak of its own.
    """
    own_process = len(arms) == 1 or isolation is Isolation.separate
    for arm, facts_of_arm in facts.items():
        _describe_arm(record.result["arms"][arm], facts_of_arm, own_process=own_process)
        _note_cost(record, names_of(arms)[arm], facts_of_arm["examined"])
    if len(facts) < 2:
        record.result["same_program"] = None
        return
    # As lowered, before XLA's own passes: XLA flags or another jaxlib are not seen here.
    hashes = {facts_of_arm["examined"]["stablehlo_sha256"] for facts_of_arm in facts.values()}
    if None in hashes:
        record.result["same_program"] = None
        return
    same = len(hashes) == 1
    record.result["same_program"] = same
    if same:
        # Their ratio is then one of noise, unless XLA's flags or the jaxlib make other code of it.
        record.note("the two arms are the same program: their lowered StableHLO is equal")


def _describe_arm(section: schema.ArmResult, facts: Facts, *, own_process: bool) -> None:
    """Fill an arm's section; what is not known is null, with its reason beside it."""
    examined, peaks = facts["examined"], facts["peaks"]
    reasons = _reasons(examined, peaks, own_process=own_process)
    program: dict[str, Any] = {key: examined[key] for key in _PROGRAM}
    program["reasons"] = _of_keys(program, reasons)
    section["program"] = cast(schema.Program, program)
    memory: dict[str, Any] = {**section["memory"]}
    for key in _PROGRAM_MEMORY:
        memory[key] = examined[key]
    for key in _PEAKS:
        memory[key] = peaks[key] if own_process else None
    memory["reasons"] = _of_keys(memory, reasons)
    section["memory"] = cast(schema.Memory, memory)
    if section["mesh"] is not None:
        section["mesh"] |= examined.get("mesh", {})
    if facts["profile"] is not None:
        section["profile"] = facts["profile"]


def _reasons(examined: Facts, peaks: Facts, *, own_process: bool) -> dict[str, str | None]:
    """Return by key why a figure is null."""
    reasons = dict(examined["reasons"])
    reasons["device_peak_bytes"] = peaks["device_reason"]
    if not own_process:
        # A peak of both arms together is neither's.
        reasons["host_peak_rss_bytes"] = _OF_BOTH
        reasons["device_peak_bytes"] = peaks["device_reason"] or _OF_BOTH
    return reasons


def _of_keys(figures: Facts, reasons: Mapping[str, str | None]) -> dict[str, str]:
    """Return the reasons that are about these figures."""
    return {key: reason for key, reason in reasons.items() if reason and key in figures}


def _note_cost(record: Record, name: str, examined: Facts) -> None:
    """Say where jaxgen's count of a step's work and XLA's own lie far apart."""
    step = None
    # The counts that utilisation rests on are checked here against a second, independent count.
    if examined["last_step"]:
        last_step = examined["last_step"]
        step = roofline.Step(nbytes=last_step["bytes"], flops=last_step["flops"])
    disagreement = roofline.cost_disagreement(step, examined["cost"])
    if disagreement:
        record.note(
            f"{name}: {disagreement}; its shares of bandwidth and FLOP/s are rough for that"
        )


def capture(arms: Mapping[str, Arm], pool: Pool, record: Record, *, case: int, suffix: str) -> None:
    """Have the workers write the activations of the arms that keep any.

    Args:
        arms: by name.
        pool: their workers.
        record: of the run; the files lie in its folder.
        case: the number of the case.
        suffix: of the files' names, where there are several cases.
    """
    for arm in arms:
        path = record.folder / "activations" / f"{arm}{suffix}.safetensors"
        facts = pool.call(arm, "capture", case=case, path=str(path))
        if facts is not None:
            record.arm_section(arm, case=case)["capture"] = facts
