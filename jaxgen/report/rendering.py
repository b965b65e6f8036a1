"""Set a page by the templates: as Markdown, as HTML, and as the two texts of a wandb report."""

import base64
import functools
import hashlib
import importlib.resources
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxgen.report.page import Page

if TYPE_CHECKING:
    import jinja2

_BADGES = ("faster", "slower", "equivalent", "inconclusive", "invalid", "failed")
"""The words that the style sheet has a colour for."""

_MARKS = re.compile(r"([\\`*_{}\[\]<>|#~$&])")
"""The letters that Markdown or a host of it gives a meaning."""

_INTERVAL = re.compile(r"\[[^\[\]]*\]")
_BEFORE_A_UNIT = re.compile(r"(?<=\d) (?=(?:±|%|kB|MB|GB|s|ms)\b|±|%)|(?<=±) ")
_NO_BREAK_SPACE = "\u00a0"
_ZERO_WIDTH_SPACE = "\u200b"


def markdown(page: Page) -> str:
    """Set a page to be pasted into a pull request, with its pictures as files beside it."""
    return _markdown("report.md.j2", page)


def wandb_opening(page: Page) -> str:
    """Set what stands above the panels of a wandb report: the verdict and the tables."""
    return _markdown("wandb-opening.md.j2", page)


def wandb_closing(page: Page) -> str:
    """Set what stands below the panels: where it was measured, and how to reproduce it."""
    return _markdown("wandb-closing.md.j2", page)


def html(page: Page) -> str:
    """Set a page as one file that needs no other and no network."""
    script = _asset("tables.js")
    # The page's own policy allows this one script by its digest, and none that a result may hold.
    digest = hashlib.sha256(script.encode()).digest()
    return (
        _environment(html=True)
        .get_template("report.html.j2")
        .render(
            page=page,
            # It becomes a class of the page: a word of ours, whatever a result may hold.
            badge=page.badge if page.badge in _BADGES else None,
            style=_asset("report.css"),
            script=script,
            script_digest=base64.b64encode(digest).decode(),
        )
    )


def history_html(facts: Mapping[str, Any]) -> str:
    """Set the page of a history, as one file that needs no other and no network.

    Args:
        facts: what the template `history.html.j2` names.
    """
    template = _environment(html=True).get_template("history.html.j2")
    return template.render(**facts, style=_asset("report.css"))


def _markdown(template: str, page: Page) -> str:
    text = _environment(html=False).get_template(template).render(page=page)
    # Parts of the template that are left out leave their empty lines behind.
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@functools.cache
def _asset(name: str) -> str:
    templates = importlib.resources.files("jaxgen.report") / "templates"
    return (templates / name).read_text(encoding="utf-8")


@functools.cache
def _environment(*, html: bool) -> "jinja2.Environment":
    """Return the templates of one form, in which nothing that comes from a result is markup.

    HTML escapes by itself; in Markdown every value passes through `_escaped`.
    """
    import jinja2  # the list of runs need not wait for it

    settings: dict[str, Any] = {
        "loader": jinja2.PackageLoader("jaxgen.report", "templates"),
        "trim_blocks": True,
        "lstrip_blocks": True,
        # A misspelt name in a template is an error, and no gap that nobody notices.
        "undefined": jinja2.StrictUndefined,
        "autoescape": html,
    }
    if not html:
        settings["finalize"] = _escaped
    environment = jinja2.Environment(**settings)
    environment.filters["fenced"] = _fenced
    environment.filters["as_is"] = _Markdown
    environment.filters["tight"] = _tight
    return environment


class _Markdown(str):
    """A text that is Markdown already, and is not escaped."""


def _escaped(value: Any) -> Any:
    """Return a text as one line whose letters mean themselves."""
    if isinstance(value, _Markdown) or not isinstance(value, str):
        return value
    line = " ".join(value.split())
    # An invisible letter behind each @, so that a pull request notifies nobody by it.
    return _MARKS.sub(r"\\\1", line).replace("@", f"@{_ZERO_WIDTH_SPACE}")


def _tight(text: str) -> str:
    """Keep a figure, its spread, its interval and its unit together at the end of a line."""
    # The spaces inside of brackets first: the second expression would find some of them only.
    text = _INTERVAL.sub(lambda match: match[0].replace(" ", _NO_BREAK_SPACE), text)
    return _BEFORE_A_UNIT.sub(_NO_BREAK_SPACE, text)


def _fenced(text: str) -> _Markdown:
    """Set a text as code, within a fence that is longer than any inside."""
    longest = max((len(fence) for fence in re.findall(r"`+", text)), default=0)
    # A traceback that holds ``` would else end the fence, and the rest of it would be markup.
    fence = "`" * max(3, longest + 1)
    return _Markdown(f"{fence}\n{text.strip()}\n{fence}")
