"""What a report says in sentences: the verdict, what to be wary of, where it ran, how to do it again."""

import dataclasses
import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from jaxgen.report.points import Point, at, level, number_at
from jaxgen.results import formatting
from jaxgen.results.collection import StoredRun
from jaxgen.specs.fault import Fault

OVERRIDES = ".hydra/overrides.yaml"


def sentence_of(run: StoredRun) -> str:
    """The verdict of a run, and its gate's; of a study, what it found; of a failed run, what failed."""
    result = run.result
    if result["status"] == "failed":
        failures = [f"the {name}: {failure(arm)}" for name, arm in _failed(result)]
        return _sentence(
            f"the run failed; {'; '.join(failures) or 'no arm says why: see its jaxgen.log'}"
        )
    gate = _gate(result)
    if result.get("verdict"):
        return " ".join([_sentence(result.get("verdict_reason") or str(result["verdict"])), *gate])
    floor = number_at(result, "calibration", "floor")
    if floor is not None:
        calibration: Mapping[str, Any] = result.get("calibration") or {}
        count = calibration.get("repetitions", "several")
        return _sentence(
            f"the noise floor of {calibration.get('key')} is {100 * floor:.2f} %, "
            f"by {count} measurements"
        )
    if at(result, "selftest", "rates"):
        return _sentence(_selftest(result.get("selftest") or {}))
    if gate:
        return gate[0]
    alone = result["arms"]["candidate"]
    primary = next(iter(alone.get("metrics", {})), None)
    return _sentence(
        f"one arm was measured, without a baseline: {level(alone, primary)}"
        if primary
        else "no verdict"
    )


def sentence_of_all(points: Sequence[Point], *, unread: int) -> str:
    """How the points came out, and the largest ratio among those that stand."""
    counted = Counter(
        "failed" if p.run.result["status"] == "failed" else p.verdict or "no verdict"
        for p in points
    )
    counted["not shown"] = unread
    told = ", ".join(f"{count} {name}" for name, count in counted.most_common() if count)
    total = len(points) + unread
    best = max(
        (p for p in points if p.verdict == "faster" and p.ratio),
        key=lambda p: (p.ratio or {})["ratio"],
        default=None,
    )
    most = (
        f"; the largest gain is {formatting.ratio_and_interval(best.ratio)} times, at {best.label}"
        if best
        else ""
    )
    baselines = [choices for p in points if (choices := at(p.arms, "baseline", "choices"))]
    gated = [p for p in points if at(p.run.result, "gate", "status") == "regression"]
    worse = dict.fromkeys(
        p.run.name if p.run.result.get("cases") else p.label or p.run.name for p in gated
    )
    most += f"; the gate found a regression at {', '.join(worse)}" if worse else ""
    apart = f". Note: {beside}" if (beside := formatting.baselines_apart(baselines)) else ""
    return _sentence(f"{total} {'point' if total == 1 else 'points'}: {told}{most}{apart}")


def badge(runs: Sequence[StoredRun]) -> str | None:
    """One word for the top of the page; None where several runs need more."""
    if len(runs) != 1:
        return None
    return "failed" if runs[0].result["status"] == "failed" else runs[0].result.get("verdict")


def warnings_of(run: StoredRun) -> list[str]:
    """Faults, failures and notes: all that a reader must see beside the figures."""
    told = []
    notes = [
        str(note)
        for note in (*run.result.get("notes", []), *(at(run.result, "gate", "notes") or []))
    ]
    noted = any("random weights" in note.lower() for note in notes)
    for name, arm in run.result["arms"].items():
        faults = _faults(at(arm, "config", "fault") or {})
        told += (
            [f"a fault was put into the {name} on purpose: {', '.join(faults)}"] if faults else []
        )
        told += (
            [f"the {name} has random weights"] if at(arm, "weights", "random") and not noted else []
        )
    told += [f"the {name} failed: {failure(arm)}" for name, arm in _failed(run.result)]
    told += [f"{name} was not found by the selftest" for name in _missed(run.result)]
    return [_sentence(each) for each in [*told, *notes]]


def tracebacks(run: StoredRun) -> Iterator[tuple[str, str]]:
    """What each failed arm left behind: its name, and the traceback or the message."""
    for name, arm in _failed(run.result):
        yield (
            name,
            str(
                arm["failure"].get("traceback")
                or arm["failure"].get("message")
                or arm["failure"].get("kind")
            ),
        )


def failure(arm: Mapping[str, Any]) -> str | None:
    """Its kind and the first line of its message; None where the arm did not fail."""
    failure = arm.get("failure")
    if not isinstance(failure, dict):
        return None
    message = str(failure.get("message") or "").strip().splitlines()
    return ": ".join(
        str(part) for part in (failure.get("kind"), message[0] if message else None) if part
    )


def environment_rows(runs: Sequence[StoredRun]) -> Iterator[tuple[str, str]]:
    """Where it ran; where runs differ, every value."""
    told: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, value in _environment(run.result.get("environment") or {}):
            told.setdefault(name, {}).setdefault(value)
    for name, values in told.items():
        shown = list(values)[:4]
        yield name, "; ".join([*shown, f"and {len(values) - 4} more"] if len(values) > 4 else shown)


def measurement_rows(run: StoredRun) -> Iterator[tuple[str, str]]:
    """How it was measured."""
    told: Mapping[str, Any] = dict(run.result.get("measurement") or {})
    compared = next(iter((run.result.get("comparison") or {}).values()), None)
    if compared:
        spread = (
            f" in {compared['processes']} processes" if (compared.get("processes") or 1) > 1 else ""
        )
        yield "pairs", f"{compared['pairs']} in {compared['blocks']} blocks{spread}"
    if number_at(told, "margin") is not None:
        yield (
            "margin",
            f"{formatting.percent(told['margin'])}, {told.get('margin_source') or 'source unknown'}",
        )
    if told.get("isolation"):
        yield "isolation", str(told["isolation"])
    if told.get("stopped_because"):
        reasons = told["stopped_because"]  # one reason for each process; in older results a text
        yield (
            "stopped by",
            ", ".join(map(str, reasons)) if isinstance(reasons, list) else str(reasons),
        )
    for key in ("started_at", "finished_at", "run_id"):
        yield key.replace("_at", "").replace("_", " "), str(run.result.get(key) or "")


def model_of(run: StoredRun) -> str:
    """The candidate's model; random weights are called so."""
    candidate = run.result["arms"]["candidate"]
    name = str(
        at(candidate, "choices", "model")
        or at(candidate, "config", "model", "name")
        or "unknown model"
    )
    return f"{name}, random weights" if at(candidate, "weights", "random") else name


def date_of(run: StoredRun) -> str:
    """When it started, to the minute; the zone is UTC."""
    return str(run.result.get("started_at") or "unknown date").replace("T", " ")[:16]


def command_of(run: StoredRun) -> str:
    """The run's own command; of a point of a sweep, the command that measures this point alone."""
    command = str(run.result.get("command") or "unknown")
    try:
        overrides = yaml.safe_load((run.folder / OVERRIDES).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return command
    if not run.name.isdigit() or not isinstance(overrides, list):
        return command
    return shlex.join(["python", "-m", "jaxgen", *map(str, overrides)])


def commit_of(run: StoredRun) -> str | None:
    """The commit of the code, and whether it had changes that were not committed."""
    commit = at(run.result.get("environment"), "git", "commit")
    dirty = (
        ", with changes that were not committed"
        if at(run.result.get("environment"), "git", "dirty")
        else ""
    )
    return f"{commit}{dirty}" if commit else None


def _environment(known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind, count = known.get("device_kind"), known.get("device_count")
    beside = [
        str(known[key])
        for key in ("platform", "backend_version")
        if known.get(key) not in (None, kind)
    ]
    yield (
        "device",
        " ".join([f"{count} x {kind}", *([f"({', '.join(beside)})"] if beside else [])])
        if kind
        else "",
    )
    memory = number_at(known, "memory_bytes")
    parts = [
        known.get("cpu"),
        f"{known.get('cores')} cores",
        None if memory is None else formatting.size(int(memory)),
    ]
    yield "host", ", ".join(str(part) for part in parts if part) if known.get("cpu") else ""
    yield "system", str(known.get("system") or "")
    packages = [
        f"{name} {version}" for name, version in (known.get("packages") or {}).items() if version
    ]
    yield "packages", ", ".join([f"Python {known.get('python')}", *packages])
    yield "XLA flags", str(known.get("xla_flags") or "none")
    chosen = {**(known.get("jax_environment") or {}), **(known.get("jax_config") or {})}
    yield (
        "jax settings",
        ", ".join(
            f"{key}={json.dumps(value)}" for key, value in chosen.items() if value is not None
        ),
    )
    git = known.get("git") or {}
    yield (
        "code",
        f"{git.get('commit')}{' (dirty)' if git.get('dirty') else ''}" if git.get("commit") else "",
    )
    for when in ("before", "after"):
        loads = known.get(f"load_average_{when}")
        yield (
            f"load average {when}",
            ", ".join(f"{each:.2f}" for each in loads if each is not None) if loads else "",
        )
    foreign = number_at(known, "foreign_cpu_share")
    yield "CPU used by other programs", formatting.percent(foreign) if foreign is not None else ""


def _failed(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (name, arm) for name, arm in result["arms"].items() if isinstance(arm.get("failure"), dict)
    ]


def _gate(result: Mapping[str, Any]) -> list[str]:
    """What the gate found, as a sentence; empty without a gate."""
    status, reason = (at(result, "gate", key) for key in ("status", "reason"))
    found = (
        "passed"
        if status == "passed"
        else f"found {'a regression' if status == 'regression' else status}"
    )
    return [_sentence(f"the gate {found}: {reason}")] if reason else []


def _faults(config: Mapping[str, Any]) -> list[str]:
    sound = {field.name: field.default for field in dataclasses.fields(Fault)}
    return [
        f"{key}={json.dumps(value)}" for key, value in config.items() if value != sound.get(key)
    ]


def _missed(result: Mapping[str, Any]) -> list[str]:
    return [
        f"fault.{name}"
        for name, each in (at(result, "selftest", "faults") or {}).items()
        if not each.get("found")
    ]


def _selftest(told: Mapping[str, Any]) -> str:
    rates = told["rates"]
    found = [name for name, each in (told.get("faults") or {}).items() if each.get("found")]
    left, slowed = (
        formatting.percent(rates.get(key)) for key in ("same_left_alone", "slowdown_found")
    )
    return (
        f"equal arms were left alone in {left} of the measurements, "
        f"a slowdown of {formatting.percent(told.get('slowdown'))} was found in {slowed}, "
        f"and {len(found)} of {len(told.get('faults') or {})} faults were found"
    )


def _sentence(text: str) -> str:
    """With a capital, unless it opens with a setting such as `cache=fixed`, and a full stop."""
    text = " ".join(text.split())
    first = text.split(" ", 1)[0]
    text = text if "=" in first else text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
