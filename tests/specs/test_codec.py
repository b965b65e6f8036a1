"""Runs go to a worker as JSON and come back equal: for every option of every group."""

import dataclasses
import json

import pytest

from jaxgen.config.experiment import load_experiment
from jaxgen.errors import UserError
from jaxgen.specs.cache import Dynamic, Fixed
from jaxgen.specs.codec import spec_from_plain, spec_to_plain, without_none
from jaxgen.specs.jit import Strategy
from jaxgen.specs.workload import Site

ROWS = [
    [
        "model=tiny",
        "cache=fixed",
        "jit=closure",
        "measure=default",
        "prompts=builtin",
        "study=single",
        "gate=off",
    ],
    [
        "model=gpt2",
        "cache=none",
        "jit=partial",
        "measure=quick",
        "prompts=text",
        "prompts.text=[a,'b, c']",
    ],
    [
        "model=tiny",
        "gate=regression",
        "gate.against=r",
        "tracker=none",
        "workload.depths=[0,8]",
        "measure.startup=both",
    ],
    [
        "model=tiny",
        "study=selftest",
        "study.faults=false",
        "sweep.retry=none",
        "console.level=quiet",
        "fault.slowdown=0.5",
        "fault.nan_weights=true",
    ],
    [
        "model=tiny",
        "study=calibrate",
        "study.seconds=3",
        "fault.clock=0.01",
        "workload.token_buckets=[4,8]",
    ],
    [
        "model=gpt2_medium",
        "cache=dynamic",
        "jit=partial_kept",
        "measure=thorough",
        "prompts=jsonl",
        "prompts.path=p",
    ],
    [
        "model=llama3_2_1b",
        "jit=captured",
        "dtype=bfloat16",
        "prompts=synthetic",
        "baseline=same",
        "mesh=single",
    ],
    [
        "model=qwen2_5_0_5b",
        "jit=aot",
        "dtype=float16",
        "workload=generate",
        "workload.loop=host",
        "baseline=nocache",
    ],
    [
        "model=qwen3_0_6b",
        "jit=eager",
        "dtype=float32",
        "process.env={B: '2', A: '1'}",
        "model.weights=random",
    ],
    ["dtype=int8", "dtype.kv=int8", "dtype.activations=bfloat16"],
    [
        "workload=score",
        "workload.query=[3,1]",
        "workload.items=[[4],[]]",
        "workload.label_token_ids=[1,5]",
    ],
    ["prompts=arc", "prompts.path=tasks", "prompts.max_tokens=400", "prompts.count=3"],
    [
        "workload.capture.layers=[0,2]",
        "workload.capture.sites=[mlp,attention]",
        "cache.window=64",
        "cache.regions=2",
    ],
    ["cache.layout=HND", "baseline=same", "baseline.overrides=['cache.layout=NHD']"],
    ["cache=paged", "cache.num_pages=40", "cache.kernel=pallas"],
    ["mesh=data", "mesh.data=4", "baseline.mesh=single"],
    ["mesh=tensor", "mesh.local_processes=2", "baseline=same"],
    ["mesh=tensor", "mesh.processes=auto", "baseline=off"],
    [
        "mesh=tensor",
        "mesh.coordinator='host:1234'",
        "mesh.process_id=1",
        "mesh.num_processes=2",
        "baseline=off",
    ],
    ["mesh=tensor", "mesh.tensor=4", "mesh.data=2", "baseline=same"],
    ["cache=paged", "workload.batching=continuous", "workload.shared_prefix=true", "baseline=same"],
    [
        "workload=score",
        "workload.batch_sizes=[1,4]",
        "workload.num_runs=20",
        "workload.tokenization=separate",
    ],
    ["model=hf", "model.source=somewhere", "baseline=off", "measure.isolation=separate"],
    ["tracker=wandb", "tracker.mode=online", "tracker.tags=[a,b]", "tracker.init_timeout_s=5"],
]
"""Every option of every group stands in some row; `test_config` composes each alone."""


@pytest.mark.parametrize("overrides", ROWS, ids=lambda row: " ".join(row[:2]))
def test_a_run_survives_json(overrides):
    for arm in load_experiment(overrides).arms.values():
        message = json.dumps(spec_to_plain(arm.run))
        back = spec_from_plain(json.loads(message))
        assert back == arm.run
        assert hash(back) == hash(arm.run)


def test_names_in_a_list_are_read_as_what_they_name():
    captured = load_experiment(["experiment=capture"]).arms["candidate"].run.workload.capture
    assert captured.sites == (Site.residual, Site.attention, Site.mlp)


def test_the_rows_have_every_option():
    from jaxgen.config.table import OPTIONS

    named = {override for row in ROWS for override in row}
    assert {f"{group}={name}" for group, name, _ in OPTIONS} <= named


@pytest.fixture(scope="module")
def plain():
    return spec_to_plain(load_experiment(["baseline=off"]).arms["candidate"].run)


def test_slots_with_several_kinds_are_told_apart_by_name(plain):
    changed = spec_from_plain(plain | {"cache": {"class": "Dynamic"}})
    assert changed.cache == Dynamic()


def test_enums_travel_by_value(plain):
    assert plain["jit"]["strategy"] == "closure"
    assert spec_from_plain(plain).jit.strategy is Strategy.closure


def test_fields_that_are_left_out_have_their_defaults(plain):
    changed = plain | {"cache": {"class": "Fixed", "bucket": 9}}
    assert spec_from_plain(changed).cache == Fixed(bucket=9)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"cache": {"class": "Jit"}}, "slot cache cannot hold 'Jit'"),
        ({"cache": {}}, "slot cache cannot hold None"),
        ({"colour": {"class": "Red"}}, "not a run"),
    ],
)
def test_a_message_that_is_no_run_is_refused(plain, change, fragment):
    with pytest.raises(ValueError, match=fragment):
        spec_from_plain(plain | change)


def test_an_impossible_value_is_the_user_s_error(plain):
    with pytest.raises(UserError, match=r"cache\.max_len=0 is impossible"):
        spec_from_plain(plain | {"cache": {"class": "Fixed", "max_len": 0}})


def test_without_none():
    assert without_none(int | None) is int
    assert without_none(int) is int
    assert without_none(int | str | None) == int | str | None


def test_arms_are_frozen():
    arm = load_experiment(["baseline=off"]).arms["candidate"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        arm.name = "other"
