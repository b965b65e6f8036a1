"""What a terminal shows beside the tables: progress, verdict, folder, and colours."""

import pytest
from rich.console import Console as Terminal

from jaxgen.console.progress import Console
from jaxgen.console.sweep_board import Board
from jaxgen.specs.console import ConsolePlan, Level
from jaxgen.specs.measure import Measure
from support.small_runs import VERDICT, experiment_of, finished_result, trial_row, warm_call
from support.stand_in_terminal import Screen

ESCAPE = "\x1b"


@pytest.fixture
def shown(tmp_path, capsys):
    """Print a summary after some progress; return its lines."""

    def show(result, *, level=Level.normal):
        with (
            Console(at_level(level), tmp_path) as console,
            console.stage("candidate", "load") as progress,
        ):
            progress("restore", 1, 2)
            console.block(1, pairs=4, plan=Measure(processes=2), process=1, case=1)
        console.summary(result)
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out.splitlines()

    return show


class TestVerdict:
    def test_it_is_one_line_with_the_folder_below(self, shown, tmp_path):
        lines = shown(finished_result(tmp_path, **VERDICT))
        assert lines[-2:] == [" faster  cache=fixed is 2.00x faster than cache=none", str(tmp_path)]

    @pytest.mark.parametrize(
        "verdict", ["faster", "slower", "equivalent", "inconclusive", "invalid"]
    )
    def test_every_verdict_can_be_shown(self, verdict, shown, tmp_path):
        lines = shown(finished_result(tmp_path, verdict=verdict, verdict_reason="so it is"))
        assert lines[-2] == f" {verdict}  so it is"

    def test_a_long_reason_stays_on_its_line(self, shown, tmp_path):
        lines = shown(finished_result(tmp_path, verdict="invalid", verdict_reason="because " * 40))
        assert lines[-2].count("because") == 40

    def test_without_a_verdict_there_is_the_folder_alone(self, shown, tmp_path):
        lines = shown(finished_result(tmp_path))
        assert lines[-1] == str(tmp_path)
        assert lines[-2].startswith("cells: geometric means over blocks of trials ± standard")

    def test_a_failed_run_says_so(self, shown, tmp_path):
        lines = shown(finished_result(tmp_path, status="failed"))
        assert lines[-2] == "the run failed; what was measured until then is kept"

    def test_the_tables_stand_above_it(self, shown, tmp_path):
        lines = shown(finished_result(tmp_path, notes=["mind [this]"], **VERDICT))
        assert any(line.startswith("tokens/s") for line in lines)
        assert lines.index("note: mind [this]") == len(lines) - 3


class TestTerminal:
    @pytest.fixture(autouse=True)
    def plain_terminal(self, monkeypatch):
        for name in ("FORCE_COLOR", "NO_COLOR", "TERM"):
            monkeypatch.delenv(name, raising=False)

    def test_nothing_but_text_goes_into_a_pipe(self, shown, tmp_path):
        assert ESCAPE not in "\n".join(shown(finished_result(tmp_path, **VERDICT)))

    def test_colours_are_for_terminals(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        Console(experiment_of(), tmp_path).summary(finished_result(tmp_path, **VERDICT))
        assert f"{ESCAPE}[1;32m faster {ESCAPE}[0m" in capsys.readouterr().out

    def test_no_color_means_no_escape_at_all(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("NO_COLOR", "1")
        Console(experiment_of(), tmp_path).summary(finished_result(tmp_path, **VERDICT))
        assert ESCAPE not in capsys.readouterr().out


class TestProgress:
    @pytest.fixture
    def progress(self, tmp_path, monkeypatch):
        """Do something with a console whose standard error is a terminal; return what was drawn."""
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "160")
        monkeypatch.delenv("NO_COLOR", raising=False)

        def drawn(act):
            screen = Screen()
            monkeypatch.setattr("sys.stderr", screen)
            with Console(experiment_of(), tmp_path) as console:
                act(console)
            return screen.getvalue()

        return drawn

    @pytest.mark.parametrize(
        ("plan", "position", "words"),
        [
            ({"processes": 1}, {"process": 0, "case": 0}, "block 2 of at most 48, 3 pairs each"),
            ({"processes": 2}, {"process": 1, "case": 0}, "24, 3 pairs each, processes 2 of 2"),
            ({"processes": 1}, {"process": 0, "case": 3}, "3 pairs each, case 4"),
        ],
        ids=["alone", "processes", "cases"],
    )
    def test_blocks_are_counted_with_their_processes_and_cases(
        self, plan, position, words, progress
    ):
        drawn = progress(
            lambda console: console.block(2, pairs=3, plan=Measure(**plan), **position)
        )
        assert words in drawn

    def test_the_measurements_of_a_study_are_counted(self, progress):
        assert "3 of 20 measurements" in progress(
            lambda console: console.repetition(3, 20, study="calibrate")
        )


def at_level(level):
    """An experiment whose console shows so much."""
    return experiment_of(console=ConsolePlan(level))


def go_through(console):
    """Some of what a run tells its console."""
    with console, console.stage("candidate", "load"):
        console.compiled("candidate", [warm_call(), warm_call(events=0, functions={})])
        console.trial(trial_row("baseline"))
        console.trial(trial_row("baseline", compile_events=2, functions={"step": 1}, void=True))
        console.block(1, pairs=4, plan=Measure(), process=0, case=0)


class TestLevels:
    def test_quiet_is_the_verdict_and_the_folder(self, shown, tmp_path):
        lines = shown(finished_result(tmp_path, notes=["a note"], **VERDICT), level=Level.quiet)
        assert lines == [" faster  cache=fixed is 2.00x faster than cache=none", str(tmp_path)]

    def test_quiet_has_a_gate_s_word_and_a_failure_s_reason(self, shown, tmp_path):
        gate = {"status": "regression", "reason": "slower by 12 %", "rows": [], "notes": ["a note"]}
        lines = shown(finished_result(tmp_path, gate=gate), level=Level.quiet)
        assert lines == [" gate: regression  slower by 12 %", str(tmp_path)]
        lines = shown(
            finished_result(tmp_path, status="failed", notes=["no room"]),
            level=Level.quiet,
        )
        assert lines[:2] == [
            "note: no room",
            "the run failed; what was measured until then is kept",
        ]

    def test_quiet_draws_no_progress_on_a_terminal(self, tmp_path, monkeypatch):
        screen = Screen()
        monkeypatch.setattr("sys.stderr", screen)
        go_through(Console(at_level(Level.quiet), tmp_path))
        assert screen.getvalue() == ""

    def test_verbose_tells_each_stage_and_each_compile_as_it_comes(self, tmp_path, capsys):
        go_through(Console(at_level(Level.verbose), tmp_path))
        first, second, trial, block, stage = capsys.readouterr().err.splitlines()
        assert first == (
            "candidate call 1 of the warm-up: 1.2 s, 6 compile events (loop); "
            "trace 0.5 s, lower 0.2 s, compile 0.1 s"
        )
        assert "nothing compiled" in second
        assert trial == "baseline  trial in block 1, pair 1: 2 compile events (step), so it is void"
        assert block.startswith("trials    block 1 of at most")
        assert stage.startswith("candidate load: 0.")

    def test_normal_tells_none_of_that(self, tmp_path, capsys):
        go_through(Console(experiment_of(), tmp_path))
        assert capsys.readouterr().err == ""


class TestInASweep:
    @pytest.fixture
    def screen(self):
        return Terminal(file=Screen(), force_terminal=True, width=160, height=40, color_system=None)

    def test_progress_goes_below_the_board_and_the_outcome_into_its_row(
        self, tmp_path, screen, capsys
    ):
        with Board([{"jit": "aot"}, {"jit": "eager"}], screen) as board:
            board.begin(0, {"jit": "aot"})
            console = Console(experiment_of(), tmp_path, board=board)
            with console, console.stage("candidate", "load"):
                board._live.refresh()
            console.summary(finished_result(tmp_path, **VERDICT))
        drawn = screen.file.getvalue()
        assert drawn.index("running") < drawn.index("candidate load")
        assert "tokens/s" not in drawn
        assert capsys.readouterr().out == ""

    def test_verbose_shows_the_tables_above_the_board(self, tmp_path, screen):
        with Board([{"jit": "aot"}], screen) as board:
            Console(at_level(Level.verbose), tmp_path, board=board).summary(
                finished_result(tmp_path, **VERDICT)
            )
        assert "tokens/s" in screen.file.getvalue()
