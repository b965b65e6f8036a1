"""The table of a grid on the terminal: a row for each case."""

import re

import pytest

from jaxgen.measure.samples import Samples
from jaxgen.results.record import Record
from support.small_runs import figures_of, loaded_facts, paired, trial_row, two_arms
from support.terminal_lines import has, lines_of, row


@pytest.fixture
def grid(tmp_path):
    """Two depths, of which the second was not measured."""
    record = Record(two_arms(), tmp_path)
    for name in two_arms():
        record.loaded(name, loaded_facts(cases=[{"depth": 1}, {"depth": 4096}]))
    record.show(*figures_of(paired(2.0)), case=0)
    record.section(0)["verdict"] = "faster"
    return record.result


def test_each_case_is_a_row_that_ends_with_its_verdict(grid):
    grid["cases"][0]["arms"]["candidate"]["roofline"] = {"mbu": 0.5}
    lines = [line.strip() for line in lines_of(grid)]
    assert row(lines, "1 ") == [
        "1",
        "201.0 ± 1.1",
        "50 %",
        "100.5 ± 0.55",
        "-",
        "2.00 [1.97, 2.03]",
        "faster",
    ]
    assert row(lines, "4096") == ["4096", "-", "-", "-", "-"]


def test_a_grid_of_scores_shows_the_tail_of_the_candidate_s_requests(tmp_path):
    record = Record(two_arms(), tmp_path)
    metrics = {"items_per_s": {"unit": "items/s", "better": "higher"}}
    samples = Samples(("candidate", "baseline"), metrics)
    for name in two_arms():
        record.loaded(name, loaded_facts(cases=[{"batch_size": 4, "num_labels": 2}]))
        for pair in range(4):
            samples.add(trial_row(name, pair=pair, metrics={"items_per_s": 40.0}, call_s=[0.1]))
    record.show(*figures_of(samples), case=0)
    lines = lines_of(record.result)
    header = next(line for line in lines if "p95, ms" in line)
    assert re.search(r"items/s +p50, ms +p95, ms +p99, ms +items/s +ratio", header)
    cells = next(line for line in lines if line.strip().startswith("4 ")).split()
    assert cells[:2] == ["4", "2"]
    assert cells[4:8] == ["100", "100", "-", "40.00"]  # behind the median and its ±


def test_no_case_measured_can_be_shown_too(tmp_path):
    record = Record(two_arms(), tmp_path)
    for name in two_arms():
        record.loaded(name, loaded_facts(cases=[{"depth": 1}]))
    assert has(lines_of(record.result), "cache")
