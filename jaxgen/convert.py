"""The command `python -m jaxgen.convert SOURCE DEST`: Hugging Face models to Orbax checkpoints."""

import argparse
import contextlib
import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxgen import cli
from jaxgen.errors import ExitCode


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments; null takes the process's own.

    Returns:
        The exit code: 0, 1 for what the user can fix (one line on stderr), 130 after Ctrl-C.
    """
    return cli.run(lambda: _answer(argv))


def _answer(argv: Sequence[str] | None) -> int:
    options = _parser().parse_args(argv)
    try:
        _convert(options)
    except KeyboardInterrupt:
        # The folder appears when it is complete, so that its presence tells.
        is_complete = options.dest.expanduser().exists()
        state = f"{options.dest} is complete" if is_complete else "nothing was written"
        print(f"interrupted; {state}", file=sys.stderr)
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m jaxgen.convert",
        description="Convert a Hugging Face model (safetensors) into an Orbax checkpoint that "
        "jaxgen restores.",
        epilog="example: python -m jaxgen.convert Qwen/Qwen3-0.6B qwen3 --dtype bfloat16",
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="a Hugging Face folder, a hub id, or package:tiny"
    )
    parser.add_argument(
        "dest", metavar="DEST", type=Path, help="the folder to make; it must not exist"
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "float16"],
        help="cast the weights (default: each tensor's own)",
    )
    return parser


def _convert(options: argparse.Namespace) -> None:
    import jax  # after the arguments, which need an answer at once

    from jaxgen.checkpoints import convert, manifest

    # Nothing is computed: the accelerators are left to others.
    jax.config.update("jax_platforms", "cpu")
    with _bar() as progress:
        convert.convert(options.source, options.dest, dtype=options.dtype, progress=progress)
    dest = options.dest.expanduser().absolute()
    checkpoint = manifest.read(dest)
    dtype, arch = checkpoint.manifest.dtype, checkpoint.manifest.architecture
    print(dest)
    print(f"  {len(checkpoint.shapes)} tensors, {checkpoint.nbytes:,} bytes, {dtype}")
    print(
        f"  {arch.family}: {arch.num_layers} layers, hidden {arch.hidden_size}, "
        f"{arch.num_heads} heads ({arch.num_kv_heads} for keys and values) of {arch.head_dim}, "
        f"vocabulary {arch.vocab_size}, context {arch.context}"
    )
    print(f"  fingerprint {checkpoint.manifest.fingerprint}")
    print(f"run it: python -m jaxgen model=hf {_override('model.checkpoint', str(dest))}")


def _override(key: str, value: str) -> str:
    """Return an override that a shell, and Hydra after it, read back as it is meant."""
    if not re.fullmatch(r"[\w/.:+@ -]+", value):
        value = json.dumps(value, ensure_ascii=False)
    return shlex.quote(f"{key}={value}")


@contextlib.contextmanager
def _bar() -> Iterator:
    """Show a progress bar on stderr, where that is a terminal; yield what moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    # A log file would keep every frame of the bar.
    hidden = not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=True) as bar:
        task = bar.add_task("start", total=None)

        def advance(stage: str, done: int, total: int) -> None:
            # Each stage counts its own steps, so that the bar begins anew with it.
            bar.update(task, description=stage, completed=done, total=total)

        yield advance


if __name__ == "__main__":
    sys.exit(main())
