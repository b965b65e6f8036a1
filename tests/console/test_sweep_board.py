"""A sweep on the screen: what each row says, and that it leaves room for other output."""

import io
import re

import pytest
from rich.console import Console as Terminal

from jaxgen.__main__ import main
from jaxgen.console.sweep_board import Board
from jaxgen.errors import ExitCode
from support.stand_in_terminal import Screen

POINTS = [{"cache": cache, "measure": "quick"} for cache in ("fixed", "dynamic", "none", "paged")]


def terminal(*, height=40):
    return Terminal(file=Screen(), force_terminal=True, width=150, height=height, color_system=None)


def row(number, code=ExitCode.OK, **changed):
    """A row as `Sweep.rows` has it."""
    outcome = {
        "verdict": "faster",
        "ratio": 2.0,
        "low": 1.9,
        "high": 2.1,
        "reason": "it is\nfaster",
    }
    return {"number": number, "exit_code": int(code)} | outcome | changed


def lines_of(board):
    """The table as text."""
    page = Terminal(file=io.StringIO(), width=150, color_system=None)
    page.print(board.table())
    return [line.rstrip() for line in page.file.getvalue().splitlines()]


@pytest.fixture
def board():
    """Four points: one done, one refused, one running, one to come."""
    screen = terminal()
    nothing = dict.fromkeys(("verdict", "ratio", "low", "high"))
    with Board(POINTS, screen) as board:
        board.begin(0, POINTS[0])
        board.end(row(0))
        board.begin(1, POINTS[1])
        board.end(row(1, ExitCode.USER_ERROR, reason="no such thing", **nothing))
        board.begin(2, POINTS[2])
        yield board


def test_every_point_has_a_row_with_its_state(board):
    title, heading, done, refused, running, waiting = lines_of(board)
    assert title == "the sweep: 2 of 4 points are done"
    assert heading.split() == ["#", "cache", "state", "verdict", "ratio", "reason"]
    assert re.split(r"  +", done) == [
        "0",
        "fixed",
        "done",
        "faster",
        "2.00 [1.90, 2.10]",
        "it is faster",
    ]
    assert re.split(r"  +", refused) == ["1", "dynamic", "refused", "no such thing"]
    assert running.split() == ["2", "none", "running"]
    assert waiting.split() == ["3", "paged", "waiting"]


def test_a_point_that_was_done_before_is_told_from_one_that_was_run(board):
    board.end(row(2, kept=True))
    assert "kept" in lines_of(board)[4]


def test_a_regression_is_a_state_of_its_own(board):
    board.end(row(2, ExitCode.REGRESSION))
    assert lines_of(board)[4].split()[2:4] == ["REGRESSION", "faster"]


def test_a_job_that_nobody_knew_of_gets_a_row(board):
    board.begin(5, {"cache": "fixed"})
    assert "running" in lines_of(board)[-1]
    assert len(lines_of(board)) == 8


def test_of_a_long_sweep_the_rows_around_the_running_one_are_shown():
    screen = terminal(height=26)
    with Board([{"jit": str(number)} for number in range(100)], screen) as board:
        board.begin(50, {"jit": "50"})
        title, _, *rows = lines_of(board)
    assert title == "the sweep: 0 of 100 points are done, those from 44 to 55"
    assert [line.split()[0] for line in rows] == [str(number) for number in range(44, 56)]


def test_it_is_redrawn_in_place_and_gone_at_the_end():
    screen = terminal()
    with Board(POINTS, screen) as board:
        board.begin(0, POINTS[0])
        print("a line of somebody else's")
        board.end(row(0))
    drawn = screen.file.getvalue()
    assert drawn.index("a line of somebody else's") < drawn.index("1 of 4 points are done")
    assert "\x1b[2K" in drawn[drawn.rindex("waiting") :]


class TestCommand:
    @pytest.fixture
    def on_a_terminal(self, place, monkeypatch):
        """Run a command; return its exit code, and what its standard output and error got."""
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "150")
        monkeypatch.delenv("NO_COLOR", raising=False)

        def run(*argv):
            out, err = Screen(), Screen()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("sys.stdout", out)
                patch.setattr("sys.stderr", err)
                code = main(argv)
            return code, out.getvalue(), err.getvalue()

        return run

    def test_each_job_has_the_board(self, executed, on_a_terminal):
        code, out, drawn = on_a_terminal("-m", "jit=closure,aot")
        assert code == ExitCode.OK
        assert executed.boards[0] is executed.boards[1] is not None
        assert "the sweep: 2 of 2 points are done" in drawn
        assert "point 0" not in drawn
        assert "the sweep" in out

    def test_an_error_of_one_point_stands_above_it(self, executed, on_a_terminal):
        code, _, drawn = on_a_terminal("-m", "model=hf,tiny", "baseline=off")
        assert code == ExitCode.USER_ERROR
        assert "error: job 0 (model=hf baseline=off): " in drawn
        assert "refused" in drawn

    @pytest.mark.parametrize("typed", [["sweep.dry_run=true"], ["console.level=quiet"]])
    def test_neither_a_dry_run_nor_a_quiet_one_has_it(self, typed, executed, on_a_terminal):
        code, out, drawn = on_a_terminal("-m", "jit=closure,aot", *typed)
        assert (code, drawn) == (ExitCode.OK, "")
        assert "the sweep" in out
        assert ("Launching" in out) == ("dry_run" in typed[0])

    def test_in_a_pipe_each_point_is_a_line(self, place, executed, capsys):
        assert main(["-m", "jit=closure,aot"]) == ExitCode.OK
        assert executed.boards == [None, None]
        printed = capsys.readouterr()
        assert [line.split(":")[0] for line in printed.err.splitlines()] == [
            "point 0 (jit=closure)",
            "point 1 (jit=aot)",
        ]
        assert "\x1b" not in printed.out + printed.err
