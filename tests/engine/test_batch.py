"""Prompts that do not fit are refused with what would help; others run in few programs."""

import re

import numpy as np
import pytest

from jaxgen.engine.batch import make_batch
from jaxgen.engine.capacity import capacity_for
from jaxgen.errors import UserError
from jaxgen.specs.cache import Dynamic, Fixed, NoCache
from jaxgen.specs.workload import Generate
from support.small_models import FAMILIES, engine, run

ARCHITECTURE = FAMILIES["llama"]  # a vocabulary of 97, a context of 64


@pytest.mark.parametrize(
    ("prompts", "changed", "message"),
    [
        ([], {}, "prompts cannot be used: there are none"),
        ([[1], []], {}, "prompts cannot be used: prompt 1 is empty"),
        ([[1, 97]], {}, "prompt 0 has token id 97, outside the vocabulary of 97 (0 to 96)"),
        ([[3], [-1]], {}, "prompt 1 has token id -1, outside the vocabulary of 97 (0 to 96)"),
        ([[], [99]], {}, "prompt 0 is empty; prompt 1 has token id 99"),
        (
            [[1], [1] * 60],
            {"max_new_tokens": 5},
            (
                "the model's context of 64; shorten the prompt or lower workload.max_new_tokens to "
                "4 or less"
            ),
        ),
        (
            [[1] * 70],
            {"max_new_tokens": 5},
            (
                "70 prompt tokens + workload.max_new_tokens=5 exceed the model's context of 64; "
                "shorten the prompt"
            ),
        ),
        (
            [[1, 2, 3]],
            {"max_new_tokens": 5, "cache": Fixed(max_len=7)},
            "cache.max_len=7 cannot hold 3 prompt tokens + 5 new ones; raise it to 8 or more",
        ),
    ],
)
def test_prompts_that_cannot_be_served_are_refused_by_name_value_and_cure(
    prompts, changed, message
):
    with pytest.raises(UserError, match=re.escape(message)):
        engine(run(architecture=ARCHITECTURE, **changed)).batches(prompts)


def test_no_cure_is_offered_that_cannot_work():
    with pytest.raises(UserError) as refused:
        capacity_for([[1] * 64], new_tokens=1, cache=Fixed(), architecture=ARCHITECTURE)
    assert "lower workload.max_new_tokens" not in str(refused.value)


@pytest.mark.parametrize(
    "cache", [Fixed(max_len=64), Fixed(bucket=0), Dynamic(), NoCache(), NoCache(pad=True)], ids=str
)
def test_the_whole_context_may_be_used(cache):
    assert capacity_for([[1] * 60], new_tokens=4, cache=cache, architecture=ARCHITECTURE) == 64


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_key_can_hold_is_refused(seed):
    with pytest.raises(
        UserError, match=rf"workload.seed={seed} must be 0 or more and below 2\*\*32"
    ):
        Generate(seed=seed)


def planned(cache, *, lengths, new_tokens):
    prompts = [list(range(1, length + 1)) for length in lengths]
    capacity = cache.capacity(max(lengths) + new_tokens)
    return make_batch(
        prompts, first_row=5, capacity=capacity, new_tokens=new_tokens, cache=cache, seed=3
    )


@pytest.mark.parametrize(
    ("cache", "plan"),
    [
        (Fixed(bucket=8), [(8, 3), (16, 8), (24, 2)]),  # 6 to 18 tokens to see
        (Fixed(bucket=0), [(19, 13)]),
        (Fixed(max_len=40, bucket=0), [(40, 13)]),
        (NoCache(pad=True), [(19, 13)]),
        (NoCache(), [(needed, 1) for needed in range(6, 19)]),
        (Dynamic(), [(needed, 1) for needed in range(6, 19)]),
    ],
    ids=str,
)
def test_steps_that_read_the_same_depth_are_one_segment(cache, plan):
    batch = planned(cache, lengths=(2, 5), new_tokens=14)
    assert [(segment.depth, segment.steps) for segment in batch.segments] == plan
    assert [int(segment.steps_on_device) for segment in batch.segments] == [
        steps for _, steps in plan
    ]


def test_no_prefix_is_computed_beyond_the_longest_text():
    """5 tokens get 2 more, 1 token gets 4 more: no row has more than 7."""
    given = {
        "first_row": 0,
        "capacity": 7,
        "new_tokens": 4,
        "cache": NoCache(),
        "seed": 0,
        "limits": (2, 4),
    }
    batch = make_batch([[1, 2, 3, 4, 5], [6]], **given)
    assert [(segment.depth, segment.steps) for segment in batch.segments] == [(6, 1), (7, 2)]


def test_prompts_are_padded_on_the_right_and_numbered_by_their_place_in_the_run():
    batch = planned(Fixed(bucket=8), lengths=(2, 3), new_tokens=4)
    np.testing.assert_array_equal(batch.prompt[:, :4], [[1, 2, 0, 0], [1, 2, 3, 0]])
    np.testing.assert_array_equal(batch.state.rows, [5, 6])
    assert batch.prompt_lengths == (2, 3)
