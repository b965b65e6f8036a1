"""A plot before it is drawn and after it."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A plot that can be drawn.

    Attributes:
        name: its files' name without the ending.
        title: what is seen, in a sentence.
        alt: the values in words, for whoever does not see it.
        put: a function that draws it on an empty figure.
        height_in: inches, without the title.
        note: what the reader must know beside it, such as what was left out.
    """

    name: str
    title: str
    alt: str
    put: Callable[["Figure"], None]
    height_in: float = 2.6
    note: str | None = None


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A plot that cannot be drawn, and why.

    Attributes:
        name: the name that its files would have.
        subject: what it would show.
        reason: one clause.
    """

    name: str
    subject: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Plot:
    """A plot that was drawn: two files, and the form that stands in the page.

    Attributes:
        png: the contents of the PNG file.
        svg: the contents of the SVG file.
        inline: an SVG element in the page's own colours.
    """

    name: str
    title: str
    alt: str
    note: str | None
    png: bytes
    svg: bytes
    inline: str
