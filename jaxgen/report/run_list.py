"""The list of runs: what was measured when, with what verdict, and where it lies."""

import dataclasses
import fnmatch
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from jaxgen.errors import UserError
from jaxgen.report import words
from jaxgen.report.points import Point, as_text, at, differences
from jaxgen.results import formatting
from jaxgen.results.collection import StoredRun, Unread
from jaxgen.results.files import RESULT
from jaxgen.results.reading import Unreadable, read_finished_result

_PLAIN = ("date", "model", "verdict", "status", "run_id", "folder")
_STYLES = {
    "faster": "green",
    "slower": "red",
    "equivalent": "cyan",
    "inconclusive": "yellow",
    "invalid": "bold red",
}


@dataclasses.dataclass(frozen=True)
class Filter:
    """`key=pattern`; the pattern is the value, or has `*` and `?` in it."""

    key: str
    pattern: str

    @classmethod
    def parse(cls, typed: str) -> "Filter":
        """From the command line.

        Raises:
            UserError: it is not of that form.
        """
        key, equals, pattern = typed.partition("=")
        if not equals or not key:
            raise UserError(
                f"--where {typed} is no key=value; try --where verdict=faster or --where cache=fixed"
            )
        return cls(key, pattern)

    def holds(self, run: StoredRun) -> bool:
        """Whether a run passes; a key that the run does not have never does."""
        value = _value(run, self.key)
        return value is not None and fnmatch.fnmatchcase(value, self.pattern)


def find(root: Path) -> list[StoredRun | Unread]:
    """All runs in a folder and below it, the oldest first; what cannot be read stands at the end."""
    if not root.is_dir():
        raise UserError(
            f"{root} is no folder (relative paths start at {Path.cwd()}); give the folder of your runs"
        )
    found: list[StoredRun | Unread] = []
    for folder in _folders(root):
        name = folder.relative_to(root).as_posix()
        try:
            result = read_finished_result(folder / RESULT)
            found.append(StoredRun(folder, name, result, (), None))
        except Unreadable as problem:
            found.append(Unread(folder, name, str(problem)))
    return sorted(found, key=lambda each: (isinstance(each, Unread), _when(each), str(each.folder)))


def filtered(
    found: Iterable[StoredRun | Unread], filters: Sequence[Filter]
) -> list[StoredRun | Unread]:
    """The runs that pass every filter; without filters, the unreadable ones as well.

    Raises:
        UserError: a key that no run has.
    """
    everything = list(found)
    runs = [each for each in everything if isinstance(each, StoredRun)]
    for each in filters:
        if runs and all(_value(run, each.key) is None for run in runs) and each.key not in _PLAIN:
            known = ", ".join(
                [*_PLAIN, *sorted({group for run in runs for group in _choices(run)})]
            )
            raise UserError(
                f"--where {each.key}={each.pattern}: no run has {each.key}; try {known}, or a whole key"
            )
    return (
        [run for run in runs if all(each.holds(run) for each in filters)] if filters else everything
    )


def table(found: Sequence[StoredRun | Unread]) -> Table:
    """One row per run."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("date", "model", "arms", "verdict", "ratio", "folder"):
        made.add_column(column, justify="right" if column == "ratio" else "left", overflow="fold")
    for each in found:
        if isinstance(each, Unread):
            made.add_row(
                "",
                "",
                "",
                Text("not shown", style="dim"),
                "",
                Text(f"{each.name}: {each.reason}", style="dim"),
            )
            continue
        verdict = _verdict(each)
        cells = (words.date_of(each), words.model_of(each), _arms(each))
        made.add_row(
            *map(Text, cells),
            Text(verdict, style=_STYLES.get(verdict, "")),
            _ratio(each),
            Text(each.name),
        )
    return made


def _folders(root: Path) -> Iterator[Path]:
    """A run's own folder is not searched any further."""
    for place, below, files in os.walk(root):
        if RESULT in files:
            below.clear()
            yield Path(place)
        below[:] = sorted(name for name in below if not name.startswith("."))


def _when(each: StoredRun | Unread) -> str:
    return str(each.result.get("started_at") or "") if isinstance(each, StoredRun) else ""


def _value(run: StoredRun, key: str) -> str | None:
    """What a filter's key means: a column, an option, a key of the configuration; of the baseline with its prefix."""
    plain = {
        "date": words.date_of(run),
        "verdict": _verdict(run),
        "status": str(run.result["status"]),
        "run_id": str(run.result.get("run_id")),
        "folder": run.name,
    }
    if key == "date":  # a day means all of its runs
        return plain["date"][:10]
    if key in plain:
        return plain[key]
    arm, rest = "candidate", key
    if key.startswith("baseline.") and "baseline" in run.result["arms"]:
        arm, rest = "baseline", key.removeprefix("baseline.")
    facts = run.result["arms"][arm]
    option = at(facts, "choices", rest)
    value = at(facts, "config", *rest.split(".")) if option is None and "." in rest else option
    return (
        None if value is None and not _has(facts.get("config"), rest.split(".")) else as_text(value)
    )


def _has(config: object, path: Sequence[str]) -> bool:
    """Whether a key is there, though its value be null."""
    above = at(config, *path[:-1])
    return len(path) > 1 and isinstance(above, dict) and path[-1] in above


def _choices(run: StoredRun) -> list[str]:
    return list(run.result["arms"]["candidate"].get("choices") or {})


def _verdict(run: StoredRun) -> str:
    if run.result["status"] == "failed":
        return "failed"
    study = next((study for study in ("calibration", "selftest") if study in run.result), None)
    return str(run.result.get("verdict") or study or at(run.result, "gate", "status") or "-")


def _arms(run: StoredRun) -> str:
    point = Point(run, 0, {}, run.result)
    if "baseline" not in point.arms:
        return "candidate alone"
    told = differences(point)
    shown = [
        " ".join(f"{key}={each[arm]}" for key, each in list(told.items())[:2])
        for arm in ("candidate", "baseline")
    ]
    return " / ".join(shown) if told else "the same"


def _ratio(run: StoredRun) -> str:
    point = Point(run, 0, {}, run.result)
    if run.result.get("cases"):
        return f"{len(run.result['cases'])} cases"
    return formatting.ratio_and_interval(point.ratio) or "-"
