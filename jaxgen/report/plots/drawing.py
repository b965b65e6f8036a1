"""What a plot is before and after it is drawn, and the one look that all of them share.

A drawing is first described: a title that says what is seen, its values in words, a function that puts it on a figure.
`render` then makes the files and the inline form, whose colours are the page's own, so that it follows light and dark.
"""

import dataclasses
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1f2328", "#59636e", "#d8dee4", "#ffffff"
ACCENT, PLAIN, ALERT = "#0969da", "#818b98", "#bc4c00"
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
WIDTH_IN, FONT_PT = (
    4.8,
    9.5,
)  # at 390 pixels of page a point is about a pixel, so that the letters can still be read
SMALL_PT = FONT_PT - 1
DPI = 200
_TITLE_LETTERS = 56

_RC: dict[Any, Any] = {
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
    "svg.fonttype": "none",
}


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A plot that can be drawn.

    Attributes:
        name: its files' name without the ending.
        title: what is seen, in a sentence.
        alt: the values in words, for whoever does not see it.
        note: what the reader must know beside it, such as what was left out.
        put: draws it on an empty figure.
        height_in: inches.
    """

    name: str
    title: str
    alt: str
    put: Callable[["Figure"], None]
    height_in: float = 2.6
    note: str | None = None


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A plot that cannot be drawn, and why."""

    name: str
    subject: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Plot:
    """A drawn plot: two files, and the form that stands in the page."""

    name: str
    title: str
    alt: str
    note: str | None
    png: bytes
    svg: bytes
    inline: str


def render(drawings: Sequence[Drawing]) -> list[Plot]:
    """Draws all of them; nothing of matplotlib's state is left changed."""
    if not drawings:
        return []
    import matplotlib  # a third of a second, which the list of runs need not pay
    from matplotlib.figure import Figure

    log = logging.getLogger("matplotlib")
    before = log.level
    log.setLevel(logging.ERROR)  # of its fonts it has much to say
    try:
        with matplotlib.rc_context(_RC), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Glyph .* missing"
            )  # in the PNG alone: the SVG keeps the letters
            return [_render(drawing, Figure) for drawing in drawings]
    finally:
        log.setLevel(before)


def _render(drawing: Drawing, new_figure: Callable[..., "Figure"]) -> Plot:
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": drawing.name}):
        figure = new_figure(figsize=(WIDTH_IN, drawing.height_in), layout="constrained")
        drawing.put(figure)
        inline = _inline(_saved(figure, "svg", transparent=True).decode("utf-8"), drawing)
        lines = list(_wrapped(drawing.title))
        figure.suptitle(
            "\n".join(lines), x=0.01, ha="left", fontsize=FONT_PT + 0.5, fontweight="bold"
        )
        figure.set_size_inches(WIDTH_IN, drawing.height_in + 0.19 * len(lines))
        svg = _saved(figure, "svg")
        figure.set_layout_engine("none")  # what is laid out need not be laid out again
        png = _saved(figure, "png", dpi=DPI)
    return Plot(drawing.name, drawing.title, drawing.alt, drawing.note, png, svg, inline)


def _saved(figure: "Figure", form: str, **settings) -> bytes:
    file = io.BytesIO()
    plain = (
        {"Date": None} if form == "svg" else {"Software": None}
    )  # the same results make the same bytes
    figure.savefig(file, format=form, metadata=plain, **settings)
    return file.getvalue()


def _inline(svg: str, drawing: Drawing) -> str:
    """The picture alone, in the page's colours and letters, with names that no other picture on the page uses."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style type=\"text/css\">.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(
        r' id="(?:figure|axes|patch|text|line2d|matplotlib\.axis|xtick|ytick|legend|[A-Z]\w*)_\d+"',
        "",
        body,
    )
    known = dict.fromkeys(re.findall(r' id="([^"]+)"', body))
    for number, name in enumerate(known):
        mine = f"{drawing.name}-{number}"
        body = body.replace(f' id="{name}"', f' id="{mine}"').replace(
            f"url(#{name})", f"url(#{mine})"
        )
        body = body.replace(f'href="#{name}"', f'href="#{mine}"')
    for colour, variable in THEME.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"'DejaVu Sans'(?:, sans-serif)?", "inherit", body)
    body = re.sub(r"font: ([\d.]+)px inherit", r"font-size: \1px", body)
    body = re.sub(
        r'<svg [^>]*?viewBox="([^"]+)"[^>]*>',
        r'<svg viewBox="\1" aria-hidden="true" focusable="false">',
        body,
    )
    return body.strip()


def _wrapped(text: str) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + len(word) >= _TITLE_LETTERS:
            yield line
            line = ""
        line = f"{line} {word}".strip()
    if line:
        yield line


def axes_of(figure: "Figure", *, grid: str = "y") -> "Axes":
    """The one pair of axes of a plot, with grid lines across one direction or `both`."""
    axes = figure.subplots()
    axes.grid(visible=False)
    if grid != "none":
        axes.grid(visible=True, axis="both" if grid == "both" else "x" if grid == "x" else "y")
    return axes


def legend_above(axes: "Axes", *, columns: int) -> None:
    """Keys at the top left, outside of the data."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        borderaxespad=0.2,
        borderpad=0,
        columnspacing=1.2,
    )


def shortened(text: str, letters: int = 34) -> str:
    """A label that leaves room for the data: one line, and not too much of it."""
    text = " ".join(text.split())
    return text if len(text) <= letters else text[: letters - 1] + "…"
