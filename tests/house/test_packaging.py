"""The wheel is whole: installed elsewhere it composes every option from the YAML files in it.

Also here: the commit hooks, and what CI runs on the newest jax.
"""

import email
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from jaxgen.config.table import OPTIONS

ROOT = Path(__file__).resolve().parents[2]

COMPOSE_ALL = """
import itertools
import jaxgen
from jaxgen.config.experiment import load_experiment
from jaxgen.config.table import GROUPS, conf_dir

columns = [[f"{group}={option}" for option in options] for group, options in GROUPS.items()]
needed = {
    "model=hf": "model.source=x",
    "prompts=text": "prompts.text=x",
    "prompts=jsonl": "prompts.path=x",
    "prompts=arc": "prompts.path=x",
    "gate=regression": "gate.against=x",
}
for row in itertools.zip_longest(*columns):
    options = [option for option in row if option]
    options += [needed[option] for option in options if option in needed]
    print(*load_experiment(options).arms["candidate"].choices.items())
for experiment in sorted((conf_dir() / "experiment").glob("*.yaml")):
    more = ["prompts.path=x"] if experiment.stem == "arc" else []
    load_experiment([f"experiment={experiment.stem}", *more])
print(jaxgen.__file__, conf_dir(), sep="\\n")
"""
"""Every option of every group stands in one of seven rows."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder with the installed wheel: a wheel of pure Python is installed by unpacking it."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    source.mkdir()
    for name in ("jaxgen", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    shutil.rmtree(source)
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


def run(installed, cwd, *argv):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, *argv],
        cwd=cwd,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()


@pytest.mark.slow
def test_the_wheel_composes_every_option_from_its_own_files(installed, tmp_path):
    *rows, package, conf = run(installed, tmp_path, "-c", COMPOSE_ALL)
    assert Path(package).is_relative_to(installed)
    assert Path(conf) == installed / "jaxgen" / "conf"
    composed = "\n".join(rows)
    for group, option, _ in OPTIONS:
        assert f"('{group}', '{option}')" in composed


@pytest.mark.slow
def test_the_wheel_s_command_line_works(installed, tmp_path):
    shown = run(
        installed, tmp_path, "-m", "jaxgen", "--cfg", "job", "-p", "cache", "cache.max_len=7"
    )
    assert "max_len: 7" in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_wheel_holds_the_embedded_model_s_files(installed):
    files = {
        path.relative_to(ROOT)
        for path in (ROOT / "jaxgen" / "assets" / "tiny").rglob("*")
        if path.is_file()
    }
    assert {path for path in files if not (installed / path).is_file()} == set()


@pytest.mark.slow
def test_the_wheel_is_typed_and_holds_no_training_script(installed):
    assert (installed / "jaxgen" / "py.typed").is_file()
    scripts = [path.name for path in (installed / "jaxgen" / "assets").glob("*.py")]
    assert scripts == ["__init__.py"]


@pytest.mark.slow
def test_the_wheel_says_whose_it_is_and_what_it_runs_on(installed):
    (path,) = installed.glob("jaxgen-*.dist-info/METADATA")
    metadata = email.message_from_string(path.read_text(encoding="utf-8"))
    assert metadata["Author"] == "The jaxgen developers"
    assert metadata["Keywords"]
    classifiers = metadata.get_all("Classifier", [])
    for version in ("3.11", "3.12", "3.13"):
        assert f"Programming Language :: Python :: {version}" in classifiers


def test_the_commit_hooks_run_what_ci_runs():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    assert entries == ["uv run ruff check --fix", "uv run ruff format", "uv run pyright"]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(entry.removesuffix(" --fix") in ci for entry in entries)
    assert all(repo["repo"] == "local" for repo in config["repos"])  # nothing is fetched for a hook


def test_the_files_that_ci_runs_on_the_newest_jax_exist():
    listing = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    files = re.findall(r"^  (tests/\S+)$", listing, flags=re.MULTILINE)
    assert len(files) > 5
    assert [name for name in files if not (ROOT / name).exists()] == []
