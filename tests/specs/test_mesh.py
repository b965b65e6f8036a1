"""Which meshes are possible, and what one device has of a model."""

import dataclasses

import pytest

from jaxgen.config.experiment import load_experiment
from jaxgen.errors import UserError
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.mesh import Cut, Mesh, OneDevice, Processes, partition

ARCH = Architecture(
    family="llama",
    vocab_size=100,
    hidden_size=32,
    num_layers=2,
    num_heads=8,
    num_kv_heads=4,
    head_dim=4,
    intermediate_size=48,
    context=64,
)


def test_one_device_cuts_nothing():
    assert partition(OneDevice(), ARCH) == Cut()
    assert Cut().part(ARCH) == ARCH


def test_a_part_is_a_smaller_model():
    parts = partition(Mesh(data=2, tensor=4), ARCH)
    part = parts.part(ARCH)
    assert (part.num_heads, part.num_kv_heads, part.intermediate_size, part.vocab_size) == (
        2,
        1,
        12,
        25,
    )
    assert part.hidden_size == ARCH.hidden_size
    assert (parts.batch, parts.reasons) == (2, ())


def test_fewer_kv_heads_than_devices_are_whole_on_each():
    parts = partition(Mesh(tensor=8), ARCH)
    assert (parts.heads, parts.kv_heads) == (8, 1)
    assert parts.part(ARCH).num_kv_heads == 4
    assert any("its 4 kv heads, fewer than mesh.tensor=8" in reason for reason in parts.reasons)


@pytest.mark.parametrize(
    ("hidden", "vocab", "table", "how"),
    [(32, 1, 4, "cut along the hidden size"), (30, 1, 1, "whole on every device")],
)
def test_a_vocabulary_that_does_not_come_out_even(hidden, vocab, table, how):
    parts = partition(Mesh(tensor=4), dataclasses.replace(ARCH, vocab_size=97, hidden_size=hidden))
    assert (parts.vocab, parts.table) == (vocab, table)
    assert (
        f"its vocabulary, 97, is not divisible by mesh.tensor=4: its tables are {how}"
        in parts.reasons
    )


def test_an_intermediate_size_that_does_not_come_out_even_is_whole():
    parts = partition(Mesh(tensor=4), dataclasses.replace(ARCH, intermediate_size=50))
    assert parts.intermediate == 1
    assert (
        "its intermediate size, 50, is not divisible by mesh.tensor=4 and whole on every device"
        in parts.reasons
    )


@pytest.mark.parametrize(
    ("changed", "ways", "message"),
    [
        (
            {},
            3,
            (
                r"num_heads=8 is not divisible by mesh\.tensor=3; num_kv_heads=4 is"
                r".*mesh\.tensor may be 1, 2 below"
            ),
        ),
        (
            {"num_heads": 12, "num_kv_heads": 6},
            4,
            r"shared out: num_kv_heads=6 is not divisible by mesh\.tensor=4",
        ),
    ],
)
def test_heads_that_do_not_come_out_even_are_refused(changed, ways, message):
    with pytest.raises(UserError, match=message):
        partition(Mesh(tensor=ways), dataclasses.replace(ARCH, **changed))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["mesh=tensor", "mesh.tensor=0"], r"mesh\.tensor=0 must be 1 or more"),
        (["mesh=data", "mesh.data=3"], r"workload\.batch_size=4 is not divisible by mesh\.data=3"),
        (
            ["mesh=data", "workload.batch_buckets=[3,4]"],
            r"workload\.batch_buckets=3 is not divisible by mesh\.data=2",
        ),
        (
            ["mesh=data", "workload.batching=continuous"],
            r"batching=continuous has no rows for mesh\.data=2",
        ),
        (["mesh=tensor", "jit=captured"], r"jit=captured makes constants.*use jit=closure"),
        (
            ["mesh=tensor", "cache=paged", "cache.kernel=pallas"],
            r"cache\.kernel=pallas cannot be cut",
        ),
        (
            ["mesh=tensor", "mesh.local_processes=3"],
            r"mesh\.tensor=2 = 2 devices are not divisible among 3 processes",
        ),
        (
            ["mesh=tensor", "mesh.coordinator=h:1"],
            r"mesh\.coordinator needs mesh\.process_id, mesh\.num_processes too",
        ),
        (
            ["mesh=tensor", "mesh.processes=auto", "mesh.local_processes=2"],
            r"are several ways to find the other",
        ),
        (
            ["mesh=tensor", "mesh.coordinator=h:1", "mesh.process_id=2", "mesh.num_processes=2"],
            r"mesh\.process_id=2 must be 0 or more and below mesh\.num_processes=2",
        ),
        (
            ["mesh=tensor", "mesh.coordinator=h", "mesh.process_id=0", "mesh.num_processes=2"],
            r"mesh\.coordinator=h must be HOST:PORT",
        ),
        (
            ["mesh=tensor", "mesh.processes=auto", "measure.processes=2"],
            r"measure\.processes=2 needs processes of its",
        ),
        (
            ["mesh=tensor", "mesh.processes=auto", "study=calibrate"],
            r"study needs processes of its own",
        ),
        (
            ["mesh=tensor", "mesh.processes=auto", "measure.isolation=separate"],
            r"isolation=separate needs processes",
        ),
        (["mesh.tensor=2"], r"mesh=single has no keys at all; mesh=tensor has it"),
    ],
)
def test_impossible_meshes_are_refused_with_their_numbers(overrides, message):
    with pytest.raises(UserError, match=message):
        load_experiment([*overrides, "baseline=off"])


def test_a_baseline_may_have_another_mesh():
    arms = load_experiment(["mesh=tensor", "baseline=same", "baseline.mesh=single"]).arms
    assert (arms["candidate"].run.mesh, arms["baseline"].run.mesh) == (Mesh(tensor=2), OneDevice())


@pytest.mark.parametrize(
    ("mesh", "devices"),
    [
        (Mesh(tensor=4), 4),
        (Mesh(tensor=4, local_processes=2), 2),
        (Mesh(tensor=4, coordinator="h:1", process_id=0, num_processes=4), 1),
        (Mesh(tensor=4, processes=Processes.auto), None),
    ],
)
def test_the_host_devices_of_one_process(mesh, devices):
    assert mesh.host_devices == devices
