"""Draw plots: a PNG, an SVG, and the inline form whose colours are the page's own.

The inline form follows the page from light to dark, which a file cannot.
"""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jaxgen.report.plots.drawing import Drawing, Plot
from jaxgen.report.plots.style import DPI, FONT_PT, RC, THEME, WIDTH_IN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE_LETTERS = 56
_TITLE_LINE_IN = 0.19

_GENERATED_IDS = re.compile(
    r' id="(?:figure|axes|patch|text|line2d|matplotlib\.axis|xtick|ytick|legend|[A-Z]\w*)_\d+"'
)
"""Names that matplotlib gives to groups, and that nothing refers to."""


def render(drawings: Sequence[Drawing]) -> list[Plot]:
    """Draw plots; nothing of matplotlib's state is left changed."""
    if not drawings:
        return []
    import matplotlib  # a third of a second, which the list of runs need not pay

    with matplotlib.rc_context(RC), _quiet():
        return [_render(drawing) for drawing in drawings]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what matplotlib says about fonts: of letters that it lacks there is much to say."""
    log = logging.getLogger("matplotlib")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # It is so in the PNG alone: the SVG keeps the letters.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            yield
    finally:
        log.setLevel(before)


def _render(drawing: Drawing) -> Plot:
    import matplotlib
    from matplotlib.figure import Figure

    # Names inside an SVG are made with a salt, which else would differ from run to run.
    with matplotlib.rc_context({"svg.hashsalt": drawing.name}):
        # Not by pyplot, which keeps every figure in a list and may ask for a display.
        figure = Figure(figsize=(WIDTH_IN, drawing.height_in), layout="constrained")
        drawing.put(figure)
        # The page has the title above the picture, so that only the files have it inside.
        transparent = _saved(figure, "svg", transparent=True)
        inline = _inline(transparent.decode("utf-8"), drawing.name)
        _add_title(figure, drawing)
        svg = _saved(figure, "svg")
        figure.set_layout_engine("none")  # what is laid out need not be laid out again
        png = _saved(figure, "png", dpi=DPI)
    return Plot(
        name=drawing.name,
        title=drawing.title,
        alt=drawing.alt,
        note=drawing.note,
        png=png,
        svg=svg,
        inline=inline,
    )


def _add_title(figure: "Figure", drawing: Drawing) -> None:
    lines = _wrapped(drawing.title)
    figure.suptitle(
        "\n".join(lines),
        x=0.01,
        ha="left",
        fontsize=FONT_PT + 0.5,
        fontweight="bold",
    )
    title_in = _TITLE_LINE_IN * len(lines)
    # Higher by the title, so that the data keep the place that they have on the page.
    figure.set_size_inches(WIDTH_IN, drawing.height_in + title_in)


def _saved(figure: "Figure", form: str, **settings) -> bytes:
    file = io.BytesIO()
    # Without date and version, the same results make the same bytes.
    dated = "Date" if form == "svg" else "Software"
    metadata = {dated: None}
    figure.savefig(file, format=form, metadata=metadata, **settings)
    return file.getvalue()


def _inline(svg: str, name: str) -> str:
    """Return the picture alone, in the page's colours and letters.

    Args:
        svg: a whole SVG file.
        name: that of the plot, which keeps the ids inside apart from those of other pictures.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # matplotlib's own style is a rule for `*`: inside of a page it would be for the whole page.
    body = re.sub(r"<style type=\"text/css\">.*?</style>", "", body, flags=re.DOTALL)
    body = _GENERATED_IDS.sub("", body)
    # Ids are the page's: a second picture with the same ids would be cut by the first one's paths.
    body = _with_own_ids(body, name)
    for colour, variable in THEME.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"'DejaVu Sans'(?:, sans-serif)?", "inherit", body)
    # `font: 9px inherit` is no valid CSS, and a browser would drop it with the size.
    body = re.sub(r"font: ([\d.]+)px inherit", r"font-size: \1px", body)
    # The page says the size; screen readers hear the text that stands with the figure instead.
    body = re.sub(
        r'<svg [^>]*?viewBox="([^"]+)"[^>]*>',
        r'<svg viewBox="\1" aria-hidden="true" focusable="false">',
        body,
    )
    return body.strip()


def _with_own_ids(body: str, name: str) -> str:
    """Number the ids of a picture, with its name before the number."""
    ids = re.findall(r' id="([^"]+)"', body)
    for number, old in enumerate(dict.fromkeys(ids)):
        new = f"{name}-{number}"
        body = body.replace(f' id="{old}"', f' id="{new}"')
        body = body.replace(f"url(#{old})", f"url(#{new})")
        body = body.replace(f'href="#{old}"', f'href="#{new}"')
    return body


def _wrapped(text: str) -> list[str]:
    """Break a title into lines."""
    lines = []
    line = ""
    for word in text.split():
        letters = len(line) + len(word)
        if line and letters >= _TITLE_LETTERS:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    if line:
        lines.append(line)
    return lines
