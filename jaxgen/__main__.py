"""The command line: `python -m jaxgen`. Hydra composes, the experiment runs, and every error has its exit code."""

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import jaxgen
from jaxgen.cli import refuse, unheard
from jaxgen.errors import ExitCode, UserError

_HINT = "see python -m jaxgen --help"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: the arguments; null takes the process's own.

    Returns:
        The exit code; in a sweep the worst of the jobs'.
    """
    try:
        code = _answer(sys.argv[1:] if argv is None else argv)
        if sys.stdout is not None:  # closed by whoever started us
            sys.stdout.flush()
        return code
    except UserError as error:
        return refuse(error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return unheard()


def _answer(argv: Sequence[str]) -> int:
    """What needs no Hydra is answered without importing it."""
    flags, overrides = _flags(argv)
    if flags.pop("help"):
        from jaxgen.config.help import help_text

        print(help_text())
        return ExitCode.OK
    if flags.pop("version"):
        print(f"jaxgen {jaxgen.__version__}")
        return ExitCode.OK
    return _with_hydra(flags, overrides)


def _flags(argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The flags, which may stand anywhere, and the overrides."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for short, name in (
        ("-h", "help"),
        ("-m", "multirun"),
        ("-r", "run"),
        ("-sc", "shell-completion"),
    ):
        parser.add_argument(short, f"--{name}", action="store_true")
    for name in ("version", "hydra-help", "resolve"):
        parser.add_argument(f"--{name}", action="store_true")
    for short, name in (("-p", "package"), ("-cn", "config-name"), ("-cd", "config-dir")):
        parser.add_argument(short, f"--{name}")
    parser.add_argument("-c", "--cfg", choices=["job", "hydra", "all"])
    kinds = ["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"]
    parser.add_argument("-i", "--info", nargs="?", const="all", choices=kinds)
    try:
        namespace, rest = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}; {_HINT}") from error
    unknown = [word for word in rest if word.startswith("-")]
    if unknown:
        raise UserError(
            f"there is no flag {' '.join(unknown)}; keys are given as KEY=VALUE, without dashes; {_HINT}"
        )
    return vars(namespace), rest


def _with_hydra(flags: dict[str, Any], overrides: list[str]) -> int:
    import hydra

    from jaxgen.config import explain, job, run_folder, schema, table
    from jaxgen.config.typed import quoted
    from jaxgen.console.progress import terminal
    from jaxgen.sweep.jobs import Jobs

    schema.register()
    run_folder.register_resolvers()
    typed = job.adapted([quoted(override) for override in overrides])
    if flags["cfg"] == "hydra":
        flags["multirun"] = (
            False  # Hydra's own part, the launcher's above all, is the same for all jobs
        )
    jobs = Jobs()
    application = hydra.main(
        version_base="1.3", config_path=str(table.conf_dir()), config_name="config"
    )
    ended: UserError | None = None
    with _arguments(flags, typed):
        try:
            application(jobs)()
        except explain.CAUGHT as error:
            raise explain.user_error(error, typed, sweep=flags["multirun"]) from error
        except OSError as error:
            raise UserError(
                f"cannot write the run folder ({error}); choose another with hydra.run.dir=DIR"
            ) from error
        except Exception as error:
            if jobs.codes or not any(override.startswith("hydra/launcher=") for override in typed):
                raise
            ended = explain.of_launcher(error)
        finally:
            jobs.close()
            jobs.gather(job.sweep_folder(typed) or run_folder.sweep_folder())
            run_folder.remove_unused(run_folder.sweep_folder())
            if len(jobs.sweep.rows) > 1:
                terminal().print(jobs.sweep.table())
    if len(jobs.sweep.rows) > 1:
        jobs.sweep.report()
    if ended is not None:
        jobs.codes.append(refuse(ended))
    return max(jobs.codes, default=ExitCode.OK)


@contextlib.contextmanager
def _arguments(flags: dict[str, Any], overrides: list[str]) -> Iterator[None]:
    """Hydra's view of the process: flags before overrides, and errors raised to us instead of printed."""
    given = {f"--{name.replace('_', '-')}": value for name, value in flags.items() if value}
    words = [name if value is True else f"{name}={value}" for name, value in given.items()]
    before, sys.argv = sys.argv, [sys.argv[0], *words, *overrides]
    shown = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="provider=")  # a search path that is not there
            yield
    finally:
        sys.argv = before
        if shown is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = shown


if __name__ == "__main__":
    sys.exit(main())
