"""The roofline in words, and shares as percent."""

import pytest

from jaxgen.results import formatting, roofline_words

STEP = {"step_s": 3.36e-3, "bytes_s": 2.0e-4, "flops_s": 1.8e-4}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "step 3.36 ms: its bytes need 0.20, its FLOPs 0.18: 94 % is overhead"),
        ({"flops_s": 2e-3}, "step 3.36 ms: its bytes need 0.20, its FLOPs 2.0: 40 % is overhead"),
        (
            {"bytes_s": 4e-3},
            "step 3.36 ms: its bytes need 4.0, its FLOPs 0.18: no overhead is left",
        ),
        ({"step_s": None}, None),
        ({"bytes_s": None}, None),
    ],
    ids=str,
)
def test_a_step_is_told_with_what_its_work_needs(changed, words):
    assert roofline_words.step_in_words({**STEP, **changed}) == words


def test_an_older_result_has_no_such_words():
    assert roofline_words.step_in_words({"mbu": 0.1}) is None
    assert roofline_words.step_in_words(None) is None


@pytest.mark.parametrize(
    ("reads_from", "words"),
    [("memory", "memory bandwidth"), ("cache", "cache's read rate"), (None, "read rate")],
)
def test_a_share_is_one_of_bandwidth_only_where_memory_is_read(reads_from, words):
    assert roofline_words.read_rate({"reads_from": reads_from}) == words


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0584, "5.84 %"),
        (9.99, "999 %"),
        (9.9951, "1000 %"),
        (9.9999, "1000 %"),
        (10.0, "1000 %"),
        (51.2, "5120 %"),
    ],
)
def test_no_share_is_written_with_an_exponent(share, text):
    assert formatting.percent(share) == text
