"""Bars made of parts, one below the other: what latency, startup and memory are drawn with.

A part that was not had is not drawn as 0: it is missing in its bar, and the note says so.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from jaxgen.report.plots.drawing import (
    ACCENT,
    INK,
    PAPER,
    PLAIN,
    SMALL_PT,
    Drawing,
    LeftOut,
    axes_of,
    legend_above,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHADES = {2: (1.0, 0.45), 3: (1.0, 0.55, 0.25), 6: (0.2, 0.35, 0.5, 0.7, 1.0, 0.3)}
_OTHER_SHADES = (1.0, 0.7, 0.5, 0.35, 0.2)
_KEYS = 2  # beside each other: long names of the bars leave that much room above them
_MOST_ROWS = 60


@dataclasses.dataclass(frozen=True)
class Bar:
    """One arm; its colour says which, the shades say which part."""

    label: str
    is_candidate: bool
    parts: Mapping[str, float | None]

    @property
    def total(self) -> float:
        """Of the parts that are known."""
        return sum(value for value in self.parts.values() if value is not None)


def draw(
    bars: Sequence[Bar],
    *,
    name: str,
    subject: str,
    title: str,
    form: Callable[[float], str],
    note: str = "",
) -> Drawing | LeftOut:
    """Draws those bars that have something; all of them have parts of the same names.

    Args:
        form: a figure in words.
        note: what else is told beside.
    """
    shown = [bar for bar in bars if bar.total > 0]
    if len(shown) > _MOST_ROWS:
        return LeftOut(
            name,
            subject,
            f"{len(shown)} bars are more than {_MOST_ROWS} rows can show; see the table",
        )
    parts = [part for part in shown[0].parts if any(bar.parts.get(part) for bar in shown)]
    absent = [bar.label for bar in bars if bar not in shown]
    unknown = [part for part in shown[0].parts if any(bar.parts.get(part) is None for bar in shown)]
    told = [note, f"Without figures and so not drawn: {', '.join(absent[:5])}." if absent else ""]
    told += [
        f"Not known of every arm, and missing in its bar: {', '.join(unknown)}." if unknown else ""
    ]

    def put(figure) -> None:
        axes = axes_of(figure, grid="none")
        _put(axes, shown, parts, form=form)
        legend_above(axes, columns=_KEYS)

    alt = "; ".join(f"{bar.label}: {_told(bar, form)}" for bar in shown) + "."
    height = 0.75 + 0.3 * len(shown) + 0.17 * ((len(parts) - 1) // _KEYS)
    said = " ".join(each for each in told if each).strip() or None
    return Drawing(name, title, alt, put, height_in=height, note=said)


def _put(
    axes: "Axes", bars: Sequence[Bar], parts: Sequence[str], *, form: Callable[[float], str]
) -> None:
    longest = max(bar.total for bar in bars)
    shades = dict(zip(parts, _SHADES.get(len(parts), _OTHER_SHADES), strict=False))
    named = set()
    for number, bar in enumerate(bars):
        start, colour = 0.0, ACCENT if bar.is_candidate else PLAIN
        for part, shade in shades.items():
            value = bar.parts.get(part)
            if value:
                label = None if part in named else part
                look = {"facecolor": (colour, shade), "edgecolor": PAPER, "linewidth": 0.8}
                axes.barh(number, value, 0.62, start, label=label, **look)
                named.add(part)
                start += value
        axes.text(
            start + 0.015 * longest,
            number,
            form(bar.total),
            va="center",
            color=INK,
            fontsize=SMALL_PT,
        )
    axes.set_yticks(range(len(bars)), [shortened(bar.label) for bar in bars])
    axes.set(xlim=(0, 1.2 * longest), ylim=(len(bars) - 0.45, -0.55))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _told(bar: Bar, form: Callable[[float], str]) -> str:
    return ", ".join(
        f"{part} {'unknown' if value is None else form(value)}" for part, value in bar.parts.items()
    )
