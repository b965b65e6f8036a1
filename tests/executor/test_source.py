"""Workers of another source: which can be driven, and what they are sent."""

import dataclasses
import shutil
from pathlib import Path

import pytest

import jaxgen
from jaxgen.errors import UserError
from jaxgen.executor.source import package_of, plain_run, protocol_of
from jaxgen.specs.codec import spec_from_plain, spec_to_plain
from jaxgen.specs.jit import Jit, Strategy
from jaxgen.specs.run import Process, Run
from jaxgen.worker.commands import COMMANDS
from support.small_models import run

PACKAGE = Path(jaxgen.__file__).parent


@pytest.fixture
def source(tmp_path):
    """The parts of another checkout that are read."""
    other = tmp_path / "jaxgen"
    for part in ("worker", "specs"):
        shutil.copytree(PACKAGE / part, other / part)
    (other / "__init__.py").touch()
    return tmp_path


def edit(source, name, old, new):
    path = source / "jaxgen" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def sent_by(source, **changed):
    process = Process(source=str(source))
    return plain_run(dataclasses.replace(run(), process=process, **changed))


def test_the_table_in_the_source_is_the_table_that_is_imported():
    protocol = protocol_of(PACKAGE)
    assert list(protocol.commands) == list(COMMANDS)
    for name, command in COMMANDS.items():
        fields = dataclasses.fields(command.request)
        assert list(protocol.commands[name]) == [field.name for field in fields]
    assert list(protocol.specs["Run"]) == [field.name for field in dataclasses.fields(Run)]


def test_a_worker_without_a_source_runs_this_very_package():
    assert package_of(Process()) == PACKAGE
    assert plain_run(run()) == spec_to_plain(run())


def test_an_equal_source_is_driven(source):
    assert package_of(Process(source=str(source))) == source / "jaxgen"
    assert spec_from_plain(sent_by(source)) == run()


@pytest.mark.parametrize(
    ("name", "old", "new", "fragment"),
    [
        ("worker/commands.py", '"trial": ', '"old_trial": ', "its workers have no command trial"),
        (
            "worker/requests.py",
            "    repeats: int\n",
            "    times: int\n",
            "its command trial differs",
        ),
        ("worker/requests.py", "PROTOCOL = 1\n", "PROTOCOL = 9\n", "its PROTOCOL is 9"),
        ("worker/commands.py", "COMMANDS:", "TABLE:", "have no table of commands"),
    ],
)
def test_a_source_that_is_too_far_away_is_one_line(source, name, old, new, fragment):
    edit(source, name, old, new)
    with pytest.raises(UserError) as refused:
        package_of(Process(source=str(source)))
    message = str(refused.value)
    assert "is too old or too new to be driven by this jaxgen: " in message
    assert fragment in message
    assert "\n" not in message


def test_a_source_before_the_number_counts_as_the_first(source):
    edit(source, "worker/requests.py", "PROTOCOL = 1\n", "")
    assert protocol_of(source / "jaxgen").version == 1


def test_a_folder_without_jaxgen_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"process\.source=.* has no jaxgen/__init__\.py"):
        package_of(Process(source=str(tmp_path)))


def test_a_key_that_the_source_lacks_is_left_out_at_its_default(source):
    edit(source, "specs/run.py", "    source: str | None = None\n", "")
    edit(source, "specs/jit.py", "    strategy: Strategy", "    other: Strategy")
    with pytest.raises(UserError, match=r"does not have jit\.strategy"):
        sent_by(source, jit=Jit(strategy=Strategy.aot))
    edit(source, "specs/jit.py", "    other: Strategy", "    strategy: Strategy")
    assert "source" not in sent_by(source)["process"]


def test_a_slot_that_the_source_lacks_is_left_out_at_its_default(source):
    edit(source, "specs/run.py", "    fault: Fault = Fault()", "    # fault: Fault = Fault()")
    assert "fault" not in sent_by(source)
    fault = dataclasses.replace(run().fault, recompile=True)
    with pytest.raises(UserError, match="does not have fault; leave it out"):
        sent_by(source, fault=fault)
