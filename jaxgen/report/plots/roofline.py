"""The roofline: how far each arm is from what the machine's memory and arithmetic allow.

The roof is what the machine's own probes found, in the worker of each arm.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxgen.report.lookup import number_at, value_at
from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.plots.log_axes import set_log_ticks
from jaxgen.report.plots.rates import rate_in_words
from jaxgen.report.plots.style import (
    ACCENT,
    MUTED,
    PLAIN,
    SMALL_PT,
    axes_of,
    legend_above,
)
from jaxgen.report.points import Point
from jaxgen.results import formatting, roofline_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SUBJECT = "roofline position"
_MOST_NAMED = 4
"""With more marks than that, the key would be larger than the picture."""

Roof = tuple[float, float]
"""The probed bandwidth in bytes/s and the probed peak in FLOP/s."""


@dataclasses.dataclass(frozen=True)
class _Mark:
    """One phase of an arm: what it does for each byte, how fast, and under which roof."""

    label: str
    phase: str
    is_candidate: bool
    flops_per_byte: float
    flops_per_s: float
    roof: Roof
    mbu: float | None
    read_rate: str


def draw(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """Draw the decode steps of all arms, and the prefill where it is known.

    Args:
        points: those of the report.
        name: that of the plot's files.
    """
    marks, missing = [], 0
    for point in points:
        for arm in point.arms:
            of_arm = _marks_of(point, arm)
            marks += of_arm
            missing += not of_arm
    if not marks:
        reason = "no arm has bytes and FLOPs of a step together with the machine's probes"
        return LeftOut(name, _SUBJECT, reason)
    roofs = list({mark.roof for mark in marks})
    roofs.sort(key=lambda roof: roof[1])
    texts = [_in_words(mark) for mark in marks]
    return Drawing(
        name,
        title=_title(points),
        alt="; ".join(texts) + ".",
        put=lambda figure: _put(axes_of(figure, grid="both"), marks, roofs),
        height_in=2.9,
        note=_note(points, marks, roofs, missing=missing),
    )


def _marks_of(point: Point, arm: str) -> list[_Mark]:
    """Return the phases of an arm that can be drawn; none where the machine was not probed."""
    roofline = value_at(point.arms[arm], "roofline") or {}
    bandwidth = number_at(roofline, "bandwidth_bytes_per_s")
    peak = number_at(roofline, "peak_flops_per_s")
    if not bandwidth or not peak:
        return []
    # A workload that scores has no decode steps: its work is that of a call.
    has_steps = str(roofline.get("of", "tpot_s")).startswith("tpot")
    phases = [
        ("decode" if has_steps else "call", roofline, "_per_step"),
        ("prefill", value_at(roofline, "prefill"), ""),
    ]
    marks = []
    for phase, work, ending in phases:
        moved = number_at(work, f"bytes{ending}")
        flops = number_at(work, f"flops{ending}")
        mfu = number_at(work, "mfu")
        # Without any of them the mark would have no place on two logarithmic axes.
        if moved and flops and mfu:
            mark = _Mark(
                label=f"{arm} {point.label}" if point.settings else arm,
                phase=phase,
                is_candidate=arm == "candidate",
                flops_per_byte=flops / moved,
                # The share of the peak, times the peak, is the rate that was measured.
                flops_per_s=mfu * peak,
                roof=(bandwidth, peak),
                mbu=number_at(work, "mbu"),
                read_rate=roofline_words.read_rate(_told(roofline)),
            )
            marks.append(mark)
    return marks


def _title(points: Sequence[Point]) -> str:
    """Say which shares of the bandwidth are reached."""
    # Of one run both arms are named; of many, the span of the candidates says enough.
    if len(points) == 1:
        shares = _shares_of_arms(points[0])
        if shares:
            rate = _read_rate_of(points)
            return f"Of the {rate} a step uses {' and '.join(shares)}"
    known = []
    for point in points:
        candidate = point.arms["candidate"]
        mbu = number_at(candidate, "roofline", "mbu")
        if mbu is not None:
            known.append(mbu)
    title = "Where the candidates lie under the machine's roof"
    if not known:
        return title
    low = formatting.percent(min(known))
    high = formatting.percent(max(known))
    return f"{title}: from {low} to {high} of the {_read_rate_of(points)}"


def _read_rate_of(points: Sequence[Point]) -> str:
    """Return what all shares are of; where candidates read from different levels, any read rate."""
    rates = set()
    for point in points:
        for arm in point.arms.values():
            rates.add(roofline_words.read_rate(_told(value_at(arm, "roofline"))))
    return rates.pop() if len(rates) == 1 else roofline_words.READ_RATES[None]


def _told(roofline: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return a roofline that says where it reads from; older results call all of it memory."""
    return {"reads_from": "memory", **(roofline or {})}


def _shares_of_arms(point: Point) -> list[str]:
    """Write each arm's share of the bandwidth: `40 % (candidate)`."""
    shares = []
    for name, arm in point.arms.items():
        mbu = number_at(arm, "roofline", "mbu")
        if mbu is not None:
            percent = formatting.percent(mbu)
            shares.append(f"{percent} ({name})")
    return shares


def _in_words(mark: _Mark) -> str:
    intensity = formatting.number(mark.flops_per_byte, digits=3)
    rate = rate_in_words(mark.flops_per_s)
    text = f"{mark.label}, {mark.phase}: {intensity} FLOP a byte, {rate}"
    if mark.mbu is None:
        return text
    percent = formatting.percent(mark.mbu)
    return f"{text}, {percent} of the {mark.read_rate}"


def _note(
    points: Sequence[Point], marks: Sequence[_Mark], roofs: Sequence[Roof], *, missing: int
) -> str | None:
    notes = []
    # Of one run each arm's step is told; of many, the points' tables have the figures.
    for name, arm in points[0].arms.items() if len(points) == 1 else ():
        words = roofline_words.step_in_words(value_at(arm, "roofline"))
        if words is not None:
            notes.append(f"The {name}'s {words}.")
    if missing:
        notes.append(f"{missing} arms have no roofline and are not drawn.")
    if len(roofs) > 1:
        notes.append(
            "The lines are the roofs that the arms' own probes found, the lowest and the highest."
        )
    if len(marks) > _MOST_NAMED:
        notes.append("Discs are decode steps in the arm's colour, diamonds are prefill.")
    return " ".join(notes) or None


def _put(axes: "Axes", marks: Sequence[_Mark], roofs: Sequence[Roof]) -> None:
    intensities = [mark.flops_per_byte for mark in marks]
    _put_roofs(axes, intensities, roofs)
    named = set()
    for mark in marks:
        # Several points have marks of one kind, of which the key needs one.
        kind = f"{'candidate' if mark.is_candidate else 'baseline'}, {mark.phase}"
        label = None if kind in named else kind
        named.add(kind)
        axes.plot(
            [mark.flops_per_byte],
            [mark.flops_per_s],
            "D" if mark.phase == "prefill" else "o",
            label=label,
            color=ACCENT if mark.is_candidate else PLAIN,
            markersize=6,
            markeredgewidth=0,
        )
    if len(marks) <= _MOST_NAMED:
        legend_above(axes, columns=2)
    set_log_ticks(axes)
    axes.set_xlabel("FLOP per byte that must be moved")
    axes.set_ylabel("FLOP/s")


def _put_roofs(axes: "Axes", intensities: Sequence[float], roofs: Sequence[Roof]) -> None:
    """Set the x axis, and draw the lowest and the highest roof."""
    # The ridge of each roof lies in the picture: left of it memory limits, right of it arithmetic.
    ridges = [peak / bandwidth for bandwidth, peak in roofs]
    shown = [*intensities, *ridges]
    low, high = min(shown) / 3, max(shown) * 4
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    # Probes of one machine differ a little from run to run, and that many lines would be a smear.
    lowest_and_highest = dict.fromkeys((roofs[0], roofs[-1]))
    for bandwidth, peak in lowest_and_highest:
        axes.plot(
            # The slope up to the ridge, then flat: 20 GB/s and 200 GFLOP/s meet at 10 FLOP a byte.
            [low, peak / bandwidth, high],
            [low * bandwidth, peak, peak],
            color=MUTED,
            linewidth=1.0,
        )
    bandwidth, peak = roofs[-1]
    bandwidth_per_s = formatting.size(int(bandwidth))
    axes.annotate(
        f"{bandwidth_per_s}/s, {rate_in_words(peak)}",
        (high, peak),
        xytext=(-2, 4),
        textcoords="offset points",
        ha="right",
        color=MUTED,
        fontsize=SMALL_PT,
    )
