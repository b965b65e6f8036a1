"""The keys of a fresh result are those of the tracked one, and those that the schema names."""

import json
import typing
from pathlib import Path

import pytest

from jaxgen.results import schema
from jaxgen.results.reading import read_finished_result
from support.small_runs import execute_small

RUNS = Path(__file__).parents[2] / "runs/reference"
REFERENCE = RUNS / "2026-11-28_fixed-against-none" / "result.json"
EARLIER = RUNS / "2026-11-21_fixed-against-none" / "result.json"

OPEN = {
    "arms.*.choices": "groups come and go with the configuration, which has tests of its own",
    "arms.*.config": "the same",
    "arms.*.compile.functions": "names of compiled functions",
    "arms.*.startup.calls.*.functions": "the same",
    "arms.*.startup.next_call.functions": "the same",
    "arms.*.program.programs": "one for each compiled program, by its shape",
    "arms.*.program.reasons": "why a figure is null, on this machine",
    "arms.*.memory.reasons": "the same",
    "environment.packages": "versions that can be had differ",
    "environment.jax_environment": "the variables that are set",
    "environment.processor": "what a machine tells of itself",
    "comparison.*.trimmed": "null where blocks are too few to leave any out",
    "stability.outliers": "trials that stand out, if any do",
    "agreement.first_divergence": "null where all tokens are the same",
}
"""Sections whose keys are not the schema's, each with the reason."""

NEWER = {"environment.waited_s", "agreement.algorithm.non_finite"}
"""Keys that a run has where it had reason to, or that are newer than the tracked run."""


def keys_of(value, path=""):
    """Return the paths of all keys; members of lists, arms and metrics stand under `*`."""
    if path in OPEN:
        return set()
    if isinstance(value, list):
        members = [(f"{path}.*", member) for member in value]
    elif isinstance(value, dict):
        members = [(below(path, key), member) for key, member in value.items()]
    else:
        return set()
    found = {name for name, _ in members}
    for name, member in members:
        found |= keys_of(member, name)
    return found


def older_keys_of(result):
    """Return the keys that the tracked run could have."""
    keys = set()
    for key in keys_of(result):
        if not any(key == newer or key.startswith(f"{newer}.") for newer in NEWER):
            keys.add(key)
    return keys


def below(path, key):
    if path in ("arms", "comparison") or path.endswith(".metrics"):
        return f"{path}.*"
    return f"{path}.{key}" if path else key


@pytest.mark.slow
def test_a_fresh_result_has_the_keys_of_the_tracked_one(tmp_path):
    # One worker for both arms: what it cannot tell is null, and its key is there all the same.
    _, fresh = execute_small(tmp_path, "measure.isolation=shared")
    tracked = json.loads(REFERENCE.read_text())
    assert older_keys_of(fresh) == older_keys_of(tracked)
    assert_named(fresh, schema.Result)


@pytest.mark.parametrize("path", [REFERENCE, EARLIER], ids=["of this version", "of an earlier one"])
def test_a_tracked_result_has_the_keys_that_the_schema_names(path):
    assert_named(json.loads(path.read_text()), schema.Result)


def assert_named(section, types):
    """Every key of a section is one of its type, and none of those that are required is missing."""
    names = typing.get_type_hints(types)
    assert section.keys() <= names.keys()
    assert types.__required_keys__ - {"exit_code", "mesh"} <= section.keys()


def assert_same(read, written):
    """What the file does not have is null: later versions have added it."""
    if not isinstance(written, dict):
        assert read == written
        return
    for key, value in read.items():
        assert_same(value, written.get(key))


def test_a_stored_result_is_read_as_it_was_written():
    """Sections that the file does not have are empty; all others are as they stand there."""
    written = json.loads(REFERENCE.read_text())
    read = read_finished_result(REFERENCE)
    for key in ("verdict", "comparison", "notes"):
        assert_same(read[key], written[key])
    assert read["gate"] is None
    assert_same(read["arms"]["candidate"]["metrics"], written["arms"]["candidate"]["metrics"])
