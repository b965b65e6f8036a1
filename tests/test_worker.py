"""What a worker makes of an exception."""

import pytest

from jaxgen.errors import UserError
from jaxgen.worker import describe


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (UserError("cache.max_len=3 is too small"), "user", "cache.max_len=3 is too small"),
        (RuntimeError("a bug"), "RuntimeError", "a bug"),
        (MemoryError(), "out_of_memory", "MemoryError"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 3 bytes.\nHLO: ..."), "out_of_memory", None),
        (KeyError("arm"), "KeyError", "'arm'"),
        (ValueError("the first line\nthe second"), "ValueError", "the first line"),
        (ValueError(), "ValueError", "ValueError"),
    ],
    ids=repr,
)
def test_an_exception_is_told_by_kind_and_in_one_line(error, kind, message):
    told = describe(error)
    assert told["kind"] == kind
    assert told["message"] == (message or "RESOURCE_EXHAUSTED: Out of memory allocating 3 bytes.")
    assert type(error).__name__ in told["traceback"]
