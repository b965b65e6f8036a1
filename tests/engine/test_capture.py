"""Captured activations are those of one run over the finished sequence, in every cache."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxgen.caches.none import Recompute
from jaxgen.engine.hlo import inspection
from jaxgen.engine.program_use import generation_uses
from jaxgen.errors import UserError
from jaxgen.specs.fault import Fault
from jaxgen.specs.workload import Capture, Loop, Site
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.generate import Generating
from jaxgen.workloads.prompts import Prompt
from support import small_models
from support.small_models import CACHES, DEEP_FAMILIES, PROMPTS, padded

NEW_TOKENS = 5
ALL = Capture(layers=(0, 2), sites=tuple(Site))
CLOSE = 1e-4


@functools.cache  # compiled programs and all; no test changes a model
def model_of(cache="fixed", *, loop=Loop.device, capture=ALL, **changed):
    settings = {
        "architecture": DEEP_FAMILIES["llama"],
        "cache": CACHES[cache],
        "loop": loop,
        "capture": capture,
        "max_new_tokens": NEW_TOKENS,
    } | changed
    return small_models.engine(small_models.run(**settings))


def workload_of(model):
    prompts = [Prompt(tokens=tokens) for tokens in PROMPTS]
    return Generating(
        model, prompts, Codec(None, vocab_size=97, random=True), faults=Faults(Fault())
    )


@functools.partial(jax.jit, static_argnames="structure")  # traced: weights and tokens
def activations_of(leaves, tokens, *, structure):
    """{(site, layer): (T, D)} of one row of tokens (1, T), run whole."""
    activations = {}

    def tap(site, layer, values):
        activations[site, layer] = values[0]

    cache = Recompute(batch=1, visible=tokens.shape[1], static_shape=False)
    structure.model(leaves)(tokens, cache, tap=tap)
    return activations


def run_whole(model, text):
    """The activations of one text.

    It is filled up behind its end, where nothing of the text looks: all texts share a program.
    """
    longest = max(map(len, PROMPTS)) + NEW_TOKENS
    filled = padded([text], width=longest)
    return activations_of(model.leaves, jnp.asarray(filled), structure=model.blueprint.structure)


def check_each_step(model, folder):
    """Every row's activations are those of its own text, run whole."""
    workload = workload_of(model)
    facts = workload.capture(0, folder / "a.safetensors")
    tensors = load_file(folder / facts["file"])
    index = json.loads((folder / facts["index"]).read_text())
    assert set(tensors) == {"residual", "attention", "mlp"}
    for row, answer in enumerate(workload.outputs(0, workload.call(0))):
        text = [*answer["prompt_tokens"], *answer["tokens"]]
        expected, positions = run_whole(model, text), index["rows"][row]["positions"]
        assert positions == list(range(len(answer["prompt_tokens"]) - 1, len(text) - 1))
        for site, tensor in tensors.items():
            assert tensor.shape[1] == len(PROMPTS)
            for number, layer in enumerate(ALL.layers):
                captured = tensor[number, row, : len(positions)]
                at_positions = np.asarray(expected[site, layer])[positions]
                np.testing.assert_allclose(captured, at_positions, rtol=0, atol=CLOSE)


@pytest.mark.parametrize(
    ("cache", "loop"),
    [
        ("fixed", Loop.device),
        ("fixed", Loop.host),
        ("paged", Loop.device),
        ("dynamic", Loop.host),
        ("none", Loop.host),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_step_has_the_activations_of_its_position(cache, loop, tmp_path):
    check_each_step(model_of(cache, loop=loop), tmp_path)


def test_rows_that_only_fill_a_batch_up_are_left_out(tmp_path):
    check_each_step(model_of(batch_size=2, batch_buckets=(4,)), tmp_path)


def test_the_file_says_what_it_holds(tmp_path):
    facts = workload_of(model_of()).capture(0, tmp_path / "new" / "a.safetensors")
    index = json.loads((tmp_path / "new" / "a.json").read_text())
    assert (index["layers"], index["sites"], index["steps"]) == (
        [0, 2],
        ["residual", "attention", "mlp"],
        NEW_TOKENS,
    )
    assert facts["bytes"] == 3 * 2 * len(PROMPTS) * NEW_TOKENS * 32 * 4
    assert facts["bytes_per_row"] * len(PROMPTS) == facts["bytes"]


def test_steps_after_a_row_s_end_are_no_numbers(tmp_path):
    plain = small_models.tokens(model_of())
    ends = dataclasses.replace(DEEP_FAMILIES["llama"], eos_token_ids=(plain[0][1],))
    workload = workload_of(model_of(architecture=ends))
    workload.capture(0, tmp_path / "a.safetensors")
    (residual, *_) = load_file(tmp_path / "a.safetensors")["residual"]
    assert np.isfinite(residual[0, :2]).all()
    assert np.isnan(residual[0, 2:]).all()


def test_batches_of_other_widths_end_in_one_file(tmp_path):
    workload = workload_of(model_of(batch_size=2))
    workload.capture(0, tmp_path / "a.safetensors")
    assert load_file(tmp_path / "a.safetensors")["mlp"].shape == (2, 3, NEW_TOKENS, 32)


def test_capturing_changes_no_token():
    assert small_models.tokens(model_of()) == small_models.tokens(model_of(capture=Capture()))


def programs_of(model):
    (batch,) = model.batches(PROMPTS)
    return inspection.examine(model, generation_uses(model, batch))


def test_off_is_no_part_of_any_program():
    off, unlayered = (
        programs_of(model_of(capture=capture))
        for capture in (Capture(), Capture(sites=(Site.mlp,)))
    )
    on = programs_of(model_of())
    assert off["stablehlo_sha256"] == unlayered["stablehlo_sha256"] != on["stablehlo_sha256"]
    (batch,) = model_of(capture=Capture()).batches(PROMPTS)
    assert (
        len(jax.tree.leaves(batch.state)) == 6
    )  # sequence, lengths, ends, done, rows, seed: no buffer more
    assert "captured" not in str(jax.tree_util.tree_flatten_with_path(batch.state)[0])


def test_off_writes_nothing(tmp_path):
    assert workload_of(model_of(capture=Capture())).capture(0, tmp_path / "a.safetensors") is None
    assert not list(tmp_path.iterdir())


def test_a_warm_engine_captures_without_a_compile(ledger, tmp_path):
    workload = workload_of(model_of())
    workload.call(0)
    mark = ledger.mark()
    workload.call(0)
    assert ledger.since(mark).events == 0


def test_what_is_timed_lets_its_activations_go():
    assert [batch.captured for batch in workload_of(model_of()).call(0)] == [None]


def test_a_layer_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(
        UserError, match=r"workload\.capture\.layers has \[7\], and the model's layers are 0 to 2"
    ):
        workload_of(model_of(capture=Capture(layers=(1, 7))))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"layers": (-1,)}, "must be rising numbers of 0 or more"),
        ({"layers": (2, 1)}, "must be rising numbers of 0 or more"),
        ({"layers": (1,), "sites": ()}, "must be different ones, one at least"),
    ],
)
def test_an_impossible_capture_is_refused_by_its_key(given, words):
    with pytest.raises(UserError, match=words):
        Capture(**given)
