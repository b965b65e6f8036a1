"""A sweep on the screen while it runs: a row for every point, and below them the steps of the running job."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console as Terminal
from rich.console import Group, RenderableType
from rich.live import Live
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from jaxgen.errors import ExitCode
from jaxgen.results import formatting

COLOURS = {
    "faster": "bold green",
    "slower": "bold red",
    "equivalent": "bold cyan",
    "inconclusive": "bold yellow",
    "invalid": "bold white on red",
}
"""Of the verdicts, wherever they are shown."""

_STATES = {
    ExitCode.REGRESSION: ("REGRESSION", "bold red"),
    ExitCode.USER_ERROR: ("refused", "red"),
    ExitCode.ARM_FAILED: ("failed", "red"),
    ExitCode.INTERRUPTED: ("interrupted", "red"),
}
_BELOW = 14  # lines for the steps of the running job, the heading, and what is printed in between


class Board:
    """Draws below everything that is printed with its terminal or by `print`; a context manager.

    Args:
        points: the overrides of each point, in the order of the jobs, as far as they are known before.
        screen: where to draw.

    Attributes:
        screen: for whoever has something to say while the board is shown.
    """

    def __init__(self, points: Sequence[Mapping[str, str | None]], screen: Terminal):
        self._points = [dict(point) for point in points]
        self.screen = screen
        self._rows: dict[int, Mapping[str, Any]] = {}
        self._running: int | None = None
        self._steps: RenderableType = ""
        self._drawn: tuple[tuple[int, int], Segments] | None = None
        # Four times a second, for the steps' sake: the table is set anew only when it changes.
        self._live = Live(
            get_renderable=self._shown, console=screen, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> "Board":
        self._live.start()
        return self

    def __exit__(self, *_exception) -> None:
        self._live.stop()

    def begin(self, number: int, overrides: Mapping[str, str | None]) -> None:
        """A point's job begins."""
        self._points += [{} for _ in range(number + 1 - len(self._points))]
        self._points[number] = dict(overrides)
        self._running = number
        self._redraw()

    def end(self, row: Mapping[str, Any]) -> None:
        """A point's job has ended; its row is as `Sweep.rows` has it."""
        self._rows[row["number"]] = row
        self._running, self._steps = None, ""
        self._redraw()

    def show(self, steps: RenderableType) -> None:
        """What is drawn below the table until the job ends."""
        self._steps = steps

    def table(self) -> Group:
        """A heading, and the rows around the running one, as many as the screen has room for."""
        keys = list(dict.fromkeys(key for point in self._points for key in point))
        varying = [key for key in keys if len({point.get(key) for point in self._points}) > 1]
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for key in ("#", *varying, "state", "verdict", "ratio"):
            table.add_column(key, no_wrap=True, justify="right" if key == "ratio" else "left")
        table.add_column("reason")  # the one column that gives way
        first, last = _window(len(self._points), self._at, size=max(self.screen.height - _BELOW, 3))
        beside = f", those from {first} to {last - 1}" if last - first < len(self._points) else ""
        heading = Text(
            f"the sweep: {len(self._rows)} of {len(self._points)} points are done{beside}",
            style="bold",
        )
        for number in range(first, last):
            given = [str(self._points[number].get(key, "-")) for key in varying]
            table.add_row(str(number), *given, *self._told(number))
        return Group(heading, table)

    @property
    def _at(self) -> int:
        return max(self._rows, default=0) if self._running is None else self._running

    def _told(self, number: int) -> list[Text]:
        row = self._rows.get(number)
        if row is None:
            state = (
                Text("running", style="bold")
                if number == self._running
                else Text("waiting", style="dim")
            )
            return [state, Text(), Text(), Text()]
        state, style = _STATES.get(
            ExitCode(row["exit_code"]), ("kept" if row.get("kept") else "done", "green")
        )
        interval = None if row["low"] is None else [row["low"], row["high"]]
        ratio = formatting.ratio_and_interval(
            {"ratio": row["ratio"], "ci95": interval} if row["ratio"] else None
        )
        verdict = row["verdict"] or ""
        reason = Text(" ".join(str(row["reason"] or "").split()), no_wrap=True, overflow="ellipsis")
        return [
            Text(state, style=style),
            Text(verdict, style=COLOURS.get(verdict, "")),
            Text(ratio),
            reason,
        ]

    def _shown(self) -> RenderableType:
        size = (self.screen.width, self.screen.height)
        if self._drawn is None or self._drawn[0] != size:
            self._drawn = size, Segments(list(self.screen.render(self.table())))
        return Group(self._drawn[1], self._steps)

    def _redraw(self) -> None:
        self._drawn = None
        self._live.refresh()


def _window(count: int, at: int, *, size: int) -> tuple[int, int]:
    """The rows to show, of so many: the one at `at` and what is around it.

    Example:
        >>> _window(100, 50, size=10)
        (45, 55)
    """
    first = max(0, min(at - size // 2, count - size))
    return first, min(first + size, count)
