"""Floor 7: the whole story of a run, from two composed arms to a result on disk and an exit code. No jax here."""

import contextlib
import functools
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

from jaxgen import report, tracking
from jaxgen.console.progress import Console
from jaxgen.console.sweep_board import Board
from jaxgen.errors import ExitCode, UserError
from jaxgen.executor import job
from jaxgen.executor.pool import ArmFailed
from jaxgen.executor.worker_group import WorkerGroup
from jaxgen.experiment import calibration, selftest, single
from jaxgen.results.files import LOG
from jaxgen.results.record import Record
from jaxgen.results.schema import Failure
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.study import Calibrate, Selftest, Single

Story = Callable[[Experiment, Record, Console], ExitCode]


def execute(
    experiment: Experiment, folder: Path, *, pages: bool = True, board: Board | None = None
) -> ExitCode:
    """Measure the arms and write everything into `folder`.

    Args:
        experiment: the arms, and how they are measured.
        folder: the run folder, made by Hydra.
        pages: write report.md, report.html and plots/ as well, if the run was not interrupted.
        board: of the sweep that this is a point of, where one is shown.

    Returns:
        The exit code: what was measured is on disk whatever it is. In a job of several processes, process 0 alone
        writes; the others do as it does and leave the folder as it is.

    Raises:
        UserError: found by a worker, such as a checkpoint that is missing; noted in the result first.
    """
    try:
        if not job.joins_a_job(experiment.arms):
            return _story(experiment, folder, pages=pages, board=board, group=None)
        with job.joined_group(experiment.arms, folder / LOG) as group:
            if group.leads:
                return _story(experiment, folder, pages=pages, board=board, group=group)
            job.follow(group)
            return ExitCode.OK
    except ArmFailed as failure:  # before there was a record, or while another's was made
        print(f"jaxgen: {failure.record['message']}", file=sys.stderr)
        return ExitCode.ARM_FAILED


def _story(
    experiment: Experiment,
    folder: Path,
    *,
    pages: bool,
    board: Board | None,
    group: WorkerGroup | None,
) -> ExitCode:
    """From the first entry of the record to the last."""
    record = Record(experiment.arms, folder)
    record.start()  # so that a run which is killed early is recognisable
    console = Console(experiment, folder, board=board)
    story = (
        _STORIES[type(experiment.study)]
        if group is None
        else functools.partial(_JOINED, group=group)
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(_terminated_like_interrupted())
        stack.callback(_track, experiment, record)
        stack.enter_context(console)
        try:
            code = story(experiment, record, console)
            record.finish("completed", code)
        except UserError as error:
            record.note(str(error))
            record.finish("failed", ExitCode.USER_ERROR)
            raise
        except ArmFailed as failure:
            record.result["arms"][failure.arm]["failure"] = cast(Failure, failure.record)
            record.note(f"the {failure.arm} arm failed: {failure.record['message']}")
            code = ExitCode.ARM_FAILED
            record.finish("failed", code)
        except KeyboardInterrupt:
            record.note("interrupted: what was measured until then is kept")
            code = ExitCode.INTERRUPTED
            record.finish("failed", code)
        except BaseException:
            record.finish("failed", ExitCode.USER_ERROR)
            raise
        if pages and code != ExitCode.INTERRUPTED:
            _report(record)  # before the tracker, which sends the plots
    console.summary(record.result)
    return code


def _report(record: Record) -> None:
    problem = report.attempt(record.folder).problem
    _note(record, [problem] if problem else [])


def _track(experiment: Experiment, record: Record) -> None:
    """However the run ended: the tracker hears of what is on disk, and adds nothing but notes."""
    _note(record, tracking.track(experiment.tracker, record.folder))


def _note(record: Record, notes: Sequence[str]) -> None:
    """Behind the last word."""
    for note in notes:
        record.note(note)
    if notes:
        with contextlib.suppress(UserError):  # the numbers are there; only the note is not
            record.save()


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: workers end, and what was measured is kept."""

    def interrupt(*_signal):
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread: somebody else handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


_STORIES: dict[type, Story] = {
    Single: single.measure,
    Calibrate: calibration.calibrate,
    Selftest: selftest.selftest,
}
_JOINED = single.measure
"""The story of a job of several processes; others would need to join it more than once."""
