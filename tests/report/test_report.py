"""A report from run folders: what its pages say and must not say, and which files there are."""

import re

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxgen.errors import UserError
from jaxgen.report import writing
from jaxgen.report.plots import choose, render, style
from jaxgen.report.plots.drawing import Drawing, Plot
from jaxgen.report.points import points_of
from jaxgen.report.writing import write_report
from jaxgen.results.collection import collect
from support import stored_runs
from support.report_pages import outline, plain, texts
from support.stored_runs import RATIO, compared, invalid, result, sweep, write, write_trials

SPEED_UP = re.compile(r"\d(\.\d+)?x\b|times faster|% faster|\[\d+\.\d+,\s\d+\.\d+\]|2\.00|1\.90")


@pytest.fixture
def undrawn(monkeypatch):
    """Plots are described and not drawn, where a test reads the words alone."""

    def sketched(drawings):
        plots = []
        for drawing in drawings:
            words = (drawing.name, drawing.title, drawing.alt, drawing.note)
            plots.append(Plot(*words, png=b"", svg=b"", inline="<svg></svg>"))
        return plots

    monkeypatch.setattr(writing, "render", sketched)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A run, reported into its own folder."""
    folder = write(tmp_path_factory.mktemp("one") / "run")
    return folder, texts(folder)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A sweep, reported into its own folder."""
    folder = sweep(tmp_path_factory.mktemp("many") / "sweep")
    return folder, texts(folder)


@pytest.mark.parametrize("form", ["md", "html"])
def test_a_report_says_all_that_a_decision_needs(one, form):
    page = " ".join(plain(one[1][form]).split())
    for words in (
        "cache=fixed is 2.00x faster than cache=none",
        RATIO,
        "identical (91 tokens)",
        "warm",
        "5 %",
        "A note of the run.",
        "EPYC",
        "jax 0.10.2",
        "python -m jaxgen cache=fixed jit=closure",
        "a" * 40,
    ):
        assert words in page, words


def test_only_settings_that_vary_are_columns(one, many):
    assert "batch_size" not in one[1]["md"]
    heads = many[1]["md"].splitlines()
    (head,) = [line for line in heads if line.startswith("| run |")]
    assert head.startswith("| run | cache | dtype | verdict |")


def test_every_plot_is_written_as_png_and_svg_and_stands_in_the_page(one):
    folder, page = one
    names = {path.stem for path in (folder / "plots").iterdir()}
    assert names == {"trials", "ratios", "latency", "startup", "memory", "roofline"}
    for name in names:
        assert (folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (folder / "plots" / f"{name}.svg").read_text()
        assert f"(plots/{name}.png)" in page["md"]
    assert page["html"].count("<svg ") == len(names)


def test_the_page_needs_no_other_file_and_no_network(one, many):
    for _, page in (one, many):
        parsed = outline(page["html"])
        assert not parsed.of("link")
        assert not parsed.of("img")
        assert all("src" not in attributes for attributes in parsed.of("script"))
        targets = re.findall(r"(?:href|src)=\"([^\"]*)\"|url\(([^)]*)\)", page["html"])
        assert all((link or url).startswith("#") for link, url in targets)
        assert "http:" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page["html"])
        (policy,) = [meta["content"] for meta in parsed.of("meta") if "http-equiv" in meta]
        assert policy.startswith("default-src 'none'")


def test_tables_and_pictures_can_be_heard(many):
    parsed = outline(many[1]["html"])
    assert len(parsed.of("caption")) == len(parsed.of("table"))
    assert all(head["scope"] in ("col", "row") for head in parsed.of("th"))
    pictures = [div for div in parsed.of("div") if div.get("role") == "img"]
    assert len(pictures) == len(parsed.of("svg"))
    assert all(len(picture["aria-label"]) > 40 for picture in pictures)
    ids = [attributes["id"] for _, attributes in parsed.seen if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("form", ["md", "html"])
def test_an_invalid_result_has_no_speed_up_anywhere(tmp_path, form):
    folder = write(tmp_path / "run", invalid())
    page = plain(texts(folder)[form])
    page = page.replace(" ± 2.00", "")
    assert "outputs differ" in page
    said = page.split("Environment")[0]
    assert not SPEED_UP.search(said), SPEED_UP.search(said)
    assert not (folder / "plots" / "ratios.png").exists()
    assert "distribution of ratios: the measurement is invalid" in page


@pytest.mark.parametrize(
    "changes", [{"verdict": "invalid"}, {"status": "failed"}, {"verdict": None}]
)
def test_a_comparison_that_no_verdict_covers_is_not_told(undrawn, tmp_path, changes):
    """Older files keep one in invalid results, and failed runs keep what they had until then."""
    folder = write(tmp_path / "run", result(**changes) | {"verdict_reason": None})
    for page in texts(folder).values():
        assert RATIO not in plain(page)


def test_a_sweep_shows_every_point_with_its_verdict_or_its_reason(many):
    page = " ".join(plain(many[1]["md"]).split())
    assert "5 points: 2 faster, 1 invalid, 1 failed, 1 not shown" in page
    assert "failed: OutOfMemory: no room for <b>1 GB</b>" in many[1]["md"].replace("\\", "")
    assert "its run is still running, or was killed" in page
    assert "Traceback: boom" in page
    names = {path.stem for path in (many[0] / "plots").glob("*.png")}
    assert {
        "ratios",
        "heat-map",
        "latency",
        "startup",
        "memory",
        "roofline",
        "run-10-trials",
    } <= names
    assert "run-2-ratios" not in names  # invalid


def test_a_grid_is_a_table_with_curves_whose_slope_is_named(tmp_path):
    grid = result(cases=stored_runs.cases((0, 16, 64, 256)), comparison={})
    for arm in grid["arms"].values():
        arm["metrics"] = {}
    page = texts(write(tmp_path / "run", grid))["md"]
    assert "| depth | verdict |" in page
    assert "over depth: slope \\-0.50" in page or "over depth: slope -0.50" in page
    without_marks = page.replace("\\", "")
    assert "Without a place on these axes (0, invalid or failed): depth=0." in without_marks
    assert (tmp_path / "run" / "plots" / "scaling.svg").exists()


def test_a_run_without_trials_says_which_plots_are_missing(undrawn, tmp_path):
    written = write_report([write(tmp_path / "run", trials=False)])
    assert {(plot.subject, plot.reason) for plot in written.left_out} == {
        ("paired trials over time", "there is no trials.csv"),
        ("distribution of ratios", "there is no trials.csv"),
    }


def test_a_trial_that_compiled_is_marked_and_makes_no_pair(undrawn, tmp_path):
    folder = write(tmp_path / "run")
    write_trials(folder, dirty=True)
    page = texts(folder)["md"]
    assert "1 of 12 trials saw a compile or were void" in page
    assert "The candidate is better in 5 of 5 pairs" in page


def test_very_many_trials_are_drawn_in_groups_and_what_compiled_stays_marked(tmp_path):
    folder = write(tmp_path / "run")
    header, *lines = (folder / "trials.csv").read_text().splitlines()
    columns = header.split(",")
    rows = [line.split(",") for line in lines * 200]
    for number, row in enumerate(rows):
        row[columns.index("block")] = str(number // 2)
    rows[7][columns.index("compile_events")] = "3"
    lines = [",".join(row) for row in rows]
    (folder / "trials.csv").write_text("\n".join([header, *lines]) + "\n")
    page = texts(folder)["md"]
    assert "Each dot is the median of 3 trials in a row. 1 of 2400 trials saw a compile" in page
    assert (folder / "plots" / "trials.svg").stat().st_size < 200_000


def test_a_selftest_shows_every_interval(undrawn, tmp_path):
    equal = [compared(ratio)["tokens_per_s"] for ratio in (0.99, 1.0, 1.2)]
    slowed = [
        compared(0.9)["tokens_per_s"],
        {"process": 0, "verdict": "invalid", "reason": "no pair was measured"},
    ]
    selftest = {
        "same": equal,
        "slowed": slowed,
        "rates": {},
        "slowdown": 0.05,
        "margin": 0.01,
        "faults": {},
    }
    study = result(verdict=None, comparison={}, selftest=selftest)
    page = texts(write(tmp_path / "run", study))["md"]
    assert "2 of 3 intervals of equal arms hold 1, 1 of 1 with more work end below it" in page
    assert "distribution of ratios" not in page


def test_a_calibration_shows_every_interval(undrawn, tmp_path):
    calibration = {
        "floor": 0.02,
        "key": "cpu",
        "comparisons": [compared(ratio)["tokens_per_s"] for ratio in (0.9, 1.01)],
    }
    study = result(verdict=None, comparison={}, calibration=calibration)
    page = texts(write(tmp_path / "run", study))["md"]
    assert "1 of 2 intervals of equal arms hold 1" in page
    assert "grey what counts as equal" in page


def test_faults_and_random_weights_are_told(undrawn, tmp_path):
    faulty = result()
    baseline = faulty["arms"]["baseline"]
    baseline["config"]["fault"] = {"slowdown": 0.1, "clock": 1.0}
    baseline["weights"]["random"] = True
    page = plain(texts(write(tmp_path / "run", faulty))["md"])
    assert "A fault was put into the baseline on purpose: slowdown=0.1." in page
    assert "The baseline has random weights." in page


def test_a_point_of_a_sweep_is_reproduced_by_its_own_overrides(undrawn, tmp_path):
    folder = sweep(tmp_path / "sweep")
    (folder / "1" / ".hydra").mkdir()
    (folder / "1" / ".hydra" / "overrides.yaml").write_text("- cache=fixed\n- prompts.text='a b'\n")
    page = texts(folder)["md"]
    assert "python -m jaxgen cache=fixed 'prompts.text='\"'\"'a b'\"'\"''" in page


def test_the_same_results_make_the_same_files_and_old_plots_go(tmp_path):
    folder = write(tmp_path / "run")
    write_report([folder])
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    write_report([folder])
    assert before == {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "plots" / "mine.png").write_text("kept")
    write(folder, invalid())
    write_report([folder])
    left = {path.name for path in (folder / "plots").iterdir()}
    assert "mine.png" in left
    assert not {"ratios.png", "ratios.svg"} & left


def test_several_runs_are_reported_beside_each_other(undrawn, tmp_path):
    paths = [write(tmp_path / name) for name in ("one", "two")]
    assert write_report(paths).html == tmp_path / "report" / "report.html"
    assert write_report(paths, out=tmp_path / "there").html == tmp_path / "there" / "report.html"


def test_a_folder_that_cannot_be_written_is_the_user_s_to_mend(undrawn, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    with pytest.raises(UserError, match="--out DIR"):
        write_report([write(tmp_path / "run")], out=blocked)


def test_drawing_leaves_matplotlib_as_it_was(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    described = choose.overview(points_of(collect([write(tmp_path / "run")]).runs))
    render.render([plot for plot in described if isinstance(plot, Drawing)])
    assert dict(matplotlib.rcParams) == before


def test_the_key_of_a_plot_stays_inside_the_picture(tmp_path):
    """Arms that differ in much have long names: what does not fit is left out."""
    candidate = stored_runs.arm(2.0, jit="partial_kept", dtype="bfloat16")
    baseline = stored_runs.arm(1.0, cache="dynamic", jit="captured", model="qwen2_5_0_5b")
    folder = write(tmp_path / "run", result(arms={"candidate": candidate, "baseline": baseline}))
    trials = choose.overview(points_of(collect([folder]).runs))[0]
    figure = Figure(figsize=(style.WIDTH_IN, trials.height_in), layout="constrained")
    with matplotlib.rc_context(style.RC):
        trials.put(figure)
        FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == [
        "candidate (model=tiny, …): median 200 tokens/s",
        "baseline (model=qwen2_5_0_5b, …): median 100 tokens/s",
    ]
    assert axes.get_legend().get_window_extent().x1 <= figure.bbox.x1
