"""Where a call's time goes, where the start's time goes, what the memory is taken by: as bars made of parts."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jaxgen.report.plots import bars
from jaxgen.report.plots.bars import Bar
from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.points import Point, arm_name, at, median_of, number_at
from jaxgen.results import formatting


def draw_latency(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """Prefill up to the first token, and decoding after it."""
    made = [Bar(label, is_candidate, _latency(arm)) for label, is_candidate, arm in _arms(points)]
    known = [bar for bar in made if bar.total > 0]
    if not known:
        reason = (
            "no arm has a time to the first token"
            if any(p.primary for p in points)
            else "nothing was measured"
        )
        return LeftOut(name, "latency split", reason)
    largest = max(known, key=lambda bar: bar.total)
    share = (largest.parts["decode"] or 0) / largest.total
    title = (
        f"Decoding takes {formatting.percent(share)} of a call in the slowest arm, prefill the rest"
    )
    return bars.draw(made, name=name, subject="latency split", title=title, form=_seconds)


def draw_startup(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """From the process's start to the first warm call."""
    first = _one_of_each_run(points)
    arms = _arms(first)
    made = [
        Bar(label, is_candidate, _startup(arm["startup"]))
        for label, is_candidate, arm in arms
        if arm.get("startup")
    ]
    for label, is_candidate, arm in arms if len(first) == 1 else ():
        for side, told in (("cold", "empty cache folder"), ("warm", "filled cache folder")):
            fresh = at(arm, "startup", side)
            if fresh:
                parts = _fresh(fresh)
                made.append(Bar(f"{label.split(' (')[0]}, {told}", is_candidate, parts))
    known = [bar for bar in made if bar.total > 0]
    if not known:
        return LeftOut(name, "startup split", "no arm has times of its start")
    longest = max(known, key=lambda bar: bar.total)
    part, value = max(
        ((part, value or 0) for part, value in longest.parts.items()), key=lambda each: each[1]
    )
    title = f"Of the longest start ({_seconds(longest.total)}), {part} takes {formatting.percent(value / longest.total)}"
    return bars.draw(made, name=name, subject="startup split", title=title, form=_seconds)


def draw_memory(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """What stands in memory for the model, and the peaks that were had."""
    arms = _arms(_one_of_each_run(points))  # the cases of a run have one account
    keys = {
        "weights": "weights_bytes",
        "KV cache": "kv_cache_bytes",
        "temporaries": "program_temp_bytes",
    }
    made = [
        Bar(
            label, is_candidate, {part: number_at(arm, "memory", key) for part, key in keys.items()}
        )
        for label, is_candidate, arm in arms
    ]
    known = [bar for bar in made if bar.total > 0]
    if not known:
        return LeftOut(name, "memory", "no arm has an account of its memory")
    peaks = [
        f"{label}: {', '.join(told)}"
        for label, _, arm in (arms if len(arms) <= 2 else ())
        if (
            told := [
                f"{formatting.size(int(v))} {what}"
                for what, v in _peaks(arm).items()
                if v is not None
            ]
        )
    ]
    reasons = {
        str(each) for *_, arm in arms for each in (at(arm, "memory", "reasons") or {}).values()
    }
    note = " ".join(
        [
            f"Peaks: {'; '.join(peaks)}." if peaks else "",
            *(f"Not known: {each}." for each in sorted(reasons)),
        ]
    )
    most = max(known, key=lambda bar: bar.total)
    part = max(most.parts, key=lambda key: most.parts[key] or 0)
    title = f"{part[:1].upper()}{part[1:]} take most of {formatting.size(int(most.total))} in the largest arm"
    title = title.replace("KV cache take ", "The KV cache takes ")
    return bars.draw(made, name=name, subject="memory", title=title, form=_bytes, note=note)


def _one_of_each_run(points: Sequence[Point]) -> list[Point]:
    """The first case of each run, without what tells it from the others."""
    first = list({point.run.folder: point for point in reversed(points)}.values())[::-1]
    return [
        dataclasses.replace(
            point,
            params={},
            settings={k: v for k, v in point.settings.items() if k not in point.params},
        )
        for point in first
    ]


def _latency(arm: Mapping[str, Any]) -> dict[str, float | None]:
    ttft_s, latency_s = median_of(arm, "ttft_s"), median_of(arm, "latency_s")
    if ttft_s is None or latency_s is None or latency_s < ttft_s:
        return {"prefill": None, "decode": None}  # half a split would look like a fast call
    return {"prefill": ttft_s, "decode": latency_s - ttft_s}


def _startup(block: Mapping[str, Any]) -> dict[str, float | None]:
    parts = {
        part: number_at(block, f"{part}_s")
        for part in ("import", "load", "trace", "lower", "compile")
    }
    return parts | {"first calls": _rest(number_at(block, "warmup_s"), parts)}


def _fresh(block: Mapping[str, Any]) -> dict[str, float | None]:
    """Of a fresh process and its first call."""
    parts = {part: number_at(block, f"{part}_s") for part in ("import", "load")}
    parts |= {
        part: number_at(block, "first_call", f"{part}_s") for part in ("trace", "lower", "compile")
    }
    return parts | {"first calls": _rest(number_at(block, "first_call", "seconds"), parts)}


def _rest(whole_s: float | None, parts: Mapping[str, float | None]) -> float | None:
    """What the calls took beside tracing, lowering and compiling."""
    known = [parts[part] for part in ("trace", "lower", "compile")]
    if whole_s is None or None in known:
        return None
    return max(whole_s - sum(value for value in known if value is not None), 0.0)


def _peaks(arm: Mapping[str, Any]) -> dict[str, float | None]:
    keys = {"of the host process": "host_peak_rss_bytes", "on the device": "device_peak_bytes"}
    return {what: number_at(arm, "memory", key) for what, key in keys.items()}


def _arms(points: Sequence[Point]) -> list[tuple[str, bool, dict[str, Any]]]:
    """(label, whether the candidate, facts): both arms of each point; a baseline that all share comes once."""
    if len(points) == 1:
        return [
            (arm_name(points[0], name), name == "candidate", arm)
            for name, arm in points[0].arms.items()
        ]
    baselines = {_identity(point) for point in points if "baseline" in point.arms}
    if len(baselines) > 1:
        return [
            (point.arm_label(name), name == "candidate", arm)
            for point in points
            for name, arm in point.arms.items()
        ]
    first = next((point for point in points if "baseline" in point.arms), None)
    shared = [("baseline", False, first.arms["baseline"])] if first else []
    return [*((point.label, True, point.arms["candidate"]) for point in points), *shared]


def _identity(point: Point) -> str:
    """Equal for baselines that are the same arm in the same case."""
    return f"{point.arms['baseline'].get('config')} {dict(point.params)}"


def _seconds(value: float) -> str:
    return (
        f"{formatting.number(1e3 * value, digits=3)} ms"
        if value < 1
        else f"{formatting.number(value, digits=3)} s"
    )


def _bytes(value: float) -> str:
    return formatting.size(int(value)) if value else "0"
