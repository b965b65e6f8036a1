"""Horizontal bars made of parts: what latency, startup and memory are drawn with.

A part that is not known is not drawn as 0: it is missing in its bar, and the note says so.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.plots.style import (
    ACCENT,
    INK,
    PAPER,
    PLAIN,
    SMALL_PT,
    axes_of,
    legend_above,
    shortened,
)
from jaxgen.results import formatting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# By the number of parts. The six are those of a start, of which compiling is the darkest.
_SHADES = {2: (1.0, 0.45), 3: (1.0, 0.55, 0.25), 6: (0.2, 0.35, 0.5, 0.7, 1.0, 0.3)}
_OTHER_SHADES = (1.0, 0.7, 0.5, 0.35, 0.2)
_KEY_COLUMNS = 2  # long names of the bars leave that much room above them
_MOST_ROWS = 60
_MOST_NAMED = 5

Parts = Mapping[str, float | None]
"""The parts of a bar by name; None where one is not known."""


@dataclasses.dataclass(frozen=True)
class Bar:
    """One arm; the colour says which, the shades say which part."""

    label: str
    is_candidate: bool
    parts: Parts

    @property
    def total(self) -> float:
        """The sum of the parts that are known."""
        total = 0.0
        for value in self.parts.values():
            if value is not None:
                total += value
        return total


def draw(
    bars: Sequence[Bar],
    *,
    name: str,
    subject: str,
    title: str,
    form: Callable[[float], str],
    note: str = "",
) -> Drawing | LeftOut:
    """Draw those bars that have something.

    Args:
        bars: at least one has something; all have parts of the same names.
        name: that of the plot's files.
        subject: what the plot shows, in a few words.
        title: what is seen.
        form: writes a figure with its unit.
        note: what else is said beside the plot.
    """
    shown = [bar for bar in bars if bar.total > 0]
    if len(shown) > _MOST_ROWS:
        reason = f"{len(shown)} bars are more than {_MOST_ROWS} rows can show; see the table"
        return LeftOut(name, subject, reason)
    # All bars have the same parts, so that their shades can be compared.
    parts = _drawn_parts(shown)

    def put(figure) -> None:
        axes = axes_of(figure, grid="none")
        _put(axes, shown, parts, form=form)
        legend_above(axes, columns=_KEY_COLUMNS)

    texts = [_in_words(bar, form) for bar in shown]
    more_key_lines = (len(parts) - 1) // _KEY_COLUMNS
    return Drawing(
        name,
        title,
        alt="; ".join(texts) + ".",
        put=put,
        height_in=0.75 + 0.3 * len(shown) + 0.17 * more_key_lines,
        note=_note(bars, shown, note),
    )


def longest(bars: Sequence[Bar]) -> Bar | None:
    """Return the bar with the largest total; None where no bar has anything."""
    best = max(bars, key=lambda bar: bar.total, default=None)
    if best is None or best.total <= 0:
        return None
    return best


def largest_part(bar: Bar) -> str:
    """Return the name of the largest part that is known."""
    return max(bar.parts, key=lambda part: bar.parts[part] or 0)


def share_of(bar: Bar, part: str) -> str:
    """Write the share of a part in the whole bar: `72 %`."""
    value = bar.parts[part] or 0
    return formatting.percent(value / bar.total)


def seconds_in_words(seconds: float) -> str:
    """Write a time: `12.5 ms`, `1.20 s`."""
    if seconds < 1:
        milliseconds = formatting.number(1e3 * seconds, digits=3)
        return f"{milliseconds} ms"
    return f"{formatting.number(seconds, digits=3)} s"


def _drawn_parts(bars: Sequence[Bar]) -> list[str]:
    """Return the parts that at least one bar has; the others would be keys of nothing."""
    parts = []
    for part in bars[0].parts:
        values = [bar.parts.get(part) for bar in bars]
        if any(values):
            parts.append(part)
    return parts


def _note(bars: Sequence[Bar], shown: Sequence[Bar], note: str) -> str | None:
    """Add to a note which bars and which parts are missing."""
    notes = [note] if note else []
    # A missing bar would look like one of length 0.
    absent = [bar.label for bar in bars if bar not in shown]
    if absent:
        names = ", ".join(absent[:_MOST_NAMED])
        notes.append(f"Without figures and so not drawn: {names}.")
    unknown = []
    for part in shown[0].parts:
        values = [bar.parts.get(part) for bar in shown]
        if None in values:
            unknown.append(part)
    if unknown:
        notes.append(f"Not known of every arm, and missing in its bar: {', '.join(unknown)}.")
    return " ".join(notes).strip() or None


def _put(
    axes: "Axes", bars: Sequence[Bar], parts: Sequence[str], *, form: Callable[[float], str]
) -> None:
    """Draw the bars, the first at the top, each with its total behind it."""
    longest = max(bar.total for bar in bars)
    shades = _SHADES.get(len(parts), _OTHER_SHADES)
    shade_of = dict(zip(parts, shades, strict=False))
    in_key: set[str] = set()
    for row, bar in enumerate(bars):
        end = _put_bar(axes, row, bar, shade_of, in_key)
        axes.text(
            end + 0.015 * longest,
            row,
            form(bar.total),
            va="center",
            color=INK,
            fontsize=SMALL_PT,
        )
    # The total stands at the end of each bar, so that no axis is needed.
    labels = [shortened(bar.label) for bar in bars]
    axes.set_yticks(range(len(bars)), labels)
    # The total behind the longest bar needs a sixth of the width.
    axes.set_xlim(0, 1.2 * longest)
    axes.set_ylim(len(bars) - 0.45, -0.55)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _put_bar(
    axes: "Axes", row: int, bar: Bar, shade_of: Mapping[str, float], in_key: set[str]
) -> float:
    """Draw the parts of a bar behind each other, add them to the key, and return where they end."""
    colour = ACCENT if bar.is_candidate else PLAIN
    start = 0.0
    for part, shade in shade_of.items():
        width = bar.parts.get(part)
        if not width:
            continue
        axes.barh(
            row,
            width,
            0.62,
            start,
            # Each part stands in the key once, in the colour of the first bar that has it.
            label=None if part in in_key else part,
            facecolor=(colour, shade),
            edgecolor=PAPER,
            linewidth=0.8,
        )
        in_key.add(part)
        start += width
    return start


def _in_words(bar: Bar, form: Callable[[float], str]) -> str:
    parts = []
    for part, value in bar.parts.items():
        text = "unknown" if value is None else form(value)
        parts.append(f"{part} {text}")
    return f"{bar.label}: {', '.join(parts)}"
