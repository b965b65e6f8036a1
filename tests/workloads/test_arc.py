"""ARC tasks as prompts, grids out of answers, and what cannot be either."""

import json

import pytest

from jaxgen.errors import UserError
from jaxgen.specs.cache import Fixed
from jaxgen.specs.fault import Fault
from jaxgen.specs.prompts import Arc
from jaxgen.workloads.arc import Task, graded, parse, read_tasks, tally
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.generate import Generating
from jaxgen.workloads.prompts import Prompt, read
from support import small_models

FLIP = {
    "train": [{"input": [[1, 0], [2, 0]], "output": [[0, 1], [0, 2]]}],
    "test": [{"input": [[3, 4]], "output": [[4, 3]]}, {"input": [[5]], "output": [[5]]}],
}
LONG = {"train": FLIP["train"] * 9, "test": FLIP["test"]}
PROMPT = "grid\n1 0\n2 0\nanswer\n0 1\n0 2\n\ngrid\n3 4\nanswer\n"
BYTES = Codec(None, vocab_size=256, random=True)


@pytest.fixture
def folder(tmp_path):
    """Two tasks, one of them in a subfolder and nine times as long."""
    (tmp_path / "more").mkdir()
    (tmp_path / "flip.json").write_text(json.dumps(FLIP))
    (tmp_path / "more" / "long.json").write_text(json.dumps(LONG))
    return tmp_path


def test_a_task_is_its_training_pairs_and_the_question(folder):
    (text, task), (long, _) = read_tasks(str(folder))
    assert text == PROMPT
    assert task == Task("flip", expected=((4, 3),), num_tasks=2)
    assert long.count("answer") == 10


def test_one_file_is_one_task(folder):
    assert [task.num_tasks for _, task in read_tasks(str(folder / "flip.json"))] == [1]


def test_the_answer_itself_parses_to_what_is_expected(folder):
    ((_, task), *_) = read_tasks(str(folder))
    assert graded(task, "4 3\n\ngrid\n") == {"task": "flip", "grid": [[4, 3]], "correct": True}


@pytest.mark.parametrize(
    ("text", "grid"),
    [
        ("1 2\n3 4\n", ((1, 2), (3, 4))),
        ("1 2\n3 4\nanswer\n5 6", ((1, 2), (3, 4))),
        ("7", ((7,),)),
        ("1 2\n3\n", None),
        ("12 3\n", None),
        ("\n1 2\n", None),
        ("the cat", None),
        ("", None),
        (None, None),
        ("²\n", None),
        ("1 " * 31, None),
    ],
    ids=repr,
)
def test_a_grid_is_what_a_text_begins_with(text, grid):
    assert parse(text) == grid


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[", "is no ARC task"),
        ("[]", "is no object"),
        ('{"train": [], "test": []}', "has no list train"),
        (
            json.dumps({"train": FLIP["train"], "test": [{"input": [[1]], "output": [[10]]}]}),
            "an output is no grid",
        ),
        (
            json.dumps(
                {"train": [{"input": [[1], [1, 2]], "output": [[1]]}], "test": FLIP["test"]}
            ),
            "an input is no",
        ),
        (
            json.dumps({"train": [{"input": [[True]], "output": [[1]]}], "test": FLIP["test"]}),
            "an input is no",
        ),
    ],
)
def test_what_is_no_task_is_named(folder, content, words):
    (folder / "bad.json").write_text(content)
    with pytest.raises(UserError, match=r"bad\.json") as caught:
        read_tasks(str(folder))
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere", "more/none"])
def test_a_place_without_tasks_is_refused(folder, name):
    (folder / "more" / "none").mkdir()
    with pytest.raises(UserError, match=r"prompts\.path="):
        read_tasks(str(folder / name))


def test_long_tasks_are_left_out_and_counted(folder):
    (prompt,) = read(Arc(path=str(folder), max_tokens=len(PROMPT)), BYTES)
    assert (prompt.text, prompt.task.name, prompt.task.num_tasks) == (PROMPT, "flip", 2)
    rows = [graded(prompt.task, "4 3\n")]
    assert tally(rows, num_tasks=prompt.task.num_tasks) == {
        "asked": 1,
        "parsed": 1,
        "correct": 1,
        "left_out": 1,
    }
    with pytest.raises(UserError, match="leaves no task: the shortest has"):
        read(Arc(path=str(folder), max_tokens=3), BYTES)


def test_a_workload_marks_every_answer():
    model = small_models.engine(small_models.run(cache=Fixed(bucket=0), batch_size=2))
    prompts = [
        Prompt(tokens=tokens, task=Task("t", expected=((1,),), num_tasks=5))
        for tokens in small_models.PROMPTS[:2]
    ]
    workload = Generating(
        model, prompts, Codec(None, vocab_size=97, random=True), faults=Faults(Fault())
    )
    call = workload.call(0)
    rows = workload.outputs(0, call)
    assert [(row["task"], row["grid"], row["correct"]) for row in rows] == [("t", None, False)] * 2
    assert workload.facts(0, call, rows)["grids"] == {
        "asked": 2,
        "parsed": 0,
        "correct": 0,
        "left_out": 3,
    }
