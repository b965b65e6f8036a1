"""The search for the first slow commit, over simulated histories and measurements."""

import numpy as np
import pytest

from jaxgen.gate import bisection
from jaxgen.gate.bisection import Answer, CannotRun, OutOfTime, cut_of, interval_of, ratio_of


class History:
    """A line of commits 0 .. n, each with its true speed against the first one."""

    def __init__(self, speeds, *, half_width=0.027, seed=0, broken=(), most=1000):
        self.speeds = speeds
        self.half_width = half_width
        self.broken = broken
        self.rng = np.random.default_rng(seed)
        self.most = most
        self.measured = []
        self.steps = []

    def measure(self, commit, attempt):
        if int(commit) in self.broken:
            raise CannotRun("it is too old to be driven")
        if len(self.measured) >= self.most:
            raise OutOfTime("the time is over")
        self.measured.append((commit, attempt))
        value = self.speeds[int(commit)] * np.exp(self.rng.normal(0, self.half_width / 1.96))
        ends = value * np.exp([-self.half_width, self.half_width])
        return ratio_of(float(value), ends.tolist(), metric="tokens_per_s")

    def halve(self, good, bad):
        first = max(int(commit) for commit in good)
        left = list(range(first + 1, int(bad) + 1))
        middle = (first + int(bad)) / 2
        return [str(number) for number in sorted(left, key=lambda number: abs(number - middle))]

    def search(self):
        last = str(len(self.speeds) - 1)
        cut = cut_of(self.measure(last, 0))
        assert cut is not None
        return bisection.search(
            "0",
            last,
            cut=cut,
            measure=self.measure,
            halve=self.halve,
            show=self.steps.append,
        )


def step_at(position, *, count=32, after=0.9):
    return [1.0] * position + [after] * (count - position)


@pytest.mark.parametrize("position", [1, 2, 15, 16, 30, 31])
def test_the_first_slow_commit_is_found_wherever_it_is(position):
    history = History(step_at(position))
    assert history.search().suspects == [str(position)]


def test_a_tenth_is_found_in_twenty_of_twenty_with_few_measurements():
    for seed in range(20):
        history = History(step_at(11), seed=seed)
        assert history.search().suspects == ["11"]
        assert len(history.measured) <= 12  # five halvings, some of them measured again


def test_each_step_is_shown_with_its_interval():
    history = History(step_at(11))
    history.search()
    assert {step.answer for step in history.steps} == {Answer.fast, Answer.slow}
    for step in history.steps:
        low, high = interval_of(step.ratio)
        assert low < step.ratio.value < high


def test_a_commit_that_cannot_run_is_skipped():
    history = History(step_at(11), broken=(15, 16))
    assert history.search().suspects == ["11"]
    skipped = [step for step in history.steps if step.answer is Answer.skipped]
    assert [step.reason for step in skipped] == ["it is too old to be driven"] * len(skipped)
    assert skipped


def test_commits_that_cannot_run_before_the_slow_one_leave_it_open():
    found = History(step_at(11), broken=(10, 9)).search()
    assert set(found.suspects) == {"9", "10", "11"}
    assert "9: it is too old to be driven" in found.why_open


def test_a_slowdown_that_noise_hides_is_not_settled():
    speeds = step_at(11, after=0.8)
    speeds[8:20] = [0.8**0.5] * 12  # exactly on the cut
    found = History(speeds, half_width=0.1, seed=3).search()
    assert len(found.suspects) > 1
    assert "noise hides on which side it is" in found.why_open


def test_an_unsettled_commit_is_measured_again_and_no_more_than_that():
    history = History(step_at(11), half_width=0.06)
    history.search()
    attempts = [attempt for _, attempt in history.measured]
    assert 0 < max(attempts) < bisection.MOST_ATTEMPTS


def test_the_search_ends_when_the_time_is_over():
    found = History(step_at(11), most=3).search()
    assert (len(found.suspects) > 1, found.why_open) == (True, "the time is over")


@pytest.mark.parametrize(("value", "is_slower"), [(0.9, True), (0.98, False), (1.1, False)])
def test_only_a_bad_commit_that_is_slower_has_a_cut(value, is_slower):
    cut = cut_of(ratio_of(value, [value * 0.97, value * 1.03], metric="tokens_per_s"))
    assert (cut is not None) == is_slower
    assert cut is None or value < cut < 1
