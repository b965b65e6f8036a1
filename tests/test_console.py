"""What the person at the terminal reads when a run is done."""

import re

import pytest
from small_runs import arm, loaded_facts, trial_row, two_arms

from jaxgen.console import Console
from jaxgen.measure.statistics import summarise
from jaxgen.record import Record

ESCAPE = "\x1b"


def measured(folder, *, arms=None, speeds=(200.0, 100.0), **changed):
    """A finished result: three blocks of two pairs."""
    arms = arms or two_arms()
    record = Record(arms, folder)
    for name, speed in zip(arms, speeds, strict=False):
        record.loaded(name, loaded_facts())
        record.warmed(name, {"warmup_s": 1.25})
        for block in range(3):
            for pair in range(2):
                record.add_trial(trial_row(name, block=block, pair=pair, tokens_per_s=speed * (1 + 0.01 * pair)))
    record.compare()
    record.finish("completed")
    return record.result | changed


VERDICT = {
    "verdict": "faster",
    "verdict_reason": "cache=fixed is 2.00x faster than cache=none",
    "agreement": {"status": "identical", "tokens_compared": 12},
}


@pytest.fixture
def shown(tmp_path, capsys):
    """Prints a summary; returns its lines."""

    def show(result, *, arms=None):
        with Console(arms or two_arms(), tmp_path) as console, console.stage("candidate", "load") as progress:
            progress("restore", 1, 2)
        console.summary(result)
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out.splitlines()

    return show


def row(lines, start):
    return re.split(r"\s{2,}", next(line for line in lines if line.startswith(start)).strip())


class TestTable:
    def test_of_the_choices_only_those_that_vary_are_shown(self, shown, tmp_path):
        lines = shown(measured(tmp_path))
        assert row(lines, "cache") == ["cache", "fixed", "none"]
        assert not any(line.startswith(("jit", "baseline")) for line in lines)

    def test_medians_and_the_ratio_stand_side_by_side(self, shown, tmp_path):
        lines = shown(measured(tmp_path))
        assert row(lines, "tokens") == ["tokens/s", "201.0 ± 1.1", "100.5 ± 0.55", "2.00 [2.00, 2.00]"]
        assert row(lines, "latency")[1:] == ["19.90 ± 0.11", "39.80 ± 0.22", "2.00 [2.00, 2.00]"]

    def test_compiles_warm_up_and_outputs_are_told(self, shown, tmp_path):
        lines = shown(measured(tmp_path, **VERDICT))
        assert row(lines, "compiles")[1:] == ["0 in 6", "0 in 6"]
        assert row(lines, "compile + warm-up")[1:] == ["1.2 s", "1.2 s"]
        assert row(lines, "outputs")[1:] == ["identical (12 tokens)"]

    def test_one_arm_alone_has_a_column_of_its_own(self, shown, tmp_path):
        arms = {"candidate": arm("candidate")}
        lines = shown(measured(tmp_path, arms=arms), arms=arms)
        assert row(lines, "tokens")[1:] == ["201.0 ± 1.1"]
        assert "baseline" not in lines[0]

    def test_what_was_not_measured_is_a_dash(self, shown, tmp_path):
        record = Record(two_arms(), tmp_path)
        for name in two_arms():
            record.loaded(name, loaded_facts())
        record.finish("failed")
        lines = shown(record.result)
        assert row(lines, "tokens")[1:] == ["-", "-"]
        assert row(lines, "compile + warm-up")[1:] == ["-", "-"]

    @pytest.mark.parametrize("speed", [3e-5, 0.012, 12345.678, 98765432.1])
    def test_figures_have_no_exponents(self, speed, shown, tmp_path):
        lines = shown(measured(tmp_path, speeds=(speed, speed / 1234)))
        figures = " ".join(row(lines, "tokens")[1:] + row(lines, "latency")[1:])
        assert not re.search(r"\de[+-]", figures)

    @pytest.mark.parametrize("speeds", [(200.0, 100.0), (98765432.1, 12345.6), (0.123, 0.456)])
    def test_the_table_fits_eighty_columns(self, speeds, shown, tmp_path):
        result = measured(tmp_path, speeds=speeds, **VERDICT)
        lines = shown(result)
        table = lines[: next(index for index, line in enumerate(lines) if line.startswith("outputs")) + 1]
        assert max(map(len, table)) <= 80
        assert len(table) == 7


class TestVerdict:
    def test_it_is_one_line_with_the_folder_below(self, shown, tmp_path):
        lines = shown(measured(tmp_path, **VERDICT))
        assert lines[-2:] == [" faster  cache=fixed is 2.00x faster than cache=none", str(tmp_path)]

    @pytest.mark.parametrize("verdict", ["faster", "slower", "equivalent", "inconclusive", "invalid"])
    def test_every_verdict_can_be_shown(self, verdict, shown, tmp_path):
        lines = shown(measured(tmp_path, verdict=verdict, verdict_reason="so it is"))
        assert lines[-2] == f" {verdict}  so it is"

    def test_a_failed_run_says_so(self, shown, tmp_path):
        assert "the run failed; what was measured until then is kept" in shown(measured(tmp_path, status="failed"))

    def test_notes_are_shown_as_they_are(self, shown, tmp_path):
        assert "note: mind [this]" in shown(measured(tmp_path, notes=["mind [this]"]))


class TestTerminal:
    def test_nothing_but_text_goes_into_a_pipe(self, shown, tmp_path):
        assert ESCAPE not in "\n".join(shown(measured(tmp_path, **VERDICT)))

    def test_colours_are_for_terminals(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        Console(two_arms(), tmp_path).summary(measured(tmp_path, **VERDICT))
        assert f"{ESCAPE}[1;32m faster {ESCAPE}[0m" in capsys.readouterr().out

    def test_no_color_means_no_escape_at_all(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("NO_COLOR", "1")
        Console(two_arms(), tmp_path).summary(measured(tmp_path, **VERDICT))
        assert ESCAPE not in capsys.readouterr().out


def test_a_metric_of_one_sample_has_no_spread(shown, tmp_path):
    result = measured(tmp_path)
    for name in result["arms"]:
        result["arms"][name]["metrics"] = {"tokens_per_s": summarise([50.0], unit="tokens/s", better="higher")}
    assert row(shown(result), "tokens")[1:3] == ["50.00", "50.00"]
