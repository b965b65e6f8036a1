"""The README's commands are real: each composes, and CI runs the very test command that it names."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from jaxgen.config.arms import load_arms
from jaxgen.config.table import GROUPS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """Every command line in the README's code blocks, comments off."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def overrides_of(command: str) -> list[str]:
    """What follows `python -m jaxgen`, without a sweep's flag, first value of each sweep."""
    words = shlex.split(command.split("python -m jaxgen ", 1)[1], comments=True)
    stand_ins = {"FOLDER_OR_HUB_ID": "somebody/model", "CHECKPOINT": "folder"}
    words = [stand_ins.get(word, word) for word in words if word != "-m"]
    return [re.sub(r"^([\w.]+=)([^'\[,]+),.*$", r"\1\2", word) for word in words]


RUNS = [
    command
    for command in commands()
    if "python -m jaxgen " in command and not command.startswith("pip")
]


@pytest.mark.parametrize("command", RUNS)
def test_readme_run_composes(command):
    assert "candidate" in load_arms(overrides_of(command))


def test_readme_has_the_two_commands_on_one_line_each():
    first, second = [command for command in commands() if command.startswith("pip install uv")]
    assert first.endswith("uv run python -m jaxgen cache=fixed jit=closure")
    assert second.endswith("uv run pytest")


def test_ci_runs_the_readme_test_command():
    (command,) = [command for command in commands() if command.endswith("uv run pytest")]
    assert command in (ROOT / ".ci" / "run").read_text()


@pytest.mark.slow
def test_the_python_in_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, Any] = {}
    small = '"model.weights=random", "model.shapes.num_layers=1", "measure.blocks=1", "measure.trials=1"'
    exec(block.replace('"measure=quick"', f'"measure=quick", {small}'), names)
    assert names["engine"]
    assert names["result"].ratio > 0
    assert names["result"].report().name == "report.html"


def test_readme_table_names_every_option():
    for group, options in GROUPS.items():
        for option in options:
            assert f"`{option}`" in README, f"{group}={option} is missing from the README"
