"""Finished results as pages that people read: `report.md`, one self-contained `report.html`, and every plot as a file.

Everything is made from what a run left on disk: nothing is measured, nothing is fetched, and jax is not imported.
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
    """Pages and plots of a run or a sweep that has just ended; the numbers are on disk, whatever becomes of these."""
    from jaxgen.report.writing import write_report

    try:
        return Attempt(write_report([folder]).html, None)
    except UserError as error:
        return Attempt(None, f"no report was written: {error}")
    except Exception as error:
        logging.getLogger(__name__).exception("the report ended with an error of jaxgen's own")
        told = f"{type(error).__name__}: {error}"
        return Attempt(None, f"no report was written ({told}); the traceback is in {LOG}")
