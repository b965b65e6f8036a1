"""The one look that all plots share: sizes, colours, axes and keys."""

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1f2328", "#59636e", "#d8dee4", "#ffffff"
ACCENT, PLAIN, ALERT = "#0969da", "#818b98", "#bc4c00"
# A colour that is not in this table stays as it is when the page turns dark.
THEME = {
    PAPER: "--paper",
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    ACCENT: "--accent",
    PLAIN: "--plain",
    ALERT: "--alert",
}
"""Each colour of the drawings, and the page's variable that takes its place in the inline form."""

ARM_COLOURS = {"candidate": ACCENT, "baseline": PLAIN}

# At 390 pixels of page a point is about a pixel, so that the letters can still be read on a phone.
WIDTH_IN = 4.8
FONT_PT = 9.5
SMALL_PT = FONT_PT - 1
DPI = 200

RC: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": FONT_PT,
    "axes.labelsize": FONT_PT,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,  # names come from results, where a dollar is a dollar
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": SMALL_PT,
    "ytick.labelsize": SMALL_PT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": SMALL_PT,
    "legend.handlelength": 1.0,
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's letters
}
"""The settings of matplotlib under which every plot is drawn."""


def axes_of(figure: "Figure", *, grid: Literal["x", "y", "both", "none"] = "y") -> "Axes":
    """Make the one pair of axes of a plot.

    Args:
        figure: an empty one.
        grid: the axis whose ticks have lines across the plot.
    """
    axes = figure.subplots()
    # The shared settings have lines for both axes: off first, then the one that is wanted.
    axes.grid(visible=False)
    if grid != "none":
        axes.grid(visible=True, axis=grid)
    return axes


def legend_above(axes: "Axes", *, columns: int) -> None:
    """Put the keys at the top left, outside of the data."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        borderaxespad=0.2,
        borderpad=0,
        columnspacing=1.2,
    )


def log_ticks(low: float, high: float, steps: tuple[float, ...], powers: range) -> list[float]:
    """Return the round values between two ends of a logarithmic axis.

    Args:
        low: the lower end.
        high: the upper end.
        steps: which values a decade has, such as 1, 2 and 5.
        powers: the powers of ten to look at.
    """
    # From 15 to 300 with the steps 1, 2 and 5: 20, 50, 100, 200.
    ticks = []
    for power in powers:
        for step in steps:
            value = step * 10.0**power
            if low <= value <= high:
                ticks.append(value)
    return ticks


def shortened(text: str, letters: int = 34) -> str:
    """Cut a label so that it leaves room for the data: one line, and not too much of it."""
    text = " ".join(text.split())
    if len(text) <= letters:
        return text
    return text[: letters - 1] + "…"
