"""From finished measurements to what may be said of them: one verdict per case, one for the run, one exit code."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from jaxgen.errors import ExitCode
from jaxgen.measure import noise_floor, roofline
from jaxgen.measure.case import Facts, Outcome, beyond_probe, rooflines
from jaxgen.measure.drift import drift_note
from jaxgen.measure.spread import advice
from jaxgen.measure.verdict import verdict
from jaxgen.results import schema
from jaxgen.results.record import Record
from jaxgen.specs.arm import Arm, names_of
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.measure import Isolation

DEFAULT_MARGIN = 0.02
"""Half the width of `equivalent` where no noise floor is known for the machine."""

START_DRAW = 0.02
"""How far apart two pairs of processes of the same two arms were seen to lie, whatever their own intervals said."""

_ONE_START = (
    f"one pair of processes was measured: another start can move a ratio by up to {START_DRAW:.0%}, of which its "
    "interval knows nothing, and the margin is {margin:.2%}; measure.processes=5 would tell"
)


def margin_of(
    experiment: Experiment, environment: schema.Environment | None
) -> tuple[float, str]:
    """The smallest difference that counts, as a share, and where the figure comes from."""
    if experiment.measure.margin is not None:
        return experiment.measure.margin, "measure.margin"
    known = noise_floor.find(floor_key(experiment.candidate, environment))
    if known is not None:
        return known["floor"], "this machine's noise floor, as jaxgen.calibrate measured it"
    return DEFAULT_MARGIN, "the default; python -m jaxgen.calibrate would measure this machine's"


def floor_key(arm: Arm, environment: schema.Environment | None) -> str:
    """Under which a noise floor is kept: machine, workload and model; an option for any model adds its source."""
    machine: Mapping[str, Any] = environment or {}
    kind, cpu = str(machine.get("device_kind")), str(machine.get("cpu"))
    spec, model = arm.run.model, arm.choices["model"]
    named = model if spec.shapes is not None else f"{model} {spec.checkpoint or spec.source}"
    return noise_floor.key_of(kind, cpu, workload=arm.choices["workload"], model=named)


def judge_case(experiment: Experiment, record: Record, outcome: Outcome, *, case: int) -> None:
    """The figures and the verdict of one case, into its block of the result."""
    arms = experiment.arms
    block, names = record.section(case), names_of(arms)
    record.show(outcome.samples.summaries(), outcome.samples.compare(), case=case)
    dirty = [*outcome.dirty, *outcome.samples.problems()]
    dirty += _scaled(names, record, outcome, case=case)
    compared = block["comparison"].get(outcome.samples.primary)
    block["stability"] = _stability(outcome, compared, names=names, record=record)
    block["agreement"] = outcome.agreed
    margin, source = margin_of(experiment, record.result["environment"])
    if len(arms) == 2:
        agreed = outcome.agreed
        block["verdict"], block["verdict_reason"] = verdict(
            compared,
            margin=margin,
            margin_source=source,
            agreement=agreed["status"] if agreed else None,
            dirty=[*(agreed["reasons"] if agreed else []), *dirty],
            candidate=names["candidate"],
            baseline=names["baseline"],
        )
        for warning in (
            *(agreed["warnings"] if agreed else []),
            *_finer_than_a_start(compared, block["verdict"], margin),
        ):
            record.note(warning)
    elif dirty:
        block["verdict"], block["verdict_reason"] = (
            "invalid",
            f"the measurement is invalid: {'; '.join(dirty)}",
        )
    if block["verdict"] == "invalid":
        block["comparison"] = {}
    measured: schema.Measurement = {
        "margin": margin,
        "margin_source": source,
        "stopped_because": outcome.stopped_because,
        "repeats": outcome.repeats,
    }
    if block is record.result:
        measured = {**record.result["measurement"], **measured}
    block["measurement"] = measured


def _scaled(names: Mapping[str, str], record: Record, outcome: Outcome, *, case: int) -> list[str]:
    """Each arm's place on the absolute scale, into its block; returns what is impossible about it."""
    found = []
    for arm, name in names.items():
        facts, impossible = rooflines(outcome, arm)
        section = record.arm_section(arm, case=case)
        section["roofline"] = cast(schema.Roofline, {**section.get("roofline", {}), **facts})
        beyond = beyond_probe(facts)
        if impossible:
            found.append(f"{name} {impossible}")
        elif beyond:
            record.note(f"{name} {beyond}")
    return found


def _finer_than_a_start(compared: schema.Comparison | None, word: str | None, margin: float) -> list[str]:
    """What the interval of one pair of processes cannot know, where the claim is finer than that."""
    if compared is None or compared["processes"] > 1 or margin >= START_DRAW:
        return []
    claimed = word == "equivalent"
    if word in ("faster", "slower") and compared["ci95"]:
        claimed = min(abs(end - 1) for end in compared["ci95"]) < START_DRAW
    return [_ONE_START.format(margin=margin)] if claimed else []


def advise(record: Record) -> None:
    """What would settle a measurement that did not settle anything, as a note."""
    told = (record.result.get("stability") or {}).get("advice")
    if record.result["verdict"] == "inconclusive" and told:
        record.note(told)


def _stability(
    outcome: Outcome,
    compared: schema.Comparison | None,
    *,
    names: Mapping[str, str],
    record: Record,
) -> schema.Stability:
    """How steady the machine was, and what would narrow the interval."""
    drifted = outcome.samples.drift()
    note = drift_note(drifted, names)
    if note:
        record.note(note)
    told = None
    if compared is not None:
        told = advice(
            compared["spread"],
            blocks=compared["blocks"],
            pairs=compared["pairs"],
            processes=compared["processes"],
        )
    return {"drift": drifted, "outliers": outcome.samples.outliers(), "advice": told}


def judge_grid(record: Record) -> None:
    """One verdict over all cases: theirs if they agree, `invalid` if any is."""
    cases = record.result["cases"]
    counted = Counter(case["verdict"] for case in cases)
    told = ", ".join(f"{verdict} in {count}" for verdict, count in counted.most_common() if verdict)
    record.result["verdict_reason"] = f"of {len(cases)} cases: {told}" if told else None
    if counted["invalid"]:
        record.result["verdict"] = "invalid"
    elif len(counted) == 1:
        record.result["verdict"] = next(iter(counted))
    else:
        record.result["verdict"] = "inconclusive"


_OF_BOTH = "both arms share a process; measure.isolation=separate tells them apart"


def describe_arms(
    arms: Mapping[str, Arm], record: Record, facts: Mapping[str, Facts], *, isolation: Isolation
) -> None:
    """Programs, memory and profile of each arm, and whether the two run the same program."""
    names, own = names_of(arms), len(arms) == 1 or isolation is Isolation.separate
    for arm, each in facts.items():
        block, examined, peaks = record.result["arms"][arm], each["examined"], each["peaks"]
        program: dict[str, Any] = {
            key: examined[key] for key in ("stablehlo_sha256", "module_bytes", "programs")
        }
        program |= {
            key: examined[key] for key in ("cost", "copies", "wide_copies", "captured_bytes")
        }
        if block["mesh"] is not None:
            block["mesh"] |= examined.get("mesh", {})
        memory: dict[str, Any] = {**block["memory"]}
        memory |= {key: examined[key] for key in ("program_temp_bytes", "program_alias_bytes")}
        memory |= {
            key: peaks[key] if own else None for key in ("device_peak_bytes", "host_peak_rss_bytes")
        }
        reasons = {**examined["reasons"], "device_peak_bytes": peaks["device_reason"]}
        if not own:
            reasons["host_peak_rss_bytes"] = _OF_BOTH
            reasons["device_peak_bytes"] = peaks["device_reason"] or _OF_BOTH
        memory["reasons"] = {key: told for key, told in reasons.items() if told and key in memory}
        program["reasons"] = {key: told for key, told in reasons.items() if told and key in program}
        block["memory"] = cast(schema.Memory, memory)
        block["program"] = cast(schema.Program, program)
        if each["profile"] is not None:
            block["profile"] = each["profile"]
        step = examined["last_step"]
        apart = roofline.cost_disagreement(
            roofline.Step(nbytes=step["bytes"], flops=step["flops"]) if step else None,
            examined["cost"],
        )
        if apart:
            record.note(
                f"{names[arm]}: {apart}; its shares of bandwidth and FLOP/s are rough for that"
            )
    hashes = {each["examined"]["stablehlo_sha256"] for each in facts.values()}
    same = len(facts) == 2 and len(hashes) == 1 and None not in hashes
    record.result["same_program"] = same if len(facts) == 2 and None not in hashes else None
    if same:
        record.note("the two arms are the same program: their lowered StableHLO is equal")


def exit_code(result: Mapping[str, Any], codes: Sequence[ExitCode] = ()) -> ExitCode:
    """20 where the measurement is invalid, whatever else; then the gate's."""
    if result["verdict"] == "invalid":
        return ExitCode.INVALID
    return max(codes, default=ExitCode.OK)
