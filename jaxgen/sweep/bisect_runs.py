"""The measurements of `python -m jaxgen.bisect`: one run for each commit, and what is shown."""

import contextlib
import functools
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxgen.api import run as api
from jaxgen.errors import ExitCode, UserError
from jaxgen.experiment.signals import terminated_like_interrupted
from jaxgen.gate import bisection, commits
from jaxgen.gate.bisection import CannotRun, OutOfTime, Step, interval_of, ratio_of
from jaxgen.gate.measured import Measured
from jaxgen.results.files import RESULT
from jaxgen.results.reading import Unreadable, read_result
from jaxgen.results.schema import Result

_FOLDER = Path("runs", "bisect")


class Bisection:
    """Measures commits against a reference commit, and keeps the runs.

    Args:
        root: of the repository.
        folder: of all runs.
        overrides: what is measured.
        limit_s: no run begins later than this many seconds from now.
    """

    def __init__(self, root: Path, folder: Path, *, overrides: Sequence[str], limit_s: float):
        self._root = root
        self._folder = folder
        self._overrides = list(overrides)
        self._end_s = time.monotonic() + limit_s

    @contextlib.contextmanager
    def against(self, reference: str) -> Iterator[bisection.Measure]:
        """Yield a function that measures a commit against this one, checked out meanwhile."""
        with commits.checked_out(self._root, reference) as source:
            yield functools.partial(self._measure, reference, source)

    def _measure(self, reference: str, source: Path, commit: str, attempt: int) -> Measured:
        """Return the ratio of a commit and the reference; what an earlier command measured counts.

        Raises:
            CannotRun: the commit cannot be measured.
            OutOfTime: there is no time for it.
        """
        pair = f"{commits.short(commit)}_{commits.short(reference)}"
        folder = self._folder / f"{pair}_{_question(self._overrides)}_{attempt}"
        result = _stored(folder)
        if result is None:
            result = self._run(commit, source, folder)
        return _ratio(result)

    def _run(self, commit: str, reference: Path, folder: Path) -> Result:
        if time.monotonic() > self._end_s:
            raise OutOfTime("the time of --max-minutes is over; the same command goes on from here")
        with commits.checked_out(self._root, commit) as source:
            overrides = [
                *("console.level=quiet", "baseline=same", "gate=off"),
                *self._overrides,
                f"process.source='{source}'",
                f"baseline.overrides=[\"process.source='{reference}'\"]",
            ]
            try:
                done = api.run(*overrides, folder=folder)
            except UserError as error:
                # As where the commit is too old to be driven, or does not know a key.
                raise CannotRun(str(error)) from error
        if done.exit_code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        return done.data


def run(
    good: str, bad: str, *, overrides: Sequence[str], out: Path | None, limit_s: float
) -> ExitCode:
    """Find the commit that made it slower, and print every step.

    Args:
        good: a revision that is as fast as it should be.
        bad: a later one that is slower.
        overrides: what is measured.
        out: the folder of the runs; null makes one from the commits and the overrides.
        limit_s: no measurement begins later than this many seconds from now.

    Returns:
        0 where the commit was found, 20 where the measurements do not settle it.

    Raises:
        UserError: a revision is none, or one of the two cannot be measured.
    """
    root = commits.repository("jaxgen.bisect")
    first = commits.resolve(root, good, key="GOOD")
    last = commits.resolve(root, bad, key="BAD")
    if first == last or not commits.is_ancestor(root, first, last):
        raise UserError(f"GOOD={good} must be an older commit in the history of BAD={bad}")
    runs = Bisection(
        root, out or _default_folder(first, last, overrides), overrides=overrides, limit_s=limit_s
    )
    # SIGTERM must remove the folders of commits, as Ctrl-C does.
    with terminated_like_interrupted():
        return _search(runs, root, first, last)


def _search(runs: Bisection, root: Path, good: str, bad: str) -> ExitCode:
    _introduce(root, good, bad)
    with runs.against(good) as measure:
        try:
            whole = measure(bad, 0)
        except (CannotRun, OutOfTime) as error:
            raise UserError(f"BAD={commits.short(bad)} cannot be measured: {error}") from error
        print(f"bad against good in {whole.metric}: {_shown(whole)}", flush=True)
        cut = bisection.cut_of(whole)
        if cut is None:
            print("not settled: BAD is not slower than GOOD beyond noise; measure longer")
            return ExitCode.INVALID
        found = bisection.search(
            good,
            bad,
            cut=cut,
            measure=measure,
            halve=functools.partial(commits.between, root),
            show=functools.partial(_show, root),
        )
    if len(found.suspects) == 1:
        return _confirm(runs, root, found.suspects[0])
    print(f"not settled ({found.why_open}); the first slow commit is one of")
    for commit in found.suspects:
        print(f"  {commits.described(root, commit)}")
    return ExitCode.INVALID


def _introduce(root: Path, good: str, bad: str) -> None:
    count = len(commits.between(root, [good], bad))
    print(f"good: {commits.described(root, good)}")
    print(f"bad:  {commits.described(root, bad)}, {count} commits later", flush=True)


def _confirm(runs: Bisection, root: Path, culprit: str) -> ExitCode:
    """Measure the commit that was found against its own parent, which is all that it changed."""
    parent = commits.parent_of(root, culprit)
    print(f"first slow commit: {commits.described(root, culprit)}")
    try:
        with runs.against(parent) as measure:
            ratio = measure(culprit, 0)
    except (CannotRun, OutOfTime) as error:
        print(f"not settled: it was not measured against its parent: {error}")
        return ExitCode.INVALID
    print(f"against its parent {commits.short(parent)}: {_shown(ratio)}")
    if bisection.cut_of(ratio) is None:
        print("not settled: it is not slower than its parent beyond noise; measure longer")
        return ExitCode.INVALID
    return ExitCode.OK


def _show(root: Path, step: Step) -> None:
    line = commits.described(root, step.commit)
    if step.ratio is None:
        print(f"skipped: {line}: {step.reason}", flush=True)
        return
    print(f"{step.answer.value}: {line}: {_shown(step.ratio)}", flush=True)


def _shown(ratio: Measured) -> str:
    low, high = interval_of(ratio)
    return f"{ratio.value:.3f} of the other's speed [{low:.3f}, {high:.3f}]"


def _default_folder(good: str, bad: str, overrides: Sequence[str]) -> Path:
    return _FOLDER / f"{commits.short(good)}_{commits.short(bad)}_{_question(overrides)}"


def _question(overrides: Sequence[str]) -> str:
    """Name what is measured: another question must not find this one's runs."""
    return hashlib.sha256("\0".join(overrides).encode()).hexdigest()[:8]


def _stored(folder: Path) -> Result | None:
    """Return what an earlier command measured in a folder; null where it did not come to an end."""
    try:
        result = read_result(folder / RESULT)
    except Unreadable:
        return None
    return result if result["status"] == "completed" else None


def _ratio(result: Result) -> Measured:
    """Return the ratio of the verdict's metric.

    Raises:
        CannotRun: the run has none.
    """
    # The first metric is the one of the verdict; an invalid run has no comparison.
    for metric, compared in result["comparison"].items():
        if compared["ci95"] is None:
            raise CannotRun("one block was measured, which has no interval")
        return ratio_of(compared["ratio"], compared["ci95"], metric=metric)
    failures = []
    for arm in result["arms"].values():
        if arm["failure"]:
            failures.append(arm["failure"]["message"])
    reasons = "; ".join(failures) or result["verdict_reason"]
    if result["cases"]:
        reasons = "a grid has a ratio for each case; give one case"
    raise CannotRun(str(reasons))
