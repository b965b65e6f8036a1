"""Finished results as pages that people read: `report.md`, `report.html`, and plots.

Everything is made from what a run left on disk: nothing is measured, nothing is fetched, and jax is
not imported. The way of a report through this package:

    results.collection   which runs, read and checked
    points               each run or case, with the settings that tell it from the others
    sentences, run_warnings, run_facts, tables/   what is said of the points
    plots/               what is drawn of them
    page                 all of it, gathered once
    rendering            the page as Markdown and HTML, by templates/
    writing              the files
"""

import dataclasses
import logging
from pathlib import Path

from jaxgen.errors import UserError
from jaxgen.results.files import LOG


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What became of a report that nobody asked for by itself: its page, or why there is none."""

    html: Path | None
    problem: str | None


def attempt(folder: Path) -> Attempt:
    """Write pages and plots of a run or a sweep that has just ended.

    Args:
        folder: of the run or the sweep.

    Returns:
        The page or the problem. Nothing is raised: the numbers are on disk, and a report that
        cannot be written must not make a finished measurement fail.
    """
    from jaxgen.report.writing import write_report  # a run needs it at its end alone

    try:
        return Attempt(write_report([folder]).html, None)
    except UserError as error:
        return Attempt(None, f"no report was written: {error}")
    except Exception as error:
        logging.getLogger(__name__).exception("the report ended with an error of jaxgen's own")
        name = f"{type(error).__name__}: {error}"
        return Attempt(None, f"no report was written ({name}); the traceback is in {LOG}")
