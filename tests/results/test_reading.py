"""Which results can be shown: everything else is named, in one line."""

import json

import pytest

from jaxgen.errors import UserError
from jaxgen.report.points import points_of
from jaxgen.results.collection import collect
from support.stored_runs import result, sweep, write

REFUSED = {
    "of a newer version": (
        result(schema_version=2),
        (
            "its schema_version is 2, and this jaxgen reads 1; "
            "a newer jaxgen wrote it: update this one, or measure again"
        ),
    ),
    "of an older version": (
        result(schema_version=0),
        "its schema_version is 0, and this jaxgen reads 1; measure again",
    ),
    "of a version in words": (
        result(schema_version="beta"),
        "its schema_version is beta, and this jaxgen reads 1",
    ),
    "of no version": ({"status": "completed"}, "it is no result.json of jaxgen"),
    "no table": ([1, 2], "it is no result.json of jaxgen"),
    "running": (result(status="running"), "still running, or was killed"),
    "of an unknown status": (result(status="paused"), "its status is paused"),
    "without a candidate": (result(arms={}), "damaged: arms.candidate is missing"),
    "with a metric of text": (
        result(
            arms={"candidate": {"metrics": {"x": {"unit": "s", "better": "lower", "median": "1"}}}}
        ),
        "damaged: arms.candidate.metrics.x.median is not a number",
    ),
    "broken": ('{"schema_version": 1,', "broken JSON in line 1, column 22"),
    "with a NaN": ('{"schema_version": NaN}', "broken JSON: NaN is no number of JSON"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_run_that_is_named_and_cannot_be_shown_is_refused_in_one_line(tmp_path, what):
    told, reason = REFUSED[what]
    (tmp_path / "result.json").write_text(told if isinstance(told, str) else json.dumps(told))
    with pytest.raises(UserError) as error:
        collect([tmp_path])
    assert reason in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("what", REFUSED)
def test_in_a_sweep_it_is_shown_by_name(tmp_path, what):
    told, reason = REFUSED[what]
    write(tmp_path / "0")
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "result.json").write_text(told if isinstance(told, str) else json.dumps(told))
    collection = collect([tmp_path])
    assert [run.name for run in collection.runs] == ["0"]
    assert [(each.name, reason in each.reason) for each in collection.unread] == [("1", True)]


def test_runs_of_a_sweep_come_in_their_order(tmp_path):
    collection = collect([sweep(tmp_path)])
    assert [run.name for run in collection.runs] == ["0", "1", "2", "10"]
    assert collection.home == tmp_path


def test_a_numbered_folder_without_a_result_is_named(tmp_path):
    write(tmp_path / "0")
    (tmp_path / "1").mkdir()
    (tmp_path / "logs").mkdir()
    assert [(each.name, each.reason) for each in collect([tmp_path]).unread] == [
        ("1", "there is no result.json")
    ]


def test_a_run_is_given_as_its_folder_or_its_result(tmp_path):
    folder = write(tmp_path / "run")
    for path in (folder, folder / "result.json", str(folder)):
        (run,) = collect([path]).runs
        assert (run.folder, run.name, len(run.trials)) == (folder, "run", 12)
    assert len(collect([folder, folder / "result.json"]).runs) == 1


@pytest.mark.parametrize("path", ["missing", "empty", "trials.csv"])
def test_what_is_no_run_is_the_user_s_error(tmp_path, path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "trials.csv").write_text("")
    with pytest.raises(UserError, match=path):
        collect([tmp_path / path])


def test_damaged_trials_leave_the_result_readable(tmp_path):
    folder = write(tmp_path / "run")
    (folder / "trials.csv").write_text(
        "process,block,pair,arm,compile_events,void\n0,x,0,candidate,0,False\n"
    )
    (run,) = collect([folder]).runs
    assert run.trials == ()
    assert "trials.csv is damaged" in (run.no_trials or "")


def test_points_that_left_nothing_are_named_with_their_reason(tmp_path):
    folder = sweep(tmp_path / "sweep")
    points = [{"folder": "0", "overrides": {"jit": "aot"}, "reason": None}]
    points += [
        {"folder": "99", "overrides": {"cache": "none", "jit": "aot"}, "reason": "it cannot be"}
    ]
    (folder / "sweep.json").write_text(json.dumps({"points": points}))
    never = [each for each in collect([folder]).unread if each.name == "99"]
    assert [each.reason for each in never] == ["cache=none jit=aot: it cannot be"]
    (folder / "sweep.json").write_text("{")
    assert not [each for each in collect([folder]).unread if each.name == "99"]


def test_settings_that_are_the_same_number_at_every_point_are_told_once(tmp_path):
    for number, rows in enumerate((1, 4)):
        told = result()
        for arm in told["arms"].values():
            arm["config"] = arm["config"] | {
                "workload": {"batch_size": rows},
                "prompts": {"count": rows},
            }
        write(tmp_path / str(number), told)
    points = points_of(collect([tmp_path]).runs)
    assert [point.settings for point in points] == [
        {"workload.batch_size": "1"},
        {"workload.batch_size": "4"},
    ]
