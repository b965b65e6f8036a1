"""The documents are true: commands compose, links lead somewhere, the reference is the specs'."""

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from jaxgen.bisect import _parser as bisect_parser
from jaxgen.config.experiment import load_experiment
from jaxgen.config.reference import reference
from jaxgen.config.table import GROUPS
from jaxgen.convert import _parser as convert_parser
from jaxgen.report.__main__ import _parser as report_parser

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "conf").glob("*.md")), ROOT / "runs" / "reference" / "README.md"]
LINKING = [*PAGES, ROOT / ".github" / "CONTRIBUTING.md"]
STAND_INS = {
    "FOLDER_OR_HUB_ID": "somebody/model",
    "CHECKPOINT": "folder",
    "RUN_OR_SWEEP...": "runs/a",
    "RUN": "runs/a",
}
LONGEST_README = 160
UNPARSED = ("jaxgen.calibrate", "jaxgen.harness")
"""Their flags are jaxgen's own or lm-eval's: that they exist is what is checked."""
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def commands(page: Path) -> list[str]:
    """Return every command line in a page's code blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


ALL_COMMANDS = [(page, command) for page in PAGES for command in commands(page)]


def words_behind(command: str, program: str) -> list[str]:
    """Return the words of a command behind its program, with values for the words in capitals."""
    words = shlex.split(command.split(f"{program} ", 1)[1], comments=True)
    return [STAND_INS.get(word, word) for word in words]


def overrides_of(command: str) -> list[str]:
    """Return the overrides of `python -m jaxgen ...`; of a sweep the first value of each choice."""
    words = [word for word in words_behind(f"{command} ", "python -m jaxgen") if word != "-m"]
    composed_here = [word for word in words if not word.startswith("hydra")]
    return [re.sub(r"^([\w.]+=)([^'\[,]+),.*$", r"\1\2", word) for word in composed_here]


RUNS = [command for _, command in ALL_COMMANDS if "python -m jaxgen " in f"{command} "]


@pytest.mark.parametrize("command", RUNS)
def test_a_run_of_a_document_composes(command):
    assert load_experiment(overrides_of(command)).candidate


def parsed_by(program: str) -> list[str]:
    return [command for _, command in ALL_COMMANDS if f"python -m {program}" in command]


@pytest.mark.parametrize("command", parsed_by("jaxgen.report"))
def test_a_report_command_of_a_document_has_the_flags_that_there_are(command):
    assert report_parser().parse_args(words_behind(command, "jaxgen.report"))


@pytest.mark.parametrize("command", parsed_by("jaxgen.convert"))
def test_a_conversion_of_a_document_has_the_flags_that_there_are(command):
    assert convert_parser().parse_args(words_behind(command, "jaxgen.convert"))


@pytest.mark.parametrize("command", parsed_by("jaxgen.bisect"))
def test_a_bisection_of_a_document_has_the_flags_that_there_are(command):
    options = bisect_parser().parse_args(words_behind(command, "jaxgen.bisect"))
    assert load_experiment(options.overrides)


def test_every_command_of_the_documents_is_of_a_kind_that_is_checked():
    """Another program in a document would be checked by nobody."""
    programs = ("jaxgen", "jaxgen.report", "jaxgen.convert", "jaxgen.bisect", *UNPARSED)
    kinds = [f"python -m {program} " for program in programs]
    kinds += ["python tests/bench/", "uv run pytest", "source .venv/bin/activate"]
    unknown = []
    for _, command in ALL_COMMANDS:
        if not any(kind in f"{command} " for kind in kinds):
            unknown.append(command)
    assert unknown == []
    assert all(importlib.util.find_spec(program) for program in UNPARSED)
    for _, command in ALL_COMMANDS:
        script = re.search(r"tests/bench/\w+\.py", command)
        assert script is None or (ROOT / script[0]).is_file()


def test_the_readme_has_the_two_commands_on_one_line_each():
    one_line = [line for line in commands(README) if line.startswith("pip install uv")]
    run, test = one_line
    assert run.endswith("uv run --no-dev python -m jaxgen cache=fixed jit=closure")
    assert test.endswith("uv run pytest")


def test_ci_runs_the_test_command_of_the_readme():
    (command,) = [line for line in commands(README) if line.endswith("uv run pytest")]
    assert command in (ROOT / ".ci" / "run").read_text()


def test_the_readme_can_be_read_in_one_sitting():
    assert len(README.read_text(encoding="utf-8").splitlines()) < LONGEST_README


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_document_leads_to_a_file(page):
    targets = [link.partition("#")[0] for link in _LINK.findall(page.read_text(encoding="utf-8"))]
    missing = [
        target
        for target in targets
        if target and "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    small = (
        '"model.weights=random", "model.shapes.num_layers=1", "measure.blocks=1", '
        '"measure.isolation=shared", "workload.max_new_tokens=4"'
    )
    names: dict[str, Any] = {}
    quick = f'"measure=quick", {small}, "measure.trials=1", "measure.max_foreign_load=1"'
    exec(block.replace('"measure=quick"', quick), names)
    assert names["engine"]
    assert names["result"].ratio > 0
    assert names["result"].report().name == "report.html"


def test_the_reference_is_that_of_the_specs():
    """If this fails: python -m jaxgen.config.reference > conf/README.md."""
    assert (ROOT / "conf" / "README.md").read_text(encoding="utf-8") == reference()


def test_the_reference_names_every_option_and_explains_every_key():
    page = reference()
    for group, options in GROUPS.items():
        for option in options:
            assert f"| `{option}` | " in page, f"{group}={option} is missing from conf/README.md"
    assert "Site." not in page
    unexplained = [line for line in page.splitlines() if line.endswith("|  |")]
    assert unexplained == []
