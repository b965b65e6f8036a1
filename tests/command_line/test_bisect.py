"""What a user of `python -m jaxgen.bisect` sees before anything is measured."""

import subprocess
import sys

import pytest

from jaxgen.bisect import main
from jaxgen.errors import ExitCode


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["HEAD"], "the following arguments are required: BAD"),
        (["HEAD", "nowhere"], "BAD=nowhere is no commit of the repository"),
        (["HEAD", "HEAD"], "GOOD=HEAD must be an older commit in the history of BAD=HEAD"),
        (["a", "b", "baseline=off"], "baseline=off cannot be set here"),
        (["a", "b", "gate=regression"], "gate=regression cannot be set here"),
        (["a", "b", "cache"], "cache is no KEY=VALUE"),
        (["a", "b", "--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_a_mistake_is_one_line(words, fragment, capsys):
    assert main(words) == ExitCode.USER_ERROR
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert fragment in error
    assert error.count("\n") == 1


def test_help_needs_neither_hydra_nor_numpy():
    code = (
        "import sys; from jaxgen.bisect import _parser; _parser().format_help(); "
        "print({'hydra', 'numpy', 'scipy', 'jax'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"
