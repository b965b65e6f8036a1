"""The probes: plausible rates, a bounded working set, and nothing compiled by the second."""

import jax
import pytest

from jaxgen.machine import probes
from jaxgen.machine.probes import probe

SMALL = 256 * 1024


@pytest.fixture(autouse=True)
def _small_products(monkeypatch):
    monkeypatch.setattr(probes, "GEMM_SIZES", {"cpu": (128,)})
    monkeypatch.setattr(probes, "CALL_S", 0.001)


def test_the_best_rate_is_the_best_sample():
    told = probe(SMALL)
    assert told["bandwidth_bytes_per_s"] == max(told["bandwidth_samples"]) > 0
    assert told["peak_flops_per_s"] == max(told["flops_samples"]) > 0
    assert len(told["bandwidth_samples"]) == len(told["flops_samples"]) == probes.ROUNDS
    assert told["bandwidth_form"] in probes._READERS


@pytest.mark.parametrize("nbytes", [0, SMALL, 3 * SMALL])
def test_the_working_set_is_what_was_asked_for(nbytes):
    told = probe(nbytes)["working_set_bytes"]
    least = probes.PARTS * probes.WIDTH * 4
    assert max(nbytes - least, least) <= told <= max(nbytes, least)


def test_the_working_set_is_bounded(monkeypatch):
    monkeypatch.setattr(probes, "MOST_BYTES", SMALL)
    assert probe(10**12)["working_set_bytes"] == SMALL


def test_at_most_a_quarter_of_the_free_memory_is_taken(monkeypatch):
    class Free:
        available = 4 * SMALL

    monkeypatch.setattr(probes.psutil, "virtual_memory", Free)
    assert probe(10**12)["working_set_bytes"] == SMALL


def test_a_second_probe_compiles_nothing(ledger):
    probe(SMALL)
    mark = ledger.mark()
    probe(SMALL)
    assert ledger.since(mark).entries == ()


def test_on_a_mesh_each_device_reads_as_much():
    mesh = jax.make_mesh((2, 2), ("data", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    parts = probes._working_set(SMALL, mesh)
    assert {shard.data.shape for shard in parts[0].addressable_shards} == {
        probes._working_set(SMALL)[0].shape
    }
    assert probe(SMALL, mesh=mesh)["working_set_bytes"] == probe(SMALL)["working_set_bytes"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_product_takes_the_arms_activation_dtype(dtype):
    assert probe(SMALL, dtype=dtype)["peak_flops_per_s"] > 0


@pytest.mark.parametrize("form", probes._READERS)
def test_more_passes_of_each_form_take_longer(form):
    """None of the work may be left out: many passes over 16 MB cannot be instant."""
    parts, passes = probes._working_set(16 * 2**20), 20
    read = probes._READERS[form]
    probes._call_s(lambda count: read(parts, count), 1)
    once = min(probes._call_s(lambda count: read(parts, count), 1) for _ in range(5))
    often = min(probes._call_s(lambda count: read(parts, count), passes) for _ in range(3))
    assert often > 3 * once
