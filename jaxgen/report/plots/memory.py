"""What the memory is taken by: weights, KV cache and temporaries of the programs."""

from collections.abc import Sequence

from jaxgen.report.lookup import number_at, value_at
from jaxgen.report.plots import bars
from jaxgen.report.plots.bars import Bar, Parts
from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.plots.shown_arms import ShownArm, one_point_of_each_run, shown_arms
from jaxgen.report.points import Point
from jaxgen.results import formatting
from jaxgen.results.schema import ArmResult

_SUBJECT = "memory"
_PARTS = {
    "weights": "weights_bytes",
    "KV cache": "kv_cache_bytes",
    "temporaries": "program_temp_bytes",
}
# A peak is no part of a bar: it holds the parts, and what the process needs beside them.
_PEAKS = {"of the host process": "host_peak_rss_bytes", "on the device": "device_peak_bytes"}
_MOST_ARMS_WITH_PEAKS = 2


def draw(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """Draw a bar for each arm; the peaks that were measured stand in the note.

    Args:
        points: those of the report; a run with cases has one account of its memory.
        name: that of the plot's files.
    """
    alone = one_point_of_each_run(points)
    arms = shown_arms(alone)
    made = []
    for arm in arms:
        parts = _parts(arm.result)
        made.append(Bar(arm.label, arm.is_candidate, parts))
    largest = bars.longest(made)
    if largest is None:
        return LeftOut(name, _SUBJECT, "no arm has an account of its memory")
    return bars.draw(
        made,
        name=name,
        subject=_SUBJECT,
        title=_title(largest),
        form=_size,
        note=_note(arms),
    )


def _parts(arm: ArmResult) -> Parts:
    """Return the bytes of each part."""
    parts = {}
    for part, key in _PARTS.items():
        parts[part] = number_at(arm, "memory", key)
    return parts


def _title(largest: Bar) -> str:
    part = bars.largest_part(largest)
    subject = f"{part.capitalize()} take"
    # The other parts are plural.
    if part == "KV cache":
        subject = "The KV cache takes"
    total = formatting.size(int(largest.total))
    return f"{subject} most of {total} in the largest arm"


def _note(arms: Sequence[ShownArm]) -> str:
    """Say the peaks of a few arms, and why figures are not known."""
    notes = []
    peaks = []
    # With more arms the note would be longer than the picture is high.
    if len(arms) <= _MOST_ARMS_WITH_PEAKS:
        for arm in arms:
            sizes = _peaks(arm.result)
            if sizes:
                listed = ", ".join(sizes)
                peaks.append(f"{arm.label}: {listed}")
    if peaks:
        notes.append(f"Peaks: {'; '.join(peaks)}.")
    reasons: set[str] = set()
    for arm in arms:
        of_arm = value_at(arm.result, "memory", "reasons") or {}
        reasons.update(map(str, of_arm.values()))
    # A null has a reason, such as a backend that keeps no account of its memory.
    notes += [f"Not known: {reason}." for reason in sorted(reasons)]
    return " ".join(notes)


def _peaks(arm: ArmResult) -> list[str]:
    """Write the peaks that are known: `480.0 MB of the host process`."""
    sizes = []
    for where, key in _PEAKS.items():
        peak_bytes = number_at(arm, "memory", key)
        if peak_bytes is not None:
            size = formatting.size(int(peak_bytes))
            sizes.append(f"{size} {where}")
    return sizes


def _size(count: float) -> str:
    if not count:
        return "0"
    return formatting.size(int(count))
