"""`python -m jaxgen.report RUN --wandb`: the comparison as a report on wandb, or as a file."""

import importlib.util
import json
import subprocess
import sys
import time

import pytest

from jaxgen.report.__main__ import main
from jaxgen.specs.tracker import Mode, Wandb
from jaxgen.tracking import log_state, publishing, track
from jaxgen.tracking.report_sheet import Sheet
from support import stored_runs
from support.stand_in_wandb import KEY, serving
from support.tracked_runs import NAME, finished_run, home_of_its_own

CHECK = """
import sys
from wandb_workspaces.reports.v2.internal import Spec
Spec.model_validate_json(sys.stdin.read())
"""

EMPTY = Sheet(title="nothing", opening="", closing="", metrics={}, ratios=[], several=False)


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory):
    with home_of_its_own(tmp_path_factory.mktemp("home")), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))
        yield


def as_logged(folder, *, group="a group", project="jaxgen", sent=False):
    """Write what the tracker notes of a run folder, without starting wandb; return the folder."""
    order = log_state.Order(
        str(folder), "t", project=project, entity=None, group=group, tags=[], name=folder.name
    )
    logged = log_state.Logged(order, server="http://nowhere", runs=(), problems=())
    for arm in ("candidate", "baseline"):
        place = folder / "wandb" / f"offline-run-{arm}"
        place.mkdir(parents=True)
        if sent:
            (place / f"run-{arm}.wandb.synced").touch()
        run = log_state.LoggedRun(arm, id=f"{folder.name}-{arm}", place=place.name)
        logged = logged.with_run(run, problems=())
    log_state.write(logged)
    return folder


@pytest.fixture(scope="module")
def extra():
    """Skip where the extra is not installed."""
    if importlib.util.find_spec("wandb_workspaces") is None:
        pytest.skip("wandb-workspaces is not installed")


@pytest.fixture(scope="module")
def sent(tmp_path_factory, _home, extra):
    """A run that was logged and sent, and the server that has it."""
    with serving() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_BASE_URL", server.url)
        patch.setenv("WANDB_API_KEY", KEY)
        folder = finished_run(tmp_path_factory.mktemp("runs") / NAME)
        (note,) = track(
            Wandb(mode=Mode.online, project="p", entity="team", finish_timeout_s=120), folder
        )
        assert note.startswith("wandb: sent, ")
        yield folder, server


@pytest.fixture(scope="module")
def alone(tmp_path_factory, _home, extra):
    """A run that was logged and not sent: its report's specification."""
    folder = as_logged(
        stored_runs.write(tmp_path_factory.mktemp("runs") / "one"), group="group='x'"
    )
    assert main([str(folder), "--wandb"]) == 0
    return (folder / "report.wandb.json").read_text()


@pytest.fixture
def answering(monkeypatch):
    """Have the report go to a server."""

    def at(server):
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        return server

    return at


def blocks_of(text):
    """The specification's blocks, by type."""
    return {block["type"]: block for block in json.loads(text)["blocks"]}


def filters_of(grid):
    """{arm: {key: value}} of the run sets."""
    return {
        each["name"]: {item["key"]["name"]: item["value"] for item in each["filters"]["filters"]}
        for each in grid["metadata"]["runSets"]
    }


def panels_of(grid):
    """(type, title, what is drawn) of each panel."""
    shown = grid["metadata"]["panelBankSectionConfig"]["panels"]
    return [
        (each["viewType"], each["config"].get("chartTitle"), each["config"].get("metrics", [])[-1:])
        for each in shown
    ]


@pytest.mark.slow
class TestSaved:
    def test_it_is_saved_where_its_runs_are_and_shows_just_them(self, sent, answering, capsys):
        folder, server = sent
        answering(server)
        assert main([str(folder), "--wandb"]) == 0
        *_, spec, url = capsys.readouterr().out.splitlines()
        assert spec == str(folder / "report.wandb.json")
        assert url.startswith(f"{server.url}/team/p/reports/")
        assert url.endswith("--view1")
        (view,) = server.reports
        assert (view["entityName"], view["projectName"], view["type"]) == ("team", "p", "runs")
        grid = blocks_of(view["spec"])["panel-grid"]
        for arm, filters in filters_of(grid).items():
            (name,) = [name for name, run in server.runs.items() if run["jobType"] == arm]
            assert filters == {
                "group": [server.runs[name]["groupName"]],
                "jobType": arm,
                "name": [name],
            }
            history = {key for row in server.history[name] for key in row}
            drawn = {
                metric
                for kind, _, metrics in panels_of(grid)
                if kind == "Run History Line Plot"
                for metric in metrics
            }
            assert drawn <= history
        assert [each["project"]["id"] for each in grid["metadata"]["runSets"]] == ["7", "7"]

    @pytest.mark.parametrize(
        ("behaviour", "reason"),
        [
            ({"silent": True}, "gave no answer within 1 s"),
            ({"dies_at": "upsertView"}, "did not take it (it was not done after 7 s)"),
            ({"refuses": "upsertView"}, "did not take it (input: not for you)"),
            ({"status": 401}, "did not take it (Failed to verify credentials with"),
        ],
        ids=["silent", "dying", "refusing the report", "refusing the key"],
    )
    def test_a_bad_server_costs_its_time_limit_and_the_file_is_there(
        self, behaviour, reason, sent, answering, monkeypatch, tmp_path
    ):
        monkeypatch.setattr(publishing.upload, "INIT_TIMEOUT_S", 1.0)
        monkeypatch.setattr(publishing, "SAVE_LIMIT_S", 7.0)
        with serving(**behaviour) as server:
            answering(server)
            begin = time.monotonic()
            published = publishing.publish(EMPTY, [sent[0]], home=tmp_path)
            assert time.monotonic() - begin < 40
        assert published.problem.startswith(f"{server.url} {reason}")
        assert json.loads(published.spec.read_text())["blocks"]

    def test_without_a_key_it_says_so(self, sent, answering, monkeypatch, capsys):
        folder, server = sent
        answering(server)
        monkeypatch.delenv("WANDB_API_KEY")
        assert main([str(folder), "--wandb"]) == 1
        error = capsys.readouterr().err
        reason = f"{server.url} did not take it (there is no API key: "
        assert error.startswith(f"error: wandb: {reason}")
        assert error.count("\n") == 1


@pytest.mark.slow
class TestOffline:
    def test_the_library_takes_it_for_a_report(self, alone):
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CHECK], input=alone, text=True, check=True
        )

    def test_it_says_what_the_pages_say(self, alone):
        opening, closing = [
            b["content"] for b in json.loads(alone)["blocks"] if b["type"] == "markdown-block"
        ]
        assert opening.startswith("**faster: ")
        assert "2.00x faster" in opening
        assert "| tokens/s | " in opening
        assert "python -m jaxgen cache=fixed jit=closure" in closing

    def test_it_draws_the_trials_the_medians_and_the_ratio(self, alone):
        panels = panels_of(blocks_of(alone)["panel-grid"])
        assert ("Run History Line Plot", "tokens/s, every trial", ["trial/tokens_per_s"]) in panels
        assert ("Bar Chart", "latency, s, median", ["metrics.latency_s.median"]) in panels
        (scalar,) = [metrics for kind, _, metrics in panels if kind == "Scalar Chart"]
        assert scalar == ["against_baseline.tokens_per_s.ratio"]
        assert [kind for kind, *_ in panels].count("Run Comparer") == 1

    def test_a_group_that_a_filter_cannot_carry_is_left_to_the_ids(self, alone):
        assert filters_of(blocks_of(alone)["panel-grid"])["candidate"] == {
            "jobType": "candidate",
            "name": ["one-candidate"],
        }

    def test_a_sweep_is_one_report_in_which_each_run_has_its_bar(self, tmp_path, extra, capsys):
        folder = stored_runs.sweep(tmp_path / "sweep")
        for name in ("0", "1", "2"):
            as_logged(folder / name, group="sweep")
        assert main([str(folder), "--wandb"]) == 0
        assert "6 of its 6 wandb runs are not sent yet" in capsys.readouterr().out
        text = (folder / "report.wandb.json").read_text()
        panels = panels_of(blocks_of(text)["panel-grid"])
        assert ("Bar Chart", ["against_baseline.tokens_per_s.ratio"]) in [
            (kind, shown) for kind, _, shown in panels
        ]
        assert "Scalar Chart" not in [kind for kind, *_ in panels]
        filters = filters_of(blocks_of(text)["panel-grid"])["baseline"]
        assert filters == {
            "group": ["sweep"],
            "jobType": "baseline",
            "name": [f"{n}-baseline" for n in range(3)],
        }


def test_runs_that_wandb_has_never_heard_of_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(publishing, "require", lambda: None)
    assert main([str(stored_runs.write(tmp_path / "one")), "--wandb"]) == 1
    assert "none of these runs was logged to wandb" in capsys.readouterr().err


def test_runs_of_two_projects_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(publishing, "require", lambda: None)
    folders = [
        as_logged(stored_runs.write(tmp_path / project), project=project, sent=True)
        for project in ("one", "two")
    ]
    assert main([*map(str, folders), "--wandb"]) == 1
    assert "in several projects of wandb (your own/one, your own/two)" in capsys.readouterr().err


def test_without_the_extra_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    folder = stored_runs.write(tmp_path / "one")
    assert main([str(folder), "--wandb"]) == 1
    printed = capsys.readouterr()
    assert printed.err == (
        "error: --wandb needs wandb-workspaces, which is not installed here; "
        "pip install 'jaxgen[wandb-report]' brings it\n"
    )
    assert not (folder / "report.html").exists()


def test_a_grid_s_ratios_are_left_to_the_table(tmp_path, monkeypatch):
    """Each case has a ratio; a wandb run has none then."""
    sheets, published = [], publishing.Published(tmp_path, url="there")
    monkeypatch.setattr(publishing, "require", lambda: None)
    monkeypatch.setattr(
        publishing, "publish", lambda sheet, folders, home: sheets.append(sheet) or published
    )
    grid = stored_runs.result(cases=stored_runs.cases((0, 8)))
    folder = stored_runs.write(tmp_path / "one", grid)
    assert main([str(folder), "--wandb"]) == 0
    assert (sheets[0].ratios, sheets[0].several) == ([], False)
    assert sheets[0].metrics == {"tokens_per_s": "tokens/s", "latency_s": "latency, s"}
