"""lm-evaluation-harness runs its kinds of task on a jaxgen model; skipped without the harness."""

import json

import pytest

from jaxgen.errors import UserError

lm_eval = pytest.importorskip("lm_eval")
Harness = pytest.importorskip("jaxgen.harness").Harness

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
]  # its libraries warn of their own affairs

STORIES = [
    {"before": "Once upon a", "choices": [" time", " zzqx"], "answer": 0},
    {"before": "The cat sat", "choices": [" qqxz", " on"], "answer": 1},
]


@pytest.fixture(scope="module")
def harness():
    return Harness(batch_size=2, cache="fixed")


@pytest.fixture
def task(tmp_path):
    """Makes a task of the harness over the stories, as a user would write it in YAML."""
    path = tmp_path / "stories.jsonl"
    path.write_text("".join(json.dumps(story) + "\n" for story in STORIES))

    def make(**changed):
        data = {
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(path)}},
            "test_split": "test",
        }
        return data | {"task": "stories", "num_fewshot": 0} | changed

    return make


@pytest.fixture(scope="module")
def task_manager():
    """A manager without the harness's own tasks: to index their files takes ten seconds."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=False)


@pytest.fixture
def evaluated(harness, task_manager):
    """Runs one task on the model and returns its metrics."""

    def evaluate(task):
        results = lm_eval.simple_evaluate(
            model=harness, tasks=[task], task_manager=task_manager, bootstrap_iters=0
        )
        return results["results"]["stories"]

    return evaluate


def test_a_multiple_choice_task_is_answered(evaluated, task):
    chosen = task(
        output_type="multiple_choice",
        doc_to_text="{{before}}",
        doc_to_choice="choices",
        doc_to_target="answer",
        target_delimiter="",
        metric_list=[{"metric": "acc"}],
    )
    assert evaluated(chosen)["acc,none"] == 1.0


def test_a_perplexity_task_is_answered(harness, evaluated, task):
    rolling = task(
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{before}}{{choices[answer]}}",
        metric_list=[{"metric": "word_perplexity"}],
    )
    told = evaluated(rolling)["word_perplexity,none"]
    texts = [story["before"] + story["choices"][story["answer"]] for story in STORIES]
    total = sum(harness.engine.rolling_loglikelihood(text) for text in texts)
    words = sum(len(text.split()) for text in texts)
    assert told == pytest.approx(2.718281828459045 ** (-total / words))


def test_a_generation_task_is_answered(evaluated, task):
    generated = task(
        output_type="generate_until",
        doc_to_text="{{before}}",
        doc_to_target="{{choices[answer]}}",
        generation_kwargs={"until": ["\n"], "max_gen_toks": 3, "do_sample": False},
        metric_list=[{"metric": "exact_match"}],
    )
    assert 0 <= evaluated(generated)["exact_match,none"] <= 1


def instance(*arguments):
    return type("Instance", (), {"args": arguments})()


def test_answers_come_in_the_order_of_the_questions_whatever_their_lengths(harness):
    asked = [("Once upon a time", 4), ("3 + 4 =", 2), ("The cat", 4)]
    given = harness.generate_until(
        [instance(text, {"max_gen_toks": count}) for text, count in asked]
    )
    assert given == [
        harness.engine.generate(text, max_new_tokens=count)[0].text for text, count in asked
    ]


def test_text_ends_before_the_first_of_the_ends(harness):
    (whole,) = harness.generate_until([instance("Once upon a time", {"max_gen_toks": 6})])
    (cut,) = harness.generate_until(
        [instance("Once upon a time", {"max_gen_toks": 6, "until": ["#", whole[2:4]]})]
    )
    assert cut == whole[:2]


def test_contexts_lose_what_is_too_long(harness):
    long = "the cat and the dog " * 200
    assert harness.loglikelihood([instance(long, " went")])[0][0] < 0
    assert len(harness.generate_until([instance(long, {"max_gen_toks": 2})])) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"do_sample": True}, "draws tokens by chance"),
        ({"max_gen_toks": 10**6}, "set max_gen_toks lower"),
    ],
)
def test_what_cannot_be_done_is_said(harness, settings, words):
    with pytest.raises(UserError, match=words):
        harness.generate_until([instance("a", settings)])
