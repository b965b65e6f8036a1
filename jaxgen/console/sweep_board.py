"""A sweep on the screen while it runs: a row for each point, and the running job's steps below."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console as Terminal
from rich.console import Group, RenderableType
from rich.live import Live
from rich.segment import Segments
from rich.text import Text

from jaxgen.console.plain_table import plain_table
from jaxgen.errors import ExitCode
from jaxgen.results import formatting

COLOURS = {
    "faster": "bold green",
    "slower": "bold red",
    "equivalent": "bold cyan",
    "inconclusive": "bold yellow",
    "invalid": "bold white on red",
}
"""The style of each verdict, wherever the terminal shows it."""

_STATES = {
    ExitCode.REGRESSION: ("REGRESSION", "bold red"),
    ExitCode.USER_ERROR: ("refused", "red"),
    ExitCode.ARM_FAILED: ("failed", "red"),
    ExitCode.INTERRUPTED: ("interrupted", "red"),
}
"""The state of a point by its exit code, where that is not simply done, and its style."""

_LINES_BELOW = 14
"""Lines for the steps of the running job, the heading, and what is printed in between."""

# The running point and one on either side of it, however low the screen is.
_LEAST_ROWS = 3

Overrides = Mapping[str, str | None]
"""What a point of a sweep overrides, by key."""


class Board:
    """Draws below everything that is printed with its terminal or by `print`; a context manager.

    Args:
        points: the overrides of each point, in the order of the jobs, as far as they are known.
        screen: where to draw.

    Attributes:
        screen: for whoever has something to say while the board is shown.
    """

    def __init__(self, points: Sequence[Overrides], screen: Terminal):
        self._points: list[Overrides] = [dict(point) for point in points]
        self.screen = screen
        self._rows: dict[int, Mapping[str, Any]] = {}
        self._running: int | None = None
        self._steps: RenderableType = ""
        self._table: Segments | None = None
        self._size = (0, 0)
        # Four times a second, for the steps' sake: the table is set anew only when it changes.
        self._live = Live(
            get_renderable=self._shown,
            console=screen,
            refresh_per_second=4,
            transient=True,
        )

    def __enter__(self) -> "Board":
        self._live.start()
        return self

    def __exit__(self, *_exception) -> None:
        self._live.stop()

    def begin(self, number: int, overrides: Overrides) -> None:
        """Show that a point's job has begun.

        Args:
            number: that of the job, from 0; the board grows if it did not know of it.
            overrides: those of the point.
        """
        while len(self._points) <= number:
            self._points.append({})
        # The overrides of a job are known for sure only when it begins.
        self._points[number] = dict(overrides)
        self._running = number
        self._redraw()

    def end(self, row: Mapping[str, Any]) -> None:
        """Show how a point's job has ended.

        Args:
            row: the point's, as `Sweep.rows` has it.
        """
        self._rows[row["number"]] = row
        self._running = None
        self._steps = ""
        self._redraw()

    def show(self, steps: RenderableType) -> None:
        """Set what is drawn below the table until the job ends."""
        self._steps = steps

    def table(self) -> Group:
        """Make a heading, and the rows around the running one that the screen has room for."""
        varying = self._varying_keys()
        table = plain_table()
        for key in ("#", *varying, "state", "verdict"):
            table.add_column(key, no_wrap=True)
        table.add_column("ratio", no_wrap=True, justify="right")
        # On a narrow screen this is the one column that gives way.
        table.add_column("reason")
        total = len(self._points)
        room = self.screen.height - _LINES_BELOW
        first, last = _window(total, self._current, size=max(room, _LEAST_ROWS))
        for number in range(first, last):
            cells = [str(number)]
            for key in varying:
                value = self._points[number].get(key, "-")
                cells.append(str(value))
            table.add_row(*cells, *self._outcome(number))
        return Group(self._heading(first, last), table)

    def _varying_keys(self) -> list[str]:
        """Return the overrides in which the points differ."""
        keys: dict[str, None] = {}
        for point in self._points:
            keys.update(dict.fromkeys(point))
        varying = []
        for key in keys:
            values = {point.get(key) for point in self._points}
            if len(values) > 1:
                varying.append(key)
        return varying

    def _heading(self, first: int, last: int) -> Text:
        done = len(self._rows)
        total = len(self._points)
        heading = f"the sweep: {done} of {total} points are done"
        if last - first < total:
            heading += f", those from {first} to {last - 1}"
        return Text(heading, style="bold")

    @property
    def _current(self) -> int:
        """The number of the running point; between two jobs, that of the last one."""
        if self._running is None:
            return max(self._rows, default=0)
        return self._running

    def _outcome(self, number: int) -> list[Text]:
        """Return the cells of a point behind its overrides: state, verdict, ratio and reason."""
        row = self._rows.get(number)
        if row is not None:
            return _outcome_of(row)
        state = Text("waiting", style="dim")
        if number == self._running:
            state = Text("running", style="bold")
        return [state, Text(), Text(), Text()]

    def _shown(self) -> RenderableType:
        """Return the table, set anew only where it or the screen's size has changed."""
        # A terminal may be resized while a sweep runs.
        size = (self.screen.width, self.screen.height)
        if self._table is None or self._size != size:
            # As finished segments: rich would lay a table out at each of the four frames a second,
            # and the processor time for it would be missing in the trials.
            segments = self.screen.render(self.table())
            self._table = Segments(list(segments))
            self._size = size
        return Group(self._table, self._steps)

    def _redraw(self) -> None:
        self._table = None
        self._live.refresh()


def _outcome_of(row: Mapping[str, Any]) -> list[Text]:
    """Return the state, the verdict, the ratio and the reason of a point that has ended."""
    code = ExitCode(row["exit_code"])
    # A resumed sweep has points that an earlier start of it measured.
    done = "kept" if row.get("kept") else "done"
    state, style = _STATES.get(code, (done, "green"))
    verdict = row["verdict"] or ""
    reason = str(row["reason"] or "")
    # A reason may have line breaks, and each point has one row.
    one_line = " ".join(reason.split())
    return [
        Text(state, style=style),
        Text(verdict, style=COLOURS.get(verdict, "")),
        Text(_ratio_of(row)),
        Text(one_line, no_wrap=True, overflow="ellipsis"),
    ]


def _ratio_of(row: Mapping[str, Any]) -> str:
    """Write the ratio of a point and its interval; nothing where there is none."""
    if not row["ratio"]:
        return ""
    interval = None
    # With too few blocks there is a ratio without an interval.
    if row["low"] is not None:
        interval = [row["low"], row["high"]]
    comparison = {"ratio": row["ratio"], "ci95": interval}
    return formatting.ratio_and_interval(comparison)


def _window(count: int, at: int, *, size: int) -> tuple[int, int]:
    """Return the first row to show and the one behind the last: `at` and what is around it.

    Example:
        >>> _window(100, 50, size=10)
        (45, 55)
    """
    first = at - size // 2
    # At both ends of the sweep the window stays full.
    first = max(0, min(first, count - size))
    last = min(first + size, count)
    return first, last
