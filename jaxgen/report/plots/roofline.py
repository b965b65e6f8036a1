"""The roofline: how far each arm is from what the machine's memory and arithmetic allow, as its own probes found it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxgen.report.plots.drawing import (
    ACCENT,
    MUTED,
    PLAIN,
    SMALL_PT,
    Drawing,
    LeftOut,
    axes_of,
    legend_above,
)
from jaxgen.report.points import Point, at, number_at
from jaxgen.results import formatting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SUBJECT = "roofline position"
_MOST_NAMED = 4
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclasses.dataclass(frozen=True)
class _Place:
    """A phase of an arm: FLOPs per byte, FLOP/s reached, and the roof of its own probes."""

    label: str
    phase: str
    is_candidate: bool
    intensity: float
    flops_per_s: float
    bandwidth_bytes_per_s: float
    peak_flops_per_s: float
    mbu: float | None


def draw(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """Decode steps, and prefill where it is known."""
    places = [place for point in points for arm in point.arms for place in _places(point, arm)]
    if not places:
        return LeftOut(
            name,
            _SUBJECT,
            "no arm has bytes and FLOPs of a step together with the machine's probes",
        )
    roofs = sorted(
        {(each.bandwidth_bytes_per_s, each.peak_flops_per_s) for each in places},
        key=lambda roof: roof[1],
    )
    ends = [each.intensity for each in places] + [peak / bandwidth for bandwidth, peak in roofs]
    low, high = min(ends) / 3, max(ends) * 4

    def put(figure) -> None:
        axes = axes_of(figure, grid="both")
        axes.set(xscale="log", yscale="log", xlim=(low, high))
        for bandwidth, peak in (roofs[0], roofs[-1]) if len(roofs) > 1 else roofs:
            axes.plot(
                [low, peak / bandwidth, high],
                [low * bandwidth, peak, peak],
                color=MUTED,
                linewidth=1.0,
            )
        bandwidth, peak = roofs[-1]
        told = f"{formatting.size(int(bandwidth))}/s, {_rate(peak)}"
        place: Any = {"xytext": (-2, 4), "textcoords": "offset points", "ha": "right"}
        axes.annotate(told, (high, peak), color=MUTED, fontsize=SMALL_PT, **place)
        for each in places:
            colour = ACCENT if each.is_candidate else PLAIN
            told = f"{'candidate' if each.is_candidate else 'baseline'}, {each.phase}"
            style = {"color": colour, "markersize": 6, "markeredgewidth": 0}
            marker = "D" if each.phase == "prefill" else "o"
            axes.plot([each.intensity], [each.flops_per_s], marker, label=told, **style)
        if len(places) <= _MOST_NAMED:
            legend_above(axes, columns=2)
        _plain_ticks(axes)
        axes.set_xlabel("FLOP per byte that must be moved")
        axes.set_ylabel("FLOP/s")

    alt = "; ".join(_told(each) for each in places) + "."
    missing = [arm for point in points for arm in point.arms if not list(_places(point, arm))]
    note = f"{len(missing)} arms have no roofline and are not drawn." if missing else ""
    note += (
        " The lines are the roofs that the arms' own probes found, the lowest and the highest."
        if len(roofs) > 1
        else ""
    )
    note += (
        " Discs are decode steps in the arm's colour, diamonds are prefill."
        if len(places) > _MOST_NAMED
        else ""
    )
    return Drawing(name, _title(points), alt, put, height_in=2.9, note=note.strip() or None)


def _places(point: Point, arm: str) -> list[_Place]:
    block = at(point.arms[arm], "roofline") or {}
    bandwidth, peak = (
        number_at(block, key) for key in ("bandwidth_bytes_per_s", "peak_flops_per_s")
    )
    if not bandwidth or not peak:
        return []
    label = arm if not point.settings else f"{arm} {point.label}"
    phases = {
        "decode" if str(block.get("of", "tpot_s")).startswith("tpot") else "call": _phase(
            block, "_per_step"
        ),
        "prefill": _phase(at(block, "prefill") or {}, ""),
    }
    return [
        _Place(label, phase, arm == "candidate", flops / moved, mfu * peak, bandwidth, peak, mbu)
        for phase, (moved, flops, mfu, mbu) in phases.items()
        if moved and flops and mfu
    ]


def _phase(
    block: Mapping[str, Any], ending: str
) -> tuple[float | None, float | None, float | None, float | None]:
    moved, flops = number_at(block, f"bytes{ending}"), number_at(block, f"flops{ending}")
    return moved, flops, number_at(block, "mfu"), number_at(block, "mbu")


def _title(points: Sequence[Point]) -> str:
    shares = {arm: number_at(facts, "roofline", "mbu") for arm, facts in points[0].arms.items()}
    told = [
        f"{formatting.percent(share)} ({arm})" for arm, share in shares.items() if share is not None
    ]
    if len(points) == 1 and told:
        return f"Of the memory's bandwidth a step uses {' and '.join(told)}"
    known = [
        mbu
        for p in points
        if (mbu := number_at(p.arms["candidate"], "roofline", "mbu")) is not None
    ]
    span = (
        f": from {formatting.percent(min(known))} to {formatting.percent(max(known))} of the bandwidth"
        if known
        else ""
    )
    return f"Where the candidates lie under the machine's roof{span}"


def _told(each: _Place) -> str:
    share = f", {formatting.percent(each.mbu)} of the bandwidth" if each.mbu is not None else ""
    intensity = formatting.number(each.intensity, digits=3)
    return f"{each.label}, {each.phase}: {intensity} FLOP a byte, {_rate(each.flops_per_s)}{share}"


def _plain_ticks(axes: "Axes") -> None:
    """Ticks in words: with mathematics off, matplotlib's own are shown as they are written."""
    for axis, (low, high), form in (
        (axes.xaxis, axes.get_xlim(), _plain),
        (axes.yaxis, axes.get_ylim(), _short),
    ):
        for steps in ((1,), (1, 2, 5)):
            ticks = [
                step * 10.0**power
                for power in range(-6, 18)
                for step in steps
                if low <= step * 10.0**power <= high
            ]
            if len(ticks) > 1:
                break
        axis.set_ticks(ticks, [form(value) for value in ticks])
        axis.set_ticks([], minor=True)


def _plain(value: float) -> str:
    return f"{value:g}"


def _short(flops_per_s: float) -> str:
    scale, prefix = next((each for each in _PREFIXES if flops_per_s >= each[0]), (1.0, ""))
    return f"{flops_per_s / scale:g} {prefix}".strip()


def _rate(flops_per_s: float) -> str:
    scale, prefix = next((each for each in _PREFIXES if flops_per_s >= each[0]), (1.0, ""))
    return f"{formatting.number(flops_per_s / scale, digits=3)} {prefix}FLOP/s"
