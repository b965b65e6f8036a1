"""What an earlier run measured, read for a gate from its result.json or from a CSV of scores.

Everything is checked before anything is measured: a file that a gate cannot use is the user's error
at the start.
"""

import csv
import dataclasses
import glob
import io
from collections.abc import Sequence
from pathlib import Path

from jaxgen.errors import UserError
from jaxgen.gate import score_csv
from jaxgen.gate.measured import Measured, environment_facts, ratios_of, rows_of
from jaxgen.results.files import RESULT
from jaxgen.results.reading import Unreadable, parse_result
from jaxgen.results.schema import Result, trials

_MOST_NAMED = 5  # problems of a CSV that are named before the others are counted


@dataclasses.dataclass(frozen=True)
class Stored:
    """What a gate compares with.

    Attributes:
        path: as the user typed it, or as a pattern found it.
        rows: the candidate's metrics.
        environment: as `environment_facts` gives it.
        result: the whole of result.json; None for a CSV.
    """

    path: str
    rows: list[Measured]
    environment: dict[str, str]
    result: Result | None = None


@dataclasses.dataclass(frozen=True)
class StoredRuns:
    """All that a gate compares with.

    Attributes:
        against: as the user typed it, in one text.
        runs: in the order of their names; none where a commit is measured as the baseline.
        left_out: what a pattern or a list named and cannot be used, each with its reason.
    """

    against: str
    runs: tuple[Stored, ...] = ()
    left_out: tuple[str, ...] = ()


def read_all(against: Sequence[str]) -> StoredRuns:
    """Read what one or several earlier runs left behind.

    Of several, those that cannot be used are left out by name; one alone must be usable.

    Args:
        against: paths and patterns.

    Raises:
        UserError: nothing is there that can be used.
    """
    typed = ",".join(against)
    paths = []
    for entry in against:
        matches = matching(entry)
        if not matches:
            raise _refusal(entry, f"nothing matches it (relative paths start at {Path.cwd()})")
        paths += matches
    if len(paths) == 1:
        return StoredRuns(typed, (read(paths[0]),))
    runs, left_out = [], []
    for path in dict.fromkeys(paths):
        try:
            runs.append(read(path))
        except UserError as error:
            reason = str(error).partition(": ")[2]
            left_out.append(f"{path} ({reason})")
    if not runs:
        problem = f"none of {len(left_out)} can be used"
        raise UserError.collected(f"gate.against={typed}: {problem}", left_out[:_MOST_NAMED])
    return StoredRuns(typed, tuple(runs), tuple(left_out))


def matching(entry: str) -> list[str]:
    """Return the paths that one entry of `gate.against` stands for, sorted.

    What is no pattern, or is the name of a file with a `*` in it, stands for itself.
    """
    if not glob.has_magic(entry) or Path(entry).exists():
        return [entry]
    return sorted(glob.glob(entry, recursive=True))


def read(path: str) -> Stored:
    """Read what an earlier run left behind.

    Args:
        path: a run folder, its result.json, or a CSV of scores that begins with the columns of
            `score_csv.COLUMNS`.

    Raises:
        UserError: there is no such file, or it is neither of the two, damaged, of another version
            or not of a finished run.
    """
    file = Path(path)
    file = file / RESULT if file.is_dir() else file
    try:
        text = file.read_text(encoding="utf-8-sig")  # a spreadsheet may have put a mark before it
    except FileNotFoundError:
        reason = f"{file} does not exist (relative paths start at {Path.cwd()})"
        raise _refusal(path, reason) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _refusal(path, f"{file} cannot be read: {error}") from error
    looks_like_json = file.suffix != ".csv" and text.lstrip().startswith("{")
    if file.suffix == ".json" or looks_like_json:
        return _read_result(path, text)
    return _read_csv(path, text)


def _refusal(path: str, problem: str) -> UserError:
    return UserError(f"gate.against={path} is nothing to compare with: {problem}")


def _read_result(path: str, text: str) -> Stored:
    try:
        result = parse_result(text)
    except Unreadable as problem:
        raise _refusal(path, str(problem)) from problem
    # Half a run has other medians than a whole one.
    status = result.get("status")
    if status != "completed":
        state = "still running, or was killed" if status == "running" else f"of status {status}"
        raise _refusal(path, f"its run is {state}; give one of status completed")
    try:
        # The file is somebody's own to edit: what is damaged in it is an error with a name, not a
        # traceback.
        rows = rows_of(result)
        ratios_of(result)  # read again when they are compared, after the measurement
        environment = environment_facts(result.get("environment"))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"its arms, cases or environment are damaged ({type(error).__name__}: {error})"
        raise _refusal(path, reason) from error
    return Stored(path, rows, environment, result)


def _other_columns(header: list[str]) -> str:
    wanted = ",".join(score_csv.COLUMNS)
    begins = ",".join(header[: len(score_csv.COLUMNS)])
    shown = begins[:200] or "none"
    return f"a CSV must begin with the columns {wanted}, and it has {shown}"


def _read_csv(path: str, text: str) -> Stored:
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [name.strip() for name in next(lines, [])]
        if trials.is_header(header):
            raise _refusal(path, "it is the trials.csv of a run; give the result.json beside it")
        if not score_csv.is_header(header):
            raise _refusal(path, _other_columns(header))
        table = score_csv.read_table(header, lines)
    except csv.Error as error:
        raise _refusal(path, f"broken CSV: {error}") from error
    if table.problems:
        named = table.problems[:_MOST_NAMED]
        if len(table.problems) > _MOST_NAMED:
            named.append(f"and {len(table.problems) - _MOST_NAMED} more")
        raise UserError.collected(f"gate.against={path} is nothing to compare with", named)
    return Stored(path, table.rows, table.environment)
