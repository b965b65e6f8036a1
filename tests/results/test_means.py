"""The figure beside a ratio: as the run weighted it, or of its samples where it is older."""

import pytest

from jaxgen.measure.statistics import summarise
from jaxgen.results.means import mean_and_std, mean_of


def test_the_mean_is_the_one_that_the_run_weighted():
    figures = summarise([1.0, 4.0, 4.0], unit="s", better="lower") | {"geometric_mean": 2.0}
    assert mean_of(figures) == 2.0


def test_an_older_result_has_the_geometric_mean_of_its_samples():
    assert mean_of(summarise([1.0, None, 4.0], unit="s", better="lower")) == pytest.approx(2.0)


@pytest.mark.parametrize("samples", [[], [None], [1.0, 0.0]])
def test_what_has_no_geometric_mean_is_a_dash(samples):
    figures = summarise(samples, unit="s", better="lower")
    assert mean_of(figures) is None
    assert mean_and_std(figures) == "-"


def test_seconds_are_milliseconds_and_the_spread_is_that_of_the_samples():
    figures = summarise([0.001, 0.004], unit="s", better="lower")
    assert mean_and_std(figures) == "2.000 ± 2.1"
    assert mean_and_std(summarise([3.0], unit="tokens/s", better="higher")) == "3.000"
