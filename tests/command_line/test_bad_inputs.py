"""Mistakes that only a worker or a file can reveal.

Each is one line and exit code 1, without a traceback and with nothing half-written. Those of the
configuration alone stand in test_mistakes.py. One worker serves all of the table: what it costs to
start is paid once.
"""

import errno
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxgen
from jaxgen.__main__ import main
from jaxgen.checkpoints.convert import convert
from jaxgen.errors import ExitCode
from jaxgen.executor.worker_process import Worker
from jaxgen.specs.run import Process
from support import checkpoint_folders
from support.small_runs import SMALL, read_result

pytestmark = pytest.mark.slow

TEXT = ["model=hf", "workload.max_new_tokens=4", "measure=quick"]
TEXT += ["measure.max_foreign_load=1"]
HF = [*TEXT, "prompts=synthetic", "prompts.length=5"]


def jsonl(name):
    others = [override for override in SMALL if not override.startswith("prompts")]
    return [*others, "prompts=jsonl", f"prompts.path={{here}}/{name}"]


MISTAKES = {
    "cache too small": (
        [*SMALL, "cache.max_len=8"],
        ["cache.max_len=8 cannot hold 5 prompt tokens + 4 new ones", "raise it to 9 or more"],
    ),
    "baseline's cache too small": (
        [*SMALL, "baseline.cache=fixed", "baseline.overrides=['cache.max_len=8']"],
        ["cache.max_len=8 cannot hold 5 prompt tokens + 4 new ones", "raise it to 9 or more"],
    ),
    "prompt beyond the context": (
        [*SMALL, "prompts.length=600"],
        [
            "600 prompt tokens + workload.max_new_tokens=4",
            "the model's context of 512",
            "shorten the prompt",
        ],
    ),
    "new tokens beyond the context": (
        [*SMALL, "workload.max_new_tokens=508"],
        [
            "5 prompt tokens + workload.max_new_tokens=508",
            "context of 512",
            "lower workload.max_new_tokens to 507",
        ],
    ),
    "depth beyond the context": (
        [*SMALL, "workload.depths=[8,600]"],
        [
            "the 600 tokens of workload.depths=[8, 600] + workload.max_new_tokens=4",
            "the model's context of 512",
        ],
    ),
    "prompt beyond the largest bucket": (
        [*SMALL, "workload.token_buckets=[2,4]"],
        [
            "a prompt of 5 tokens does not fit the largest of workload.token_buckets=[2, 4]",
            "add 5 or more",
        ],
    ),
    "nothing to be held against": (
        [*SMALL, "gate=regression", "gate.against={here}/nowhere"],
        ["gate.against=", "nowhere does not exist"],
    ),
    "held against nothing that was measured": (
        [*SMALL, "gate=regression", "gate.against={here}/outside.jsonl"],
        ["outside.jsonl is nothing to compare with"],
    ),
    "a self-test of arms that differ": (
        [*SMALL, "study=selftest", "baseline=nocache"],
        ["study=selftest measures an arm against itself: it needs baseline=same"],
    ),
    "a calibration of one arm": (
        [*SMALL, "study=calibrate", "baseline=off"],
        ["it needs baseline=same"],
    ),
    "ids out of range": (
        jsonl("outside.jsonl"),
        [
            "prompt 0 has token id 1024",
            "prompt 2 has token id -1",
            "the vocabulary of 1024 (0 to 1023)",
        ],
    ),
    "empty prompts": (jsonl("empty.jsonl"), ["prompt 1 is empty; prompt 2 is empty"]),
    "no prompts": (jsonl("blank.jsonl"), ["prompts cannot be used: there are none"]),
    "bad lines": (
        jsonl("bad.jsonl"),
        ["bad.jsonl: line 2 is neither", "line 4 is neither", '{"tokens": [...]}'],
    ),
    "half a surrogate pair": (jsonl("surrogate.jsonl"), ["is no Unicode text"]),
    "missing prompts": (jsonl("nowhere.jsonl"), ["prompts.path=", "nowhere.jsonl does not exist"]),
    "a folder of prompts": (jsonl("good"), ["prompts.path=", "cannot be read"]),
    "different questions": (
        [*SMALL, "baseline=same", "baseline.overrides=['prompts.seed=1']"],
        ["the arms would answer different questions", "prompts=synthetic"],
    ),
    "missing checkpoint": (
        [*HF, "model.checkpoint={here}/nowhere"],
        ["nowhere: there is no such checkpoint", "python -m jaxgen.convert SOURCE"],
    ),
    "no checkpoint": (
        [*HF, "model.checkpoint={here}/source"],
        ["source is not a complete Orbax checkpoint"],
    ),
    "truncated checkpoint": (
        [*HF, "model.checkpoint={here}/truncated"],
        ["truncated", "python -m jaxgen.convert"],
    ),
    "another model's checkpoint": (
        [*SMALL, "model.weights=pretrained", "model.checkpoint={here}/good"],
        [
            "good does not fit model=tiny",
            "hidden_size is 12, should be 32",
            "tensors misshapen",
            "model=hf",
        ],
    ),
    "missing source": (
        [*HF, "model.source={here}/nowhere"],
        ["nowhere: there is no such folder", "hub id"],
    ),
    "another architecture": (
        [*HF, "model.source={here}/mamba"],
        ["MambaForCausalLM", "is not supported", "GPT2LMHeadModel, LlamaForCausalLM"],
    ),
    "pickles": ([*HF, "model.source={here}/pickles"], ["pickles", "safetensors"]),
    "missing and unexpected tensors": (
        [*HF, "model.source={here}/odd"],
        [
            "missing",
            "layers.1.mlp.up_proj.weight",
            "unexpected",
            "odd.weight",
            "misshapen",
            "norm.weight",
        ],
    ),
    "weights that are no numbers": ([*HF, "model.source={here}/nan"], ["model.norm.weight", "NaN"]),
    "no tokenizer": (
        [*TEXT, "model.checkpoint={here}/good"],
        ["no tokenizer.json", "prompts=synthetic", "prompts=jsonl"],
    ),
    "a broken tokenizer": (
        [*TEXT, "model.checkpoint={here}/mute"],
        ["tokenizer.json is no tokenizer that can be read", "convert the model again"],
    ),
}

LINES = {
    "outside.jsonl": ['{"tokens": [5, 1024]}', '{"tokens": [0, 1023]}', '{"tokens": [-1]}'],
    "empty.jsonl": ['{"tokens": [1]}', '{"tokens": []}', '{"prompt": ""}'],
    "blank.jsonl": ["", "  "],
    "bad.jsonl": ['{"tokens": [1]}', "hello", "", '{"text": "hello"}'],
    "surrogate.jsonl": ['{"prompt": "\\ud800"}'],
}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with every file and checkpoint of the table."""
    folder = tmp_path_factory.mktemp("inputs")
    for name, lines in LINES.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    source = checkpoint_folders.write(folder / "source")
    for name in ("good", "truncated", "mute"):
        convert(str(source), folder / name)
    _truncate(folder / "truncated")
    (folder / "mute" / "tokenizer.json").write_text('{"version": "1.0"')
    checkpoint_folders.write(folder / "mamba", edits={"architectures": ["MambaForCausalLM"]})
    pickles = checkpoint_folders.write(folder / "pickles")
    (pickles / "model.safetensors").rename(pickles / "pytorch_model.bin")
    odd, nan = checkpoint_folders.tensors("qwen3"), checkpoint_folders.tensors("qwen3")
    del odd["model.layers.1.mlp.up_proj.weight"]
    odd["odd.weight"], odd["model.norm.weight"] = np.zeros(3, np.float32), np.zeros(5, np.float32)
    checkpoint_folders.write(folder / "odd", weights=odd)
    nan["model.norm.weight"][3] = np.nan
    checkpoint_folders.write(folder / "nan", weights=nan)
    return folder


def _truncate(checkpoint):
    """Cuts a checkpoint's data files in half; some of them are copies that nobody reads."""
    for path in checkpoint.rglob("d/*"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """One real worker for all rows."""
    log = tmp_path_factory.mktemp("log") / "log"
    with log.open("ab") as printed, Worker(Process(), log=printed, shares_device=False) as started:
        yield started


class Lent:
    """A worker that a run may use, but not end."""

    def __init__(self, worker):
        self.call = worker.call

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        pass


@pytest.fixture
def command_line(worker, monkeypatch, tmp_path, own_loggers):
    """`main` in a folder of its own, which keeps its conversions; one worker serves its runs."""
    monkeypatch.setattr("jaxgen.executor.pool.Worker", lambda *_process, **_settings: Lent(worker))
    monkeypatch.setattr(
        logging, "shutdown", lambda _handlers: None
    )  # Hydra's set-up closes pytest's stream in absl's
    monkeypatch.chdir(tmp_path)
    return lambda argv: main([*argv, f"model.store={tmp_path / 'store'}", "hydra.run.dir=run"])


@pytest.mark.parametrize(("argv", "fragments"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_nothing_half_written(
    argv, fragments, here, command_line, tmp_path, capsys
):
    typed = [word.replace("{here}", str(here)) for word in argv]
    baseline = [] if any(word.startswith("baseline") for word in typed) else ["baseline=off"]
    assert command_line([*typed, *baseline]) == ExitCode.USER_ERROR
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    for fragment in fragments:
        assert fragment in captured.err
    assert captured.out == ""
    _assert_whole(tmp_path)


def _assert_whole(folder):
    """The run says that it failed and why; no half of a file or of a conversion lies about."""
    result = read_result(folder / "run")
    assert (result["status"], result["verdict"]) == ("failed", None)
    assert result["notes"]
    assert {path.name for path in (folder / "run").iterdir()} == {
        ".hydra",
        "jaxgen.log",
        "result.json",
    }
    assert not [
        path for path in folder.rglob("*") if "partial" in path.name or path.suffix == ".tmp"
    ]
    assert not list(folder.glob("store/[!.]*"))


def test_a_disk_that_is_full_at_once_is_one_line_and_leaves_nothing(
    command_line, tmp_path, monkeypatch, capsys
):
    def fsync(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    assert command_line([*SMALL, "baseline=off"]) == ExitCode.USER_ERROR
    line = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert "result.json cannot be written (No space left on device)" in line
    assert "hydra.run.dir=DIR" in line
    assert list(tmp_path.iterdir()) == []


def test_in_a_process_of_its_own_a_mistake_looks_the_same(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "jaxgen",
            *SMALL,
            "baseline=off",
            "cache.max_len=8",
            "hydra.run.dir=run",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(jaxgen.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (ExitCode.USER_ERROR, "")
    assert done.stderr == (
        "error: cache.max_len=8 cannot hold 5 prompt tokens + 4 new ones; raise it to 9 or more\n"
    )
    _assert_whole(tmp_path)


def test_a_good_model_with_a_tokenizer_is_no_mistake(command_line, tmp_path, capsys):
    """The table's models are refused for what was done to them."""
    source = checkpoint_folders.add_tokenizer(
        checkpoint_folders.write(tmp_path / "named", edits={"vocab_size": 270}, weights=_wider())
    )
    assert command_line([*HF, f"model.source={source}", "baseline=off"]) == ExitCode.OK
    assert capsys.readouterr().err == ""
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "outputs.jsonl").read_text().splitlines()
    ]
    assert [(row["arm"], len(row["tokens"])) for row in rows] == [("candidate", 4)]


def _wider():
    weights = checkpoint_folders.tensors("qwen3")
    rng = np.random.default_rng(1)
    weights["model.embed_tokens.weight"] = rng.standard_normal(
        (270, checkpoint_folders.HIDDEN), np.float32
    )
    return weights
