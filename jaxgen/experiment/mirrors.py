"""What others make of a finished record: pages and a tracker, which add nothing to it but notes."""

import contextlib

from jaxgen import report, tracking
from jaxgen.errors import UserError
from jaxgen.results.record import Record
from jaxgen.specs.experiment import Experiment


def report_on(record: Record) -> None:
    """Write the pages and plots; what cannot be written is a note, as the numbers are there."""
    problem = report.attempt(record.folder).problem
    if problem:
        _add_notes(record, [problem])


def track(experiment: Experiment, record: Record) -> None:
    """Tell the tracker what is on disk, however the run ended."""
    notes = tracking.track(experiment.tracker, record.folder)
    _add_notes(record, notes)


def _add_notes(record: Record, notes: list[str]) -> None:
    """Add notes to a record that is closed already."""
    for note in notes:
        record.note(note)
    if notes:
        with contextlib.suppress(UserError):  # the numbers are there; only the note is not
            record.save()
