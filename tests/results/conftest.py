"""What the tests of the record share."""

import pytest

from jaxgen.results.record import Record
from support.small_runs import loaded_facts, two_arms


@pytest.fixture
def record(tmp_path):
    """The record of a run whose arms are loaded."""
    record = Record(two_arms(), tmp_path)
    for arm in ("candidate", "baseline"):
        record.loaded(arm, loaded_facts())
    return record
