"""Teacher-forced logits: every cache reads them alike, and errors show at their positions."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.agreement.tokens import compare_tokens
from jaxgen.caches.buffers import Buffer
from jaxgen.caches.none import Recompute
from jaxgen.engine import forced_pieces
from jaxgen.engine.logit_comparison import compare_logits
from jaxgen.engine.logit_distances import LIKELIEST, distances
from jaxgen.engine.next_token import next_logprobs
from jaxgen.engine.reference_logits import write_reference_logits
from jaxgen.engine.teacher_forcing import forced_logprobs
from jaxgen.errors import UserError
from jaxgen.specs.cache import Fixed, NoCache
from jaxgen.specs.dtype import Dtype, Number
from support.small_models import (
    CACHES,
    FAMILIES,
    NEW_TOKENS,
    PROMPTS,
    engine,
    forward,
    padded,
    run,
    tokens,
    weights,
)

# No arm's own: any token may be read. Of unequal lengths; the longest takes decode steps of two
# depths.
ANSWERS = ([5, 77], [12, 3, 60, 8], [91, 91, 2])
ROWS = [
    {"index": index, "prompt_tokens": list(prompt), "tokens": answer}
    for index, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True))
]
# Of float32 log-probabilities; those of the small models are some units wide, and moved by 5e-6
ROUNDING = 1e-4
WRONG = 1e-2  # a KL divergence that no float32 rounding makes: seen are 3e-7
UNSLICED = Fixed(bucket=0)
KNOBS = ("weights", "activations", "kv", "logits")


def read(model, answers=ANSWERS, prompts=PROMPTS):
    """Each answer's log-probabilities (n, V), put together from the pieces."""
    rows = [[] for _ in answers]
    for piece in forced_logprobs(model, prompts, outputs=answers).pieces:
        assert piece.position == sum(map(len, rows[piece.row])), (
            "positions of a row come in order, each once"
        )
        rows[piece.row].append(piece.logprobs)
    return [np.concatenate(pieces) for pieces in rows]


def compared(reference, candidate, path, rows=ROWS, **settings):
    """What a candidate answers about reference logits; plain JSON, NaN refused."""
    write_reference_logits(reference, rows, path, **settings)
    return json.loads(json.dumps(compare_logits(candidate, rows, path), allow_nan=False))


# Every family through all caches: tests/caches/test_against_none.py.
@pytest.fixture(scope="module", params=["qwen3"])
def family(request):
    """One family's name.

    And the log-probabilities of the sequences, run once by the model alone.
    """
    structure, leaves = weights(FAMILIES[request.param])
    texts = padded([[*row["prompt_tokens"], *row["tokens"]] for row in ROWS], width=7)
    nothing = Recompute(batch=len(ROWS), visible=texts.shape[1], static_shape=False)
    logits = np.asarray(
        forward(leaves, nothing, jnp.asarray(texts), structure=structure)[0], np.float64
    )
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    at = [
        slice(len(prompt) - 1, len(prompt) - 1 + len(answer))
        for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)
    ]
    return request.param, [row[where] for row, where in zip(logprobs, at, strict=True)]


@pytest.mark.parametrize("name", CACHES)
def test_every_cache_reads_the_same_logits(family, name):
    which, expected = family
    logprobs = read(engine(run(architecture=FAMILIES[which], cache=CACHES[name])))
    for ours, theirs in zip(logprobs, expected, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING)


@pytest.fixture(scope="module")
def model():
    return engine(run(cache=UNSLICED))


@pytest.fixture(scope="module")
def expected(model):
    return read(model)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("fixed", "steps"),
        ("dynamic", "one pass, last steps"),
        ("none", "one pass"),
        ("none_padded", "one pass"),
    ],
)
def test_caches_of_static_shape_are_stepped_and_the_others_read_in_one_pass(name, method):
    assert (
        forced_logprobs(engine(run(cache=CACHES[name])), PROMPTS, outputs=ANSWERS).method == method
    )


@pytest.mark.parametrize("name", ["fixed_unsliced", "none"])
def test_chunks_and_batches_change_nothing(monkeypatch, expected, name):
    monkeypatch.setattr(forced_pieces, "CHUNK_BYTES", 2 * 2 * 97 * 4)  # two positions of two rows
    logprobs = read(engine(run(cache=CACHES[name], batch_size=2)))
    for ours, theirs in zip(logprobs, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", ["fixed_unsliced", "none"])
def test_the_second_reading_compiles_nothing_whatever_the_answers(ledger, name):
    reader = engine(run(cache=CACHES[name]))
    read(reader)
    mark = ledger.mark()
    read(reader, answers=([1], [2] * NEW_TOKENS, [3, 4]))
    assert ledger.since(mark).entries == ()


def test_an_empty_answer_yields_nothing(model):
    rows = {piece.row for piece in forced_logprobs(model, PROMPTS, outputs=([1], [], [2])).pieces}
    assert rows == {0, 2}


def test_an_answer_that_the_cache_would_not_hold_is_refused(model):
    with pytest.raises(ValueError, match=f"{NEW_TOKENS + 1} tokens"):
        forced_logprobs(model, PROMPTS, outputs=([1] * (NEW_TOKENS + 1), [2], [3]))


@pytest.mark.parametrize("name", ["fixed_unsliced", "dynamic", "none"])
def test_prompts_of_limits_of_their_own_need_no_more_room_than_these(name):
    """A context of 10 has no room for 7 more tokens behind the longest prompt, only for its 2."""
    architecture = dataclasses.replace(FAMILIES["llama"], context=10)
    prompts, answers, limits = ((7,) * 8, (58, 3)), ([5, 77], [12, 3, 60]), (2, 7)
    near, far = (
        engine(run(cache=CACHES[name], architecture=each))
        for each in (architecture, FAMILIES["llama"])
    )
    pieces = forced_logprobs(near, prompts, outputs=answers, limits=limits).pieces
    for piece, other in zip(
        pieces, forced_logprobs(far, prompts, outputs=answers).pieces, strict=True
    ):
        assert (piece.row, piece.position) == (other.row, other.position)
        np.testing.assert_allclose(piece.logprobs, other.logprobs, rtol=0, atol=ROUNDING)


def test_reading_leaves_the_engine_as_it_was(model):
    before = tokens(model)
    read(model)
    assert tokens(model) == before


class TestWrong:
    """Errors made on purpose, each seen where it is and not before."""

    def test_a_wrong_write_shows_from_the_first_step_on(self, monkeypatch, tmp_path):
        """One slot too early in every decode step: only the prompt's own next token is right."""
        architecture = dataclasses.replace(
            FAMILIES["llama"], context=63
        )  # no other test's compiled programs
        right, write = engine(run(architecture=architecture, cache=NoCache())), Buffer.write

        def early(buffer, new, starts):
            return write(buffer, new, jnp.maximum(starts - 1, 0) if new.shape[1] == 1 else starts)

        monkeypatch.setattr(Buffer, "write", early)
        result = compared(
            right, engine(run(architecture=architecture, cache=UNSLICED)), tmp_path / "t.npy"
        )
        assert all(row[0] < ROUNDING for row in result["kl"])
        assert all(min(row[1:]) > WRONG for row in result["kl"])

    def test_a_wrong_leaf_shows_at_the_positions_that_use_it(self, tmp_path):
        """The learned position 3 is spoilt: rows are right before it, and wrong from there on."""
        spoilt_place = 3
        right = engine(run(architecture=FAMILIES["gpt2"], cache=NoCache()))
        wrong = engine(run(architecture=FAMILIES["gpt2"], cache=UNSLICED))
        names = wrong.blueprint.structure.names
        wrong.leaves = tuple(
            leaf.at[spoilt_place].set(jnp.roll(leaf[spoilt_place], 1))
            if name == "position"
            else leaf
            for name, leaf in zip(names, wrong.leaves, strict=True)
        )
        result = compared(right, wrong, tmp_path / "t.npy")
        for row, prompt in zip(result["kl"], PROMPTS, strict=True):
            uses = [len(prompt) - 1 + position >= spoilt_place for position in range(len(row))]
            assert [value > WRONG for value in row] == uses, row
            assert all(value < ROUNDING for value, used in zip(row, uses, strict=True) if not used)
        assert max(map(len, ANSWERS)) > 1
        assert [sum(value > WRONG for value in row) for row in result["kl"]] == [0, 3, 1]

    @pytest.mark.parametrize("who", ["candidate", "baseline", "both"])
    def test_weights_that_are_no_numbers_are_named(self, tmp_path, model, who):
        broken = engine(run(cache=UNSLICED))
        broken.leaves = tuple(leaf.at[(0,) * leaf.ndim].set(jnp.nan) for leaf in broken.leaves)
        reference = model if who == "candidate" else broken
        result = compared(reference, model if who == "baseline" else broken, tmp_path / "t.npy")
        assert result["non_finite"] == who
        assert {value for row in result["kl"] for value in row} == {None}
        assert (result["logit_spread"] is None) == (who != "candidate")


class TestReferenceLogits:
    """The file, and what is said of it."""

    def test_an_arm_agrees_with_itself(self, tmp_path, model, expected):
        result = compared(model, model, tmp_path / "t.npy")
        assert [len(row) for row in result["kl"]] == [len(answer) for answer in ANSWERS]
        assert {
            value for row in [*result["kl"], *result["max_abs_logprob_diff"]] for value in row
        } == {0.0}
        assert (result["positions_compared"], result["positions_total"], result["non_finite"]) == (
            9,
            9,
            None,
        )
        np.testing.assert_allclose(
            result["logit_spread"], np.concatenate(expected).std(-1).mean(), rtol=1e-4
        )
        best = np.sort(expected[1][2])[-2:]
        assert result["margins"]["candidate"] == result["margins"]["baseline"]
        np.testing.assert_allclose(
            result["margins"]["candidate"][1][2], best[1] - best[0], rtol=1e-3
        )

    def test_the_file_holds_every_position_in_row_order(self, tmp_path, model, expected):
        facts = write_reference_logits(model, ROWS, tmp_path / "t.npy")
        assert facts == {"forced": "steps", "positions_compared": 9, "positions_total": 9}
        np.testing.assert_array_equal(np.load(tmp_path / "t.npy"), np.concatenate(expected))
        assert [path.name for path in tmp_path.iterdir()] == ["t.npy"]

    def test_too_much_is_cut_evenly_from_the_ends(self, tmp_path, model):
        result = compared(model, model, tmp_path / "t.npy", max_bytes=6 * 97 * 4 + 3)
        assert np.load(tmp_path / "t.npy").shape == (6, 97)
        assert [len(row) for row in result["kl"]] == [2, 2, 2]
        assert (result["positions_compared"], result["positions_total"]) == (6, 9)
        assert {value for row in result["kl"] for value in row} == {
            0.0
        }  # each with its own position

    def test_fewer_positions_than_rows_are_those_of_the_first_rows(self, tmp_path, model):
        result = compared(model, model, tmp_path / "t.npy", max_bytes=2 * 97 * 4)
        assert result["kl"] == [[0.0], [0.0], []]

    def test_a_candidate_with_less_room_compares_what_it_can_hold(self, tmp_path, model):
        result = compared(model, engine(run(cache=UNSLICED, max_new_tokens=3)), tmp_path / "t.npy")
        assert result["positions_compared"] == 8
        assert [value is None for value in result["kl"][1]] == [False, False, False, True]
        assert (
            compare_logits(model, ROWS, tmp_path / "t.npy", limits=(1, 2, 3))["positions_compared"]
            == 6
        )
        assert max(value for row in result["kl"] for value in row if value is not None) < ROUNDING

    def test_another_vocabulary_is_said_and_nothing_compared(self, tmp_path, model):
        np.save(tmp_path / "t.npy", np.zeros((9, 50), np.float32))
        result = compare_logits(model, ROWS, tmp_path / "t.npy")
        assert result["skipped"] == "the candidate's vocabulary has 97 tokens, the baseline's 50"
        assert (result["kl"], result["positions_compared"]) == ([], 0)

    def test_a_file_of_other_answers_is_refused(self, tmp_path, model):
        np.save(tmp_path / "t.npy", np.zeros((10, 97), np.float32))
        with pytest.raises(ValueError, match="10 positions, its outputs 9 tokens"):
            compare_logits(model, ROWS, tmp_path / "t.npy")

    def test_a_place_that_cannot_be_written_is_the_users_to_mend(self, tmp_path, model):
        with pytest.raises(UserError, match="cannot be written"):
            write_reference_logits(model, ROWS, tmp_path / "nowhere" / "t.npy")


def test_the_divergence_is_that_of_the_definition():
    reference, ours = np.log(np.array([[0.5, 0.25, 0.25]])), np.log(np.array([[0.25, 0.5, 0.25]]))
    result = distances(reference, ours)
    np.testing.assert_allclose(result.kl, [0.5 * np.log(2) - 0.25 * np.log(2)])
    np.testing.assert_allclose(result.moved, [np.log(2)])
    np.testing.assert_allclose(result.margins, [np.log(2)])


def test_the_unlikely_do_not_count_in_the_largest_difference():
    reference = np.log(np.array([*[0.0999] * LIKELIEST, 1e-3]))[None]
    ours = reference.copy()
    ours[0, -1] -= 5.0
    assert distances(reference, ours).moved == 0.0
    ours[0, 0] -= 0.25
    np.testing.assert_allclose(distances(reference, ours).moved, 0.25)


def test_bfloat16_against_float32_is_rounding(tmp_path, model):
    """From both arms' own answers to the agreement of the result."""
    arms = {
        "baseline": model,
        "candidate": engine(
            run(cache=UNSLICED, dtype=Dtype(**dict.fromkeys(KNOBS, Number.bfloat16)))
        ),
    }
    rows = {
        arm: [row | {"tokens": new} for row, new in zip(ROWS, tokens(each), strict=True)]
        for arm, each in arms.items()
    }
    differences = compared(
        arms["baseline"], arms["candidate"], tmp_path / "t.npy", rows=rows["baseline"]
    )
    result = compare_tokens(
        rows["candidate"],
        rows["baseline"],
        dtypes={"candidate": ["bfloat16"] * 4, "baseline": ["float32"] * 4},
        greedy=True,
        logprobs=lambda arm, before, two: [
            float(next_logprobs(arms[arm], before)[token]) for token in two
        ],
        forced=differences,
    )
    assert result["status"] in ("identical", "rounding"), result["reasons"]
    assert ROUNDING < result["max_abs_logprob_diff"] < result["tolerance"]
    assert 0 < result["kl_mean"] < result["kl_max"]


class TestDivergences:
    """Where the arms' outputs part, the pass that reads the outputs answers for both arms."""

    def test_both_arms_log_probabilities_come_from_the_pass(self, tmp_path, model):
        other = engine(run(cache=NoCache()))
        write_reference_logits(model, ROWS, tmp_path / "t.npy")
        divergences = [
            {"row": 0, "position": 1, "tokens": [3, 77]},
            {"row": 1, "position": 3, "tokens": [8, 1]},
        ]
        answers = compare_logits(other, ROWS, tmp_path / "t.npy", divergences=divergences)[
            "divergences"
        ]
        arms = {"candidate": read(other), "baseline": read(model)}
        for at, by_arm in zip(divergences, answers, strict=True):
            for arm, rows in arms.items():
                assert by_arm[arm] == rows[at["row"]][at["position"]][at["tokens"]].tolist()

    @pytest.mark.parametrize("name", ["fixed_unsliced", "none"])
    def test_they_compile_nothing_whatever_the_lengths_of_the_prompts(self, tmp_path, ledger, name):
        model = engine(run(cache=CACHES[name]))
        write_reference_logits(model, ROWS, tmp_path / "t.npy")
        compare_logits(model, ROWS, tmp_path / "t.npy")
        mark = ledger.mark()
        divergences = [{"row": row, "position": 0, "tokens": [1, 2]} for row in range(len(ROWS))]
        answers = compare_logits(model, ROWS, tmp_path / "t.npy", divergences=divergences)[
            "divergences"
        ]
        assert None not in answers
        assert len({len(prompt) for prompt in PROMPTS}) == len(PROMPTS)
        assert ledger.since(mark).entries == ()

    def test_a_position_that_was_not_compared_has_no_answer(self, tmp_path, model):
        divergences = [{"row": 1, "position": position, "tokens": [1, 2]} for position in (1, 2)]
        write_reference_logits(model, ROWS, tmp_path / "t.npy", max_bytes=6 * 97 * 4)
        answers = compare_logits(model, ROWS, tmp_path / "t.npy", divergences=divergences)[
            "divergences"
        ]
        assert [answer is None for answer in answers] == [False, True]

    def test_another_vocabulary_leaves_them_open(self, tmp_path, model):
        np.save(tmp_path / "t.npy", np.zeros((9, 50), np.float32))
        divergences = [{"row": 1, "position": 1, "tokens": [1, 2]}]
        assert compare_logits(model, ROWS, tmp_path / "t.npy", divergences=divergences)[
            "divergences"
        ] == [None]

    def test_what_is_no_number_is_null(self, tmp_path, model):
        broken = engine(run(cache=UNSLICED))
        broken.leaves = tuple(leaf.at[(0,) * leaf.ndim].set(jnp.nan) for leaf in broken.leaves)
        write_reference_logits(model, ROWS, tmp_path / "t.npy")
        divergences = [{"row": 1, "position": 1, "tokens": [1, 2]}]
        (answer,) = compare_logits(broken, ROWS, tmp_path / "t.npy", divergences=divergences)[
            "divergences"
        ]
        assert answer["candidate"] == [None, None]
        assert None not in answer["baseline"]


@pytest.mark.parametrize("name", CACHES)
def test_one_position_alone_compiles_once_for_prompts_of_similar_lengths(family, ledger, name):
    which, reference = family
    model = engine(run(architecture=FAMILIES[which], cache=CACHES[name]))
    next_logprobs(model, [1])
    mark = ledger.mark()
    row = ROWS[1]
    before = [*row["prompt_tokens"], *row["tokens"][:2]]
    result = next_logprobs(model, before)
    assert ledger.since(mark).entries == ()
    np.testing.assert_allclose(result, reference[1][2], rtol=0, atol=ROUNDING)
