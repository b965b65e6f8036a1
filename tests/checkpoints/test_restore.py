"""Restore: the right numbers in the right place and dtype, and damage told in one line."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding
from orbax.checkpoint import v1 as ocp

from jaxgen.checkpoints import manifest, random_weights
from jaxgen.checkpoints.convert import convert
from jaxgen.checkpoints.families import architecture_of
from jaxgen.checkpoints.restore import load
from jaxgen.errors import UserError
from jaxgen.specs.dtype import Dtype
from jaxgen.specs.model import Model, Weights
from support import checkpoint_folders
from support.small_models import weights_as

FAMILIES = ("gpt2", "llama", "qwen2", "qwen3")
DTYPES = ("float32", "bfloat16", "float16")


def architecture(family: str = "qwen3", **edits):
    return architecture_of(checkpoint_folders.config(family, **edits), {}, subject="m")


def random(seed: int = 0, family: str = "qwen3", **fields) -> Model:
    return Model(name="m", weights=Weights.random, shapes=architecture(family), seed=seed, **fields)


def by_name(loaded) -> dict[str, np.ndarray]:
    return dict(zip(loaded.structure.names, map(np.asarray, loaded.leaves), strict=True))


def assert_equal(left, right) -> None:
    left, right = by_name(left), by_name(right)
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert array.dtype == right[name].dtype
        np.testing.assert_array_equal(array, right[name])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint_folders.add_tokenizer(
        checkpoint_folders.write(tmp_path_factory.mktemp("source"))
    )


@pytest.fixture(scope="module")
def intact(folder):
    convert(str(folder), folder / "converted")
    return folder / "converted"


@pytest.fixture
def checkpoint(intact, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(intact, tmp_path / "checkpoint")


def model(path, **fields) -> Model:
    return Model(name="m", checkpoint=str(path), **fields)


@pytest.mark.parametrize("family", FAMILIES)
def test_leaves_follow_the_structure(family, tmp_path):
    convert(str(checkpoint_folders.write(tmp_path / "source", family)), tmp_path / "out")
    loaded = load(model(tmp_path / "out"), dtype=Dtype())
    assert loaded.architecture == loaded.structure.architecture == architecture(family)
    assert tuple(leaf.shape for leaf in loaded.leaves) == loaded.structure.shapes
    stored = ocp.load(str(tmp_path / "out"))
    for name, array in by_name(loaded).items():
        np.testing.assert_array_equal(array, stored[name])


def test_what_is_loaded_says_what_it_is(intact, folder):
    loaded = load(model(intact), dtype=weights_as("bfloat16"))
    made = manifest.read(intact).manifest
    assert (loaded.source, loaded.fingerprint, loaded.random) == (
        str(folder),
        made.fingerprint,
        False,
    )
    assert loaded.nbytes == 2 * sum(leaf.size for leaf in loaded.leaves)
    assert loaded.tokenizer == intact / "tokenizer.json"


def test_a_model_without_a_tokenizer_has_none(checkpoint):
    (checkpoint / "tokenizer.json").unlink()
    assert load(model(checkpoint), dtype=Dtype()).tokenizer is None


@pytest.mark.parametrize("stored", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_verified_and_unverified_restores_give_the_same_numbers(stored, dtype, folder, tmp_path):
    convert(str(folder), tmp_path / "out", dtype=stored)
    verified = load(model(tmp_path / "out"), dtype=weights_as(dtype))
    assert {leaf.dtype.name for leaf in verified.leaves} == {dtype}
    assert_equal(verified, load(model(tmp_path / "out", verify=False), dtype=weights_as(dtype)))


@pytest.mark.parametrize("verify", [True, False])
def test_leaves_land_in_their_shardings(verify, intact):
    mesh = jax.make_mesh((4,), ("tensor",), axis_types=(jax.sharding.AxisType.Auto,))
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((None, "tensor"), ()))
    place = {"blocks.0.mlp.up.kernel": split}
    loaded = load(
        model(intact, verify=verify),
        dtype=weights_as("bfloat16"),
        shardings=lambda _architecture: lambda name: place.get(name, whole),
    )
    for name, leaf in zip(loaded.structure.names, loaded.leaves, strict=True):
        assert leaf.sharding == place.get(name, whole)
    assert_equal(loaded, load(model(intact), dtype=weights_as("bfloat16")))


def test_leaves_go_to_the_default_device(intact):
    with jax.default_device(jax.devices()[2]):
        loaded = load(model(intact), dtype=Dtype())
    assert {leaf.sharding for leaf in loaded.leaves} == {SingleDeviceSharding(jax.devices()[2])}


def test_progress_counts_every_tensor(intact):
    calls = []
    loaded = load(model(intact), dtype=Dtype(), progress=lambda *call: calls.append(call))
    total = len(loaded.leaves)
    assert calls == [("restore", done, total) for done in range(total + 1)]


# What has happened to the checkpoint, and what the one line has to say.


def _embedding(path):
    """Return the file and the offset of the embedding.

    Which arrays share a file, and what else stands there, is chance.
    """
    embedding = checkpoint_folders.tensors("qwen3")["model.embed_tokens.weight"].tobytes()
    files = (path / "state" / "ocdbt.process_0" / "d").iterdir()
    return next(
        (file, start) for file in files if (start := file.read_bytes().find(embedding)) >= 0
    )


def _flip(path):
    file, start = _embedding(path)
    data = bytearray(file.read_bytes())
    data[start + 100] ^= 0xFF
    file.write_bytes(bytes(data))


def _truncate(path):
    file, start = _embedding(path)
    file.write_bytes(file.read_bytes()[: start + 100])


def _remove(path):
    _embedding(path)[0].unlink()


def _rewritten(change):
    """Save the checkpoint anew, with other arrays or other metadata."""

    def spoil(path):
        arrays, plain = ocp.load(str(path)), dict(ocp.metadata(str(path)).custom_metadata)
        shutil.rmtree(path)
        change(arrays, plain)
        ocp.save(str(path), arrays, custom_metadata=plain)

    return spoil


def _misfit(arrays, plain):
    del plain, arrays["norm.scale"]
    arrays["extra"] = np.zeros(3, np.float32)
    arrays["embedding"] = np.zeros((2, 3), np.float32)


def _foreign(path):
    shutil.rmtree(path)
    ocp.save(str(path), {"params": {"w": np.zeros(3, np.float32)}})


def _version_0(path):
    shutil.rmtree(path)
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, {"w": np.zeros(3, np.float32)})


def _empty(path):
    shutil.rmtree(path)
    path.mkdir()


def _set(**fields):
    return _rewritten(lambda arrays, plain: plain.update(fields))


CONVERT_AGAIN = "python -m jaxgen.convert"
DAMAGE = {
    "a flipped byte": (
        _flip,
        ["is damaged: other bytes than were written in embedding", CONVERT_AGAIN],
    ),
    "another number": (
        _rewritten(lambda arrays, plain: arrays.update({"norm.scale": arrays["norm.scale"] + 1})),
        ["is damaged", "other bytes than were written in norm.scale", CONVERT_AGAIN],
    ),
    "a truncated data file": (_truncate, ["is damaged: its arrays cannot be read", CONVERT_AGAIN]),
    "a removed data file": (
        _remove,
        ["is damaged: its arrays cannot be read", CONVERT_AGAIN],
    ),
    "no manifest of arrays": (
        lambda path: (path / "state" / "manifest.ocdbt").unlink(),
        ["not a complete", CONVERT_AGAIN],
    ),
    "no list of arrays": (
        lambda path: (path / "state" / "_METADATA").unlink(),
        ["not a complete", CONVERT_AGAIN],
    ),
    "an empty list of arrays": (
        lambda path: (path / "state" / "_METADATA").write_text(""),
        ["not a complete", CONVERT_AGAIN],
    ),
    "no arrays": (
        lambda path: shutil.rmtree(path / "state"),
        ["not a complete Orbax checkpoint", CONVERT_AGAIN],
    ),
    "no metadata": (
        lambda path: (path / "_CHECKPOINT_METADATA").unlink(),
        ["not a complete", CONVERT_AGAIN],
    ),
    "empty metadata": (
        lambda path: (path / "_CHECKPOINT_METADATA").write_text(""),
        ["not one that jaxgen made", CONVERT_AGAIN],
    ),
    "a foreign checkpoint": (_foreign, ["not one that jaxgen made", CONVERT_AGAIN]),
    "a checkpoint of Orbax 0": (_version_0, ["not one that jaxgen made", CONVERT_AGAIN]),
    "an empty folder": (_empty, ["not a complete Orbax checkpoint", CONVERT_AGAIN]),
    "no folder": (shutil.rmtree, ["there is no such checkpoint", CONVERT_AGAIN]),
    "a later format": (_set(format=2), ["has format 2", "format 1", CONVERT_AGAIN]),
    "another fingerprint": (_set(fingerprint="0"), ["fingerprint", CONVERT_AGAIN]),
    "an unknown field": (
        _set(architecture={"family": "gpt2", "wings": 2}),
        ["metadata cannot be read", "wings"],
    ),
    "tensors that do not fit": (
        _rewritten(_misfit),
        [
            "missing: norm.scale",
            "unexpected: extra",
            "embedding is (2, 3), should be (61, 12)",
            CONVERT_AGAIN,
        ],
    ),
}


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # reads that orbax leaves unawaited
@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_told_in_one_line(case, checkpoint, capfd):
    spoil, told = DAMAGE[case]
    spoil(checkpoint)
    capfd.readouterr()
    with pytest.raises(UserError) as caught:
        load(model(checkpoint), dtype=weights_as("bfloat16"))
    message = str(caught.value)
    assert str(checkpoint) in message
    assert "\n" not in message
    assert [part for part in told if part not in message] == []
    assert capfd.readouterr() == ("", "")


def test_without_verification_other_numbers_are_loaded(checkpoint):
    DAMAGE["another number"][0](checkpoint)
    load(model(checkpoint, verify=False), dtype=Dtype())


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        (
            architecture(num_hidden_layers=3),
            ["num_layers is 2, should be 3", "11 tensors missing", "blocks.2.mlp.up.kernel"],
        ),
        (
            architecture(intermediate_size=21),
            ["intermediate_size", "6 tensors misshapen", "(12, 20), should be (12, 21)"],
        ),
        (architecture(rms_norm_eps=0.5), ["norm_eps is 1e-05, should be 0.5"]),
        (
            architecture("llama"),
            ["family is qwen3, should be llama", "missing: head", "unexpected: blocks.0"],
        ),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(shapes, told, intact):
    with pytest.raises(UserError) as caught:
        load(Model(name="mine", checkpoint=str(intact), shapes=shapes), dtype=Dtype())
    message = str(caught.value)
    assert [
        part for part in [*told, "does not fit model=mine", "model=hf"] if part not in message
    ] == []


def test_only_the_end_of_text_may_differ_from_the_shapes(intact):
    shapes = dataclasses.replace(architecture(), eos_token_ids=(9,))
    assert load(model(intact, shapes=shapes), dtype=Dtype()).architecture.eos_token_ids == (2,)


@pytest.mark.parametrize("verify", [True, False])
def test_values_beyond_float16_are_refused_by_name(verify, tmp_path):
    weights = checkpoint_folders.tensors("qwen3")
    weights["model.norm.weight"][0] = 1e6
    convert(str(checkpoint_folders.write(tmp_path / "source", weights=weights)), tmp_path / "out")
    with pytest.raises(UserError, match=r"dtype\.weights=float16 cannot hold norm\.scale"):
        load(model(tmp_path / "out", verify=verify), dtype=weights_as("float16"))


def test_the_same_seed_gives_the_same_random_weights():
    assert_equal(load(random(3), dtype=Dtype()), load(random(3), dtype=Dtype()))


def test_random_weights_differ_between_seeds_and_names():
    first, other = (by_name(load(random(seed), dtype=Dtype())) for seed in (0, 1))
    matrices = [
        tables[f"blocks.{layer}.mlp.up.kernel"] for tables in (first, other) for layer in (0, 1)
    ]
    assert len({array.tobytes() for array in matrices}) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_random_norms_are_neutral_and_biases_zero(family):
    for name, array in by_name(load(random(family=family), dtype=Dtype())).items():
        if name.endswith((".scale", ".bias")):
            assert set(np.unique(array)) == {float(name.endswith(".scale"))}
        else:
            assert 0.01 < array.std() < 0.03


def test_random_matrices_are_nearly_normal():
    shapes = dataclasses.replace(architecture(), vocab_size=4000, hidden_size=256)
    table = (
        by_name(load(dataclasses.replace(random(), shapes=shapes), dtype=Dtype()))["embedding"]
        / 0.02
    )
    assert abs(table.mean()) < 0.005  # five standard errors of a million draws
    assert abs(table.std() - 1) < 0.005
    assert abs((table**4).mean() - 3) < 0.35  # four bytes: 2.7
    rows, columns = table[:-1] * table[1:], table[:, :-1] * table[:, 1:]
    assert max(abs(rows.mean()), abs(columns.mean())) < 0.005  # neighbours do not follow each other


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_random_weights_are_rounded_from_the_same_numbers(dtype):
    exact, rounded = (
        by_name(load(random(), dtype=weights_as(kind))) for kind in ("float32", dtype)
    )
    for name, array in exact.items():
        np.testing.assert_array_equal(array.astype(jnp.dtype(dtype)), rounded[name])


def test_random_weights_do_not_depend_on_the_sharding():
    mesh = jax.make_mesh((2, 2), ("data", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    place = {
        "embedding": PartitionSpec(None, "tensor"),
        "blocks.1.mlp.up.kernel": PartitionSpec("data", "tensor"),
    }

    def shardings(name: str) -> NamedSharding:
        return NamedSharding(mesh, place.get(name, PartitionSpec()))

    loaded = load(random(), dtype=Dtype(), shardings=lambda _architecture: shardings)
    assert all(
        leaf.sharding == shardings(name)
        for name, leaf in zip(loaded.structure.names, loaded.leaves, strict=True)
    )
    assert_equal(loaded, load(random(), dtype=Dtype()))


def test_random_weights_compile_once_per_shape():
    load(random(), dtype=Dtype())
    before = random_weights._near_normal._cache_size()
    load(random(seed=5), dtype=Dtype())
    assert random_weights._near_normal._cache_size() == before


def test_random_weights_say_that_they_are_random():
    loaded, other = load(random(4), dtype=Dtype()), load(random(4, family="llama"), dtype=Dtype())
    assert (loaded.source, loaded.random, loaded.tokenizer) == ("random", True, None)
    assert loaded.fingerprint.startswith("random:4:")
    assert loaded.fingerprint != other.fingerprint


def test_random_weights_use_a_tokenizer_that_is_on_disk(folder):
    assert load(random(source=str(folder)), dtype=Dtype()).tokenizer == folder / "tokenizer.json"


def test_random_weights_of_a_hub_model_need_no_network():
    assert load(random(source="nobody/such-a-model"), dtype=Dtype()).tokenizer is None


def test_the_manifest_survives_json(intact):
    made = manifest.read(intact).manifest
    assert json.loads(json.dumps(made.to_plain()))["format"] == manifest.FORMAT
