"""The command line: `python -m jaxgen`. Hydra composes, the experiment runs, and every error has its exit code."""

import argparse
import contextlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jaxgen
from jaxgen.command import refuse
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
        return _unheard()


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
    for short, name in (("-h", "help"), ("-m", "multirun"), ("-r", "run"), ("-sc", "shell-completion")):
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
        raise UserError(f"there is no flag {' '.join(unknown)}; keys are given as KEY=VALUE, without dashes; {_HINT}")
    return vars(namespace), rest


def _with_hydra(flags: dict[str, Any], overrides: list[str]) -> int:
    import hydra

    from jaxgen.config import explain, run_folder, schema, table
    from jaxgen.config.typed import quoted
    from jaxgen.console import terminal
    from jaxgen.sweep import Sweep

    schema.register()
    run_folder.register_resolvers()
    codes: list[int] = []
    sweep = Sweep()
    typed = [quoted(override) for override in overrides]
    application = hydra.main(version_base="1.3", config_path=str(table.conf_dir()), config_name="config")
    with _arguments(flags, typed):
        try:
            application(lambda cfg: codes.append(_job(cfg, sweep)))()
        except explain.CAUGHT as error:
            raise explain.user_error(error, typed, sweep=flags["multirun"]) from error
        except OSError as error:
            raise UserError(f"cannot write the run folder ({error}); choose another with hydra.run.dir=DIR") from error
        finally:
            run_folder.remove_unused(run_folder.sweep_folder())
            if len(sweep.rows) > 1:
                terminal().print(sweep.table())
    if len(sweep.rows) > 1:
        sweep.report()
    return max(codes, default=ExitCode.OK)


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


def _job(cfg: Any, sweep: Any) -> int:
    """One run: in a sweep, one of several, none of which stops the others."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from jaxgen.console import terminal

    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    if job.mode is not RunMode.MULTIRUN:
        return _alone(cfg, folder)
    overrides = list(job.overrides.task)
    code = _point(cfg, folder, sweep, overrides=overrides, label=f"job {job.job.num} ({' '.join(overrides)}): ")
    console = terminal(stderr=True)
    if not cfg.sweep.dry_run:  # whose table says it all
        console.print(sweep.line(), markup=False, soft_wrap=True)
    if code == ExitCode.INTERRUPTED:
        console.print(
            f"the same command with hydra.sweep.dir={folder.parent} goes on from here", markup=False, soft_wrap=True
        )
        raise KeyboardInterrupt  # ends a sweep too
    return code


def _alone(cfg: Any, folder: Path) -> int:
    """The one run of a command."""
    from jaxgen.config.arms import compose_arms
    from jaxgen.config.run_folder import remove_unused

    try:
        arms = compose_arms(cfg)
        if arms["candidate"].run.sweep.dry_run:
            raise UserError("sweep.dry_run=true shows the points of a sweep, and this is none: give -m")
    except UserError as error:
        remove_unused(folder)
        return refuse(error)
    return _measured(arms, folder)[0]


def _point(cfg: Any, folder: Path, sweep: Any, *, overrides: list[str], label: str) -> int:
    """One point of a sweep: measured, left as it was, or only looked at."""
    from jaxgen.config.arms import compose_arms
    from jaxgen.config.run_folder import remove_unused
    from jaxgen.resuming import standing

    try:
        arms = compose_arms(cfg)
    except UserError as error:
        remove_unused(folder)
        if cfg.sweep.dry_run:
            sweep.plan(overrides, folder, str(error), code=ExitCode.USER_ERROR)
        else:
            sweep.add(overrides, folder, code=refuse(error, label), reason=str(error))
        return ExitCode.USER_ERROR
    found, run = standing(arms, folder), arms["candidate"].run
    if run.sweep.dry_run:
        sweep.plan(overrides, folder, found.told(run), code=ExitCode.OK)
        remove_unused(folder)
        return ExitCode.OK
    code, reason = (found.code, None) if found.skip else _measured(arms, folder, label=label)
    sweep.add(overrides, folder, code=code, reason=reason)
    return code


def _measured(arms: Mapping[str, Any], folder: Path, *, label: str = "") -> tuple[int, str | None]:
    """The exit code of a run, and why there is no result, where there is none."""
    from jaxgen.config.run_folder import remove_unused
    from jaxgen.experiment import execute

    try:
        code = execute(arms, folder)
    except UserError as error:
        remove_unused(folder)
        return refuse(error, label), str(error)
    except BrokenPipeError:
        raise SystemExit(_unheard()) from None
    except Exception as error:
        logging.getLogger(__name__).exception("the run ended with an error of jaxgen's own")
        traceback.print_exc()
        return ExitCode.USER_ERROR, f"{type(error).__name__}: {error}"
    remove_unused(folder)  # of a process that another one leads
    return code, None


def _unheard() -> int:
    """Whoever read our output has gone; the interpreter must not trip over that again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
