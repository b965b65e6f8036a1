"""The tables of slow tests name tests that there are; a renamed one would change sides unseen."""

from pathlib import Path

from support.slow_tests import QUICK_TESTS, SLOW_TESTS, STALE_PARTS, stale_parts


def test_every_name_in_the_tables_fits_a_test_that_was_collected(request):
    assert request.config.stash[STALE_PARTS] == []


def test_every_file_in_the_tables_exists():
    tests = Path(__file__).parents[1]
    paths = [*QUICK_TESTS, *SLOW_TESTS]
    assert [path for path in paths if not (tests / path).is_file()] == []


def test_a_name_that_no_test_has_is_found():
    path, parts = next(iter(QUICK_TESTS.items()))
    assert stale_parts({path: ["test_of_another_name"]}) == [f"{path}: {part}" for part in parts]
    assert stale_parts({path: list(parts)}) == []
