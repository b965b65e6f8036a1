"""Conversion: what is written, what is refused, and that nothing half-written stays behind."""

import json
import resource
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import jax
import ml_dtypes
import numpy as np
import pytest
from huggingface_hub import errors
from orbax.checkpoint import v1 as ocp

import jaxgen.convert
from jaxgen.checkpoints import huggingface, manifest
from jaxgen.checkpoints.convert import convert
from jaxgen.errors import UserError
from support import checkpoint_folders

FAMILIES = ("gpt2", "llama", "qwen2", "qwen3")
HUB_ID = "nobody/such-a-model"


def arrays(path) -> dict[str, np.ndarray]:
    return ocp.load(str(path))


def converted(folder, dest, **options) -> dict[str, np.ndarray]:
    convert(str(folder), dest, **options)
    return arrays(dest)


def assert_equal(left: dict, right: dict) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert array.dtype == right[name].dtype
        np.testing.assert_array_equal(array, right[name])


@pytest.fixture
def folder(tmp_path):
    return checkpoint_folders.write(tmp_path / "source")


@pytest.fixture
def offline_hub(tmp_path, monkeypatch):
    """An empty Hugging Face cache and no way out."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return cache


def test_linear_layers_are_transposed(folder, tmp_path):
    there, here = checkpoint_folders.tensors("qwen3"), converted(folder, tmp_path / "out")
    np.testing.assert_array_equal(
        here["blocks.1.mlp.gate.kernel"], there["model.layers.1.mlp.gate_proj.weight"].T
    )
    np.testing.assert_array_equal(here["embedding"], there["model.embed_tokens.weight"])


def test_gpt2_queries_keys_and_values_are_thirds_of_the_columns(tmp_path):
    there = checkpoint_folders.tensors("gpt2")
    here = converted(checkpoint_folders.write(tmp_path / "source", "gpt2"), tmp_path / "out")
    fused, bias = (
        there["transformer.h.1.attn.c_attn.weight"],
        there["transformer.h.1.attn.c_attn.bias"],
    )
    for part, weight, shift in zip(
        "qkv", np.split(fused, 3, axis=1), np.split(bias, 3), strict=True
    ):
        np.testing.assert_array_equal(here[f"blocks.1.attention.{part}.kernel"], weight)
        np.testing.assert_array_equal(here[f"blocks.1.attention.{part}.bias"], shift)


@pytest.mark.parametrize("family", FAMILIES)
def test_shards_convert_as_one_file_does(family, tmp_path):
    whole = converted(checkpoint_folders.write(tmp_path / "whole", family), tmp_path / "out")
    pieces = checkpoint_folders.shard(checkpoint_folders.write(tmp_path / "pieces", family))
    assert_equal(converted(pieces, tmp_path / "out2"), whole)


def _bare(tensors):
    return {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}


def _with_masks(tensors):
    mask = np.ones((1, 1, 32, 32), np.bool_)
    return {
        **tensors,
        "transformer.h.0.attn.bias": mask,
        "transformer.h.0.attn.masked_bias": np.float32([-1e4]),
    }


def _with_head(tensors):
    return {**tensors, "lm_head.weight": tensors["transformer.wte.weight"]}


@pytest.mark.parametrize(
    "variant", [_bare, _with_masks, _with_head, lambda tensors: _bare(_with_masks(tensors))]
)
def test_gpt2_variants_of_the_hub_convert_alike(variant, tmp_path):
    tensors = checkpoint_folders.tensors("gpt2")
    plain = converted(checkpoint_folders.write(tmp_path / "a", "gpt2"), tmp_path / "out")
    other = checkpoint_folders.write(tmp_path / "b", "gpt2", weights=variant(tensors))
    assert_equal(converted(other, tmp_path / "out2"), plain)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_casts_every_tensor(dtype, folder, tmp_path):
    here = converted(folder, tmp_path / "out", dtype=dtype)
    assert {array.dtype.name for array in here.values()} == {dtype}
    there = checkpoint_folders.tensors("qwen3")["model.norm.weight"]
    np.testing.assert_array_equal(here["norm.scale"], there.astype(here["norm.scale"].dtype))


def test_no_dtype_keeps_each_tensors_own(tmp_path):
    weights = checkpoint_folders.tensors("qwen3", dtype="bfloat16")
    weights["model.norm.weight"] = weights["model.norm.weight"].astype(np.float32)
    here = converted(
        checkpoint_folders.write(tmp_path / "source", weights=weights), tmp_path / "out"
    )
    assert here["norm.scale"].dtype == np.float32
    assert here["embedding"].dtype == ml_dtypes.bfloat16
    assert manifest.read(tmp_path / "out").manifest.dtype == "mixed"


def test_the_manifest_says_what_was_converted(folder, tmp_path):
    here = converted(folder, tmp_path / "out")
    made = manifest.read(tmp_path / "out").manifest
    assert made.config == json.loads((folder / "config.json").read_text())
    assert (made.architecture.family, made.dtype, made.source) == ("qwen3", "float32", str(folder))
    assert made.sha256 == {name: manifest.digest(array) for name, array in here.items()}


def test_equal_weights_have_equal_fingerprints_and_others_do_not(folder, tmp_path):
    weights = checkpoint_folders.tensors("qwen3")
    weights["model.norm.weight"][0] += 1
    other = checkpoint_folders.write(tmp_path / "other", weights=weights)
    prints = []
    for name, source in {"a": folder, "b": folder, "c": other}.items():
        convert(str(source), tmp_path / name)
        prints.append(manifest.read(tmp_path / name).manifest.fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_the_tokenizer_comes_along(folder, tmp_path):
    (checkpoint_folders.add_tokenizer(folder) / "generation_config.json").write_text(
        '{"eos_token_id": [1, 2]}'
    )
    convert(str(folder), tmp_path / "out")
    for name in (
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "generation_config.json",
    ):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    assert manifest.read(tmp_path / "out").manifest.architecture.eos_token_ids == (1, 2)


def test_an_older_tokenizer_becomes_tokenizer_json(tmp_path):
    from tokenizers import Tokenizer

    folder = checkpoint_folders.add_older_tokenizer(
        checkpoint_folders.write(tmp_path / "source", "gpt2")
    )
    convert(str(folder), tmp_path / "out")
    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert tokenizer.decode(tokenizer.encode("a small text").ids) == "a small text"


def test_progress_counts_every_tensor(folder, tmp_path):
    calls = []
    convert(str(folder), tmp_path / "out", progress=lambda *call: calls.append(call))
    total = len(arrays(tmp_path / "out"))
    assert [done for stage, done, _ in calls if stage == "read"] == list(range(total + 1))
    assert calls[-1] == ("write", total, total)


# What is wrong with the folder, and what the one line has to say.


def _edit(folder, **edits):
    config = {**json.loads((folder / "config.json").read_text()), **edits}
    (folder / "config.json").write_text(
        json.dumps({key: value for key, value in config.items() if value is not ...})
    )


def _weights(folder, change):
    weights = checkpoint_folders.tensors("qwen3")
    change(weights)
    checkpoint_folders.write(folder, weights=weights)


def _misfits(weights):
    del weights["model.norm.weight"]
    weights["model.layers.7.mlp.up_proj.weight"] = np.zeros((2, 2), np.float32)
    weights["model.layers.0.mlp.up_proj.weight"] = np.zeros((3, 4), np.float32)
    weights["model.layers.1.input_layernorm.weight"] = np.zeros(12, np.int32)


def _non_finite(weights):
    weights["model.norm.weight"][3] = np.nan
    weights["model.layers.1.mlp.down_proj.weight"][1, 1] = np.inf


def _cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def _shards(folder, change):
    change(checkpoint_folders.shard(folder))


def _only_pickles(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickle")


def _many_missing(folder):
    _edit(folder, num_hidden_layers=9)


BAD_FOLDERS = {
    "missing, unexpected, misshapen and integer tensors at once": (
        lambda folder: _weights(folder, _misfits),
        [
            "missing: model.norm.weight",
            "unexpected: model.layers.7.mlp.up_proj.weight",
            "(3, 4)",
            "(20, 12)",
            "I32",
        ],
    ),
    "many missing": (_many_missing, ["77 tensors missing", "... and 57 more"]),
    "NaN and Inf": (
        lambda folder: _weights(folder, _non_finite),
        ["NaN or Inf", "model.norm.weight", "model.layers.1.mlp.down_proj.weight"],
    ),
    "untied without a head": (
        lambda folder: _edit(folder, tie_word_embeddings=False),
        ["missing: lm_head.weight"],
    ),
    "another architecture": (
        lambda folder: _edit(folder, architectures=["T5Model"]),
        ["T5Model", "Qwen3ForCausalLM"],
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), ["no config.json"]),
    "broken config": (
        lambda folder: (folder / "config.json").write_text("{"),
        ["config.json cannot be read"],
    ),
    "config is a list": (
        lambda folder: (folder / "config.json").write_text("[]"),
        ["not a JSON object"],
    ),
    "pickles only": (_only_pickles, ["pytorch_model.bin", "can run code", "model.safetensors"]),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        ["neither model.safetensors nor"],
    ),
    "truncated": (
        lambda folder: _cut(folder / "model.safetensors", 9000),
        ["model.safetensors is damaged"],
    ),
    "empty file": (
        lambda folder: _cut(folder / "model.safetensors", 0),
        ["model.safetensors is damaged"],
    ),
    "garbage": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"garbage " * 99),
        ["model.safetensors is damaged"],
    ),
    "a shard is missing": (
        lambda folder: _shards(
            folder, lambda at: (at / "model-00002-of-00003.safetensors").unlink()
        ),
        ["of 3 weight files these are missing: model-00002-of-00003.safetensors"],
    ),
    "a shard is truncated": (
        lambda folder: _shards(
            folder, lambda at: _cut(at / "model-00003-of-00003.safetensors", 500)
        ),
        ["model-00003-of-00003.safetensors is damaged"],
    ),
    "an index without a map": (
        lambda folder: _shards(
            folder, lambda at: (at / "model.safetensors.index.json").write_text("{}")
        ),
        ["weight_map"],
    ),
    "an index that leads out": (
        lambda folder: _shards(
            folder,
            lambda at: (at / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "../a"}}'
            ),
        ),
        ["outside the folder", "../a"],
    ),
    "a tokenizer that is none": (
        lambda folder: [(folder / name).write_text("[]") for name in ("vocab.json", "merges.txt")],
        ["vocab.json and merges.txt make no tokenizer"],
    ),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_a_bad_folder_is_refused_in_one_line_and_leaves_nothing(case, folder, tmp_path):
    spoil, told = BAD_FOLDERS[case]
    spoil(folder)
    with pytest.raises(UserError) as caught:
        convert(str(folder), tmp_path / "new" / "out")
    message = str(caught.value)
    assert "\n" not in message
    assert [part for part in told if part not in message] == []
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("./nowhere", "no such folder"),
        ("/nowhere/at/all", "no such folder"),
        ("~/nowhere", "no such folder"),
        ("a/b/c", "no such folder"),
        ("", "the source is empty"),
        ("package:huge", "ships no such model"),
        ("package:../spec", "ships no such model"),
        (HUB_ID, "HF_HUB_OFFLINE is set"),
        ("bare-name", "HF_HUB_OFFLINE is set"),
    ],
)
def test_a_source_that_is_not_there_is_refused(source, told, tmp_path, offline_hub):
    with pytest.raises(UserError, match=told):
        convert(source, tmp_path / "out")


def test_a_file_as_source_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="is a file; give the folder"):
        convert(str(folder / "model.safetensors"), tmp_path / "out")


def test_a_hub_that_does_not_answer_is_given_up_soon(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface, "_HUB_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setattr(
            "huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{mute.getsockname()[1]}"
        )
        start = time.monotonic()
        with pytest.raises(UserError, match=r"the hub did not deliver one .*model\.weights=random"):
            huggingface.locate(HUB_ID)
    assert time.monotonic() - start < 5


def test_what_was_downloaded_before_is_found_offline(folder, tmp_path, offline_hub):
    cached = offline_hub / f"models--{HUB_ID.replace('/', '--')}"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("c0ffee")
    shutil.copytree(folder, cached / "snapshots" / "c0ffee")
    assert huggingface.locate(HUB_ID).revision == "c0ffee"
    convert(HUB_ID, tmp_path / "out")
    assert manifest.read(tmp_path / "out").manifest.source == HUB_ID


@pytest.fixture
def hub(monkeypatch):
    """A hub that answers; what is asked of it is recorded."""
    asked = {}

    def snapshot_download(source, **options):
        asked.update(options)
        return f"/cache/snapshots/{options['revision']}"

    monkeypatch.setattr(
        huggingface_hub.HfApi,
        "model_info",
        lambda self, source, timeout: SimpleNamespace(sha="c0ffee"),
    )
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_nothing_but_configuration_tokenizer_and_safetensors_is_downloaded(hub):
    assert huggingface.locate(HUB_ID) == huggingface.Folder(
        Path("/cache/snapshots/c0ffee"), HUB_ID, "c0ffee"
    )
    names = [
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "pytorch_model.bin",
        "modeling.py",
        "onnx/config.json",
    ]
    patterns = {key: hub[key] for key in ("allow_patterns", "ignore_patterns")}
    assert list(huggingface_hub.utils.filter_repo_objects(names, **patterns)) == names[:3]
    assert (hub["revision"], hub["local_files_only"]) == ("c0ffee", False)


@pytest.mark.parametrize(
    ("place", "kind", "told"),
    [
        (
            "HfApi.model_info",
            errors.RepositoryNotFoundError,
            "neither such a folder nor such a model",
        ),
        ("snapshot_download", errors.GatedRepoError, "its licence has to be accepted"),
    ],
)
def test_a_hub_that_refuses_is_told_apart(place, kind, told, hub, monkeypatch):
    def refuse(*args, **kwargs):
        raise kind.__new__(kind)

    monkeypatch.setattr(f"huggingface_hub.{place}", refuse)
    with pytest.raises(UserError, match=told):
        huggingface.locate(HUB_ID)


def test_values_beyond_float16_are_refused_by_name(tmp_path):
    weights = checkpoint_folders.tensors("qwen3")
    weights["model.norm.weight"][0] = 1e6
    folder = checkpoint_folders.write(tmp_path / "source", weights=weights)
    with pytest.raises(UserError, match=r"model.norm.weight \(beyond the range of float16\)"):
        convert(str(folder), tmp_path / "out", dtype="float16")


def test_an_existing_destination_is_refused_and_kept(folder, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists already"):
        convert(str(folder), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unwritable_destination_is_refused(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*choose another"):
        convert(str(folder), tmp_path / "file" / "out")


def test_a_full_disk_is_told_before_anything_is_read(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 0)
    )
    calls = []
    with pytest.raises(UserError, match=r"GB are free.*free some space"):
        convert(str(folder), tmp_path / "out", progress=lambda *call: calls.append(call))
    assert calls == []
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_failed_write_is_told_in_one_line_and_leaves_nothing(tmp_path, capfd):
    source = checkpoint_folders.tensors("qwen3")
    source["model.embed_tokens.weight"] = np.zeros((50_000, 12), np.float32)
    folder = checkpoint_folders.write(
        tmp_path / "source", edits={"vocab_size": 50_000}, weights=source
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))  # the embedding alone has 2.4 MB
    try:
        with pytest.raises(UserError) as caught:
            convert(str(folder), tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value).startswith(f"cannot write {tmp_path / 'out'} (")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_full_disk_is_called_so(folder, tmp_path, monkeypatch):
    def save(*args, **kwargs):
        raise ValueError(
            "RESOURCE_EXHAUSTED: "
            + 300 * "a path "
            + "No space left on device\nand a page of details"
        )

    monkeypatch.setattr(ocp, "save", save)
    with pytest.raises(
        UserError, match=r"cannot write .*out \(No space left on device\); free some space"
    ):
        convert(str(folder), tmp_path / "out")


def test_ctrl_c_waits_for_orbax_and_leaves_nothing(folder, tmp_path, monkeypatch):
    written = []

    def save(path, *args, **kwargs):
        Path(path).mkdir()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.3)
        written.append(list(Path(path).parent.iterdir()))

    monkeypatch.setattr(ocp, "save", save)
    with pytest.raises(KeyboardInterrupt):
        convert(str(folder), tmp_path / "out")
    assert len(written) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_distributed_job_is_asked_to_convert_first(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match=r"run python -m jaxgen\.convert SOURCE DEST once"):
        convert(str(folder), tmp_path / "out")


@pytest.mark.parametrize("stage", ["read", "write"])
def test_ctrl_c_between_tensors_leaves_nothing(stage, folder, tmp_path):
    def interrupt(at, done, total):
        if at == stage and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(str(folder), tmp_path / "out", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_the_command_says_what_it_made_and_how_to_run_it(folder, tmp_path, capsys):
    assert jaxgen.convert.main([str(folder), str(tmp_path / "my out"), "--dtype", "bfloat16"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    tensors = arrays(tmp_path / "my out")
    nbytes = sum(array.nbytes for array in tensors.values())
    assert f"{len(tensors)} tensors, {nbytes:,} bytes, bfloat16" in shown.out
    assert f"python -m jaxgen model=hf 'model.checkpoint={tmp_path / 'my out'}'" in shown.out


def test_the_command_ends_with_1_and_one_line(tmp_path, capsys):
    assert jaxgen.convert.main([str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["source"], ["source", "dest", "--dtype", "int3"], ["a", "b", "--fast"]]
)
def test_the_command_refuses_wrong_arguments_in_one_line(arguments, capsys):
    assert jaxgen.convert.main(arguments) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.endswith("see python -m jaxgen.convert --help\n")
    assert shown.err.count("\n") == 1


def test_the_command_ends_with_130_after_ctrl_c(folder, tmp_path, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxgen.checkpoints.convert.convert", interrupt)
    assert jaxgen.convert.main([str(folder), str(tmp_path / "out")]) == 130
