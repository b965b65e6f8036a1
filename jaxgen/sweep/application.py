"""The command line as Hydra runs it: one job or many, then their table, report and exit code."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import hydra

from jaxgen.cli import print_error
from jaxgen.config import explain, job, run_folder, schema, table
from jaxgen.config.typed import quoted
from jaxgen.console.progress import terminal
from jaxgen.errors import ExitCode, UserError
from jaxgen.sweep.jobs import Jobs


def run_with_hydra(flags: Mapping[str, Any], overrides: Sequence[str]) -> int:
    """Have Hydra compose the overrides and run their jobs.

    Args:
        flags: of Hydra's own command line, by name; what is false or null was not given.
        overrides: as typed.

    Returns:
        The exit code: the worst of the jobs'.

    Raises:
        UserError: the configuration cannot be composed, or the run folder cannot be written.
    """
    schema.register()
    run_folder.register_resolvers()
    typed = job.adapt_overrides([quoted(override) for override in overrides])
    is_sweep = flags["multirun"]
    if flags["cfg"] == "hydra":
        # Hydra's own part, the launcher's above all, is the same for all jobs: it is shown once.
        is_sweep = False
    jobs = Jobs()
    launcher_error: UserError | None = None
    with _hydra_arguments({**flags, "multirun": is_sweep}, typed):
        try:
            launcher_error = _run_jobs(jobs, typed, is_sweep=is_sweep)
        finally:
            _finish(jobs, typed)
    # The report takes seconds, and so comes after the table. After an error that was raised there
    # is none; a launcher's error is not raised, as its jobs may have left results.
    if len(jobs.sweep.rows) > 1:
        jobs.sweep.report()
    if launcher_error is not None:
        jobs.codes.append(print_error(launcher_error))
    return max(jobs.codes, default=ExitCode.OK)


def _run_jobs(jobs: Jobs, typed: Sequence[str], *, is_sweep: bool) -> UserError | None:
    """Run Hydra's application; return the error of a launcher, whose jobs may have run."""
    application = hydra.main(
        version_base="1.3", config_path=str(table.conf_dir()), config_name="config"
    )
    try:
        application(jobs)()
    except explain.CAUGHT as error:
        raise explain.user_error(error, typed, sweep=is_sweep) from error
    except OSError as error:
        raise UserError(
            f"cannot write the run folder ({error}); choose another with hydra.run.dir=DIR"
        ) from error
    except Exception as error:
        # A launcher's own errors have no common class. They come before any job has ended here.
        has_launcher = any(override.startswith("hydra/launcher=") for override in typed)
        if jobs.codes or not has_launcher:
            raise
        return explain.of_launcher(error)
    return None


def _finish(jobs: Jobs, typed: Sequence[str]) -> None:
    """Take in the rows of jobs in other processes, clean up, and show the table of a sweep."""
    jobs.close()
    default_folder = run_folder.default_sweep_folder()
    jobs.gather(job.typed_sweep_folder(typed) or default_folder)
    run_folder.remove_unused(default_folder)
    if len(jobs.sweep.rows) > 1:
        terminal().print(jobs.sweep.table())


@contextlib.contextmanager
def _hydra_arguments(flags: Mapping[str, Any], overrides: Sequence[str]) -> Iterator[None]:
    """Give Hydra its view of the process: our arguments, and errors that it raises.

    Hydra reads `sys.argv`, and prints errors itself unless HYDRA_FULL_ERROR is set.
    """
    words = []
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        if value:
            words.append(flag if value is True else f"{flag}={value}")
    argv_before = sys.argv
    full_error_before = os.environ.get("HYDRA_FULL_ERROR")
    # The copies of `Jobs` in a launcher's processes take this along as the command of the sweep.
    sys.argv = [sys.argv[0], *words, *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with warnings.catch_warnings():
            # Hydra only warns of a search path that is not there, and composes without it.
            warnings.filterwarnings("error", message="provider=")
            yield
    finally:
        sys.argv = argv_before
        if full_error_before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error_before
