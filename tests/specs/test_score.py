"""The spec of `workload=score`: hashable, its lists frozen, and nothing impossible in it."""

import pytest

from jaxgen.errors import UserError
from jaxgen.specs.score import Score, input_problems


def test_lists_become_tuples_all_the_way_down():
    spec = Score(query=[1, 2], items=[[3], []], label_token_ids=[4])  # type: ignore[arg-type]  # as YAML gives them
    assert (spec.query, spec.items, spec.label_token_ids) == ((1, 2), ((3,), ()), (4,))
    assert hash(spec) == hash(Score(query=(1, 2), items=((3,), ()), label_token_ids=(4,)))


def test_label_ids_go_before_labels():
    assert Score(label_token_ids=(4,)).labels is None
    assert Score().labels is not None


def test_the_defaults_are_a_request():
    spec = Score()
    assert not input_problems(
        spec.query, spec.items, label_token_ids=spec.label_token_ids, labels=spec.labels
    )


def test_items_that_are_only_counted_may_be_of_another_kind_than_the_query():
    assert Score(query=(1, 2), item_tokens=4).items == Score().items


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"query": ""}, "workload.query is empty"),
        (
            {"query": 7},
            (
                "workload.query=7 is neither a text nor a list of token ids; "
                "a number as text needs quotes"
            ),
        ),
        ({"items": ()}, "workload.items is empty"),
        ({"items": (" to", (3,))}, "workload.items[1] is token ids but workload.query is text"),
        ({"labels": None}, "workload.label_token_ids is missing"),
        ({"labels": (" to", 5)}, "workload.labels[1]=5 is no text"),
        ({"label_token_ids": (True,)}, "workload.label_token_ids[0]=True is no token id"),
        ({"batch_size": 0}, "workload.batch_size=0 must be 1 or more"),
        ({"num_runs": 0}, "workload.num_runs=0 must be 1 or more"),
        ({"item_tokens": 0}, "workload.item_tokens=0 must be 1 or more"),
        (
            {"batch_sizes": (4, 0)},
            "workload.batch_sizes=[4, 0] must be different numbers of 1 or more",
        ),
        (
            {"num_labels": (2, 2)},
            "workload.num_labels=[2, 2] must be different numbers of 1 or more",
        ),
    ],
    ids=str,
)
def test_the_impossible_is_refused_by_its_key(changed, words):
    with pytest.raises(UserError) as caught:
        Score(**changed)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
