"""The absolute scale, by small numbers worked out by hand and against true weights."""

import dataclasses
import math

import pytest

from jaxgen.measure import byte_counts, roofline
from jaxgen.measure.byte_counts import ElementBytes
from jaxgen.measure.roofline import Step
from jaxgen.models.structure import structure_of
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import Dynamic, Fixed, NoCache
from jaxgen.specs.dtype import Dtype, Int8, Number
from support.small_models import DEEP_FAMILIES

# 2 heads of 3 over one kv head: q 4x6, k and v 4x3, o 6x4 are 72; gate, up, down 4x5 are 60. Norms:
# 3 of 4.
SMALL = Architecture(
    family="llama",
    vocab_size=10,
    hidden_size=4,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    head_dim=3,
    intermediate_size=5,
    context=32,
)
KERNELS, VECTORS, TABLE = 132, 12, 40
WIDE = ElementBytes(weights=4, kv=2)


def of_decode(cache, *, architecture=SMALL, incremental=True, new_tokens=3) -> Step:
    shape = {"rows": 2, "longest": 3, "new_tokens": new_tokens, "capacity": 8}
    shape["width"] = cache.prompt_width(3, 8)
    step = roofline.decode_step(architecture, cache, element=WIDE, incremental=incremental, **shape)
    assert step is not None
    return step


@pytest.mark.parametrize("family", DEEP_FAMILIES)
def test_the_parts_are_all_the_weights_there_are(family):
    parts, shapes = (
        byte_counts.weight_elements(DEEP_FAMILIES[family]),
        structure_of(DEEP_FAMILIES[family]).shapes,
    )
    assert sum(parts.values()) == sum(map(math.prod, shapes))


@pytest.mark.parametrize("family", DEEP_FAMILIES)
def test_kernels_are_the_matrices_of_the_layers(family):
    structure = structure_of(DEEP_FAMILIES[family])
    named = zip(structure.names, structure.shapes, strict=True)
    kernels = sum(math.prod(shape) for name, shape in named if name.endswith(".kernel"))
    assert byte_counts.weight_elements(DEEP_FAMILIES[family])["kernels"] == kernels


def test_a_step_reads_the_weights_and_the_visible_slots_and_writes_one():
    step = of_decode(Fixed(max_len=8, bucket=0))
    kv_elements = 2 * (8 + 1) * 6  # rows x slots x (key and value of 3)
    assert step == Step(
        nbytes=4 * (KERNELS + VECTORS + TABLE) + 2 * kv_elements,
        flops=2 * 2 * (KERNELS + TABLE) + 4 * 2 * 8 * 2 * 3,
    )


def test_an_untied_table_is_read_at_the_rows_of_its_tokens_alone():
    untied = of_decode(Dynamic(), architecture=dataclasses.replace(SMALL, tied=False))
    tied = of_decode(Dynamic())
    assert untied.nbytes - tied.nbytes == 4 * 2 * 4  # two rows of four weights
    assert untied.flops == tied.flops


def test_learned_positions_are_read_at_their_rows_alone():
    learned = of_decode(Dynamic(), architecture=dataclasses.replace(SMALL, position="learned"))
    assert learned.nbytes - of_decode(Dynamic()).nbytes == 4 * 2 * 4


def test_the_mean_is_over_the_depths_of_the_steps():
    """Three prompt tokens and two steps after the first token: they see 4 and 5 slots."""
    by_hand = [
        roofline.forward(SMALL, WIDE, rows=2, tokens=1, depth=depth, kept=True) for depth in (4, 5)
    ]
    assert of_decode(Dynamic()) == roofline.mean_step([(step, 1) for step in by_hand])


def test_a_bucket_is_read_whole():
    assert of_decode(Fixed(bucket=4), new_tokens=2) == of_decode(
        Dynamic(), new_tokens=2
    )  # 4 slots in both
    assert (
        of_decode(Fixed(bucket=8), new_tokens=2).nbytes > of_decode(Dynamic(), new_tokens=2).nbytes
    )


def test_without_a_cache_the_prefix_is_computed_again_and_nothing_is_kept():
    step = of_decode(NoCache(), incremental=False, new_tokens=2)  # a prefix of 4 tokens
    assert step == Step(
        nbytes=4 * (KERNELS + VECTORS + TABLE),
        flops=2 * 2 * (4 * KERNELS + TABLE) + 4 * 2 * 4 * 4 * 2 * 3,
    )


def test_a_prefill_runs_the_padded_prompt_and_the_head_once_a_row():
    step = roofline.prefill_step(
        SMALL, Fixed(), element=WIDE, incremental=True, rows=2, width=16, capacity=32
    )
    width = 16
    assert step == Step(
        nbytes=4 * (KERNELS + VECTORS + TABLE) + 2 * 2 * 2 * width * 6,
        flops=2 * 2 * (width * KERNELS + TABLE) + 4 * 2 * width * width * 2 * 3,
    )


def test_one_token_has_no_decode_step():
    shape = {"rows": 2, "width": 3, "longest": 3, "new_tokens": 1, "capacity": 8}
    assert roofline.decode_step(SMALL, Dynamic(), element=WIDE, incremental=True, **shape) is None


def test_batches_count_by_their_steps():
    assert roofline.mean_step([(Step(10, 1), 3), (Step(50, 5), 1)]) == Step(20, 2)
    assert roofline.mean_step([]) is None


def test_element_bytes_follow_the_dtypes():
    narrow = Dtype(weights=Number.bfloat16, kv=Number.float16)
    found = [ElementBytes.of(dtype, SMALL) for dtype in (Dtype(), narrow)]
    assert found == [ElementBytes(4, 4), ElementBytes(2, 2)]


@pytest.mark.parametrize("kind", ["weights", "kv"])
@pytest.mark.parametrize("dtype", [number for number in Number if number is not Number.int8])
def test_every_float_has_a_size(kind, dtype):
    assert getattr(ElementBytes.of(dataclasses.replace(Dtype(), **{kind: dtype}), SMALL), kind) in (
        2,
        4,
    )


@pytest.mark.parametrize("family", DEEP_FAMILIES)
def test_int8_weights_are_moved_with_their_scales(family):
    """A step without any lookup moves every leaf of the quantised structure."""
    architecture = DEEP_FAMILIES[family]
    structure, parts = (
        structure_of(architecture, Int8.weights),
        byte_counts.weight_elements(architecture),
    )
    narrow = ("kernel_rows", "head", *(("embedding",) if architecture.tied else ()))
    named = zip(structure.names, structure.shapes, strict=True)
    kept = sum((1 if name.endswith(narrow) else 4) * math.prod(shape) for name, shape in named)
    element = ElementBytes.of(Dtype(weights=Number.int8), architecture)
    moved = element.moved(
        kernels=parts["kernels"],
        head=parts["head"],
        embedding=parts["embedding"],
        others=parts["vectors"] + parts["position"],
        tied=architecture.tied,
    )
    assert moved == pytest.approx(kept)


def test_an_int8_cache_has_a_scale_for_each_token_and_head():
    assert ElementBytes.of(Dtype(kv=Number.int8), SMALL) == ElementBytes(weights=4, kv=1 + 4 / 3)


def test_utilisation_is_the_share_of_each_rate():
    used = roofline.utilisation(Step(30, 8), 2.0, bandwidth_bytes_per_s=60, peak_flops_per_s=16)
    assert used == {"mbu": 0.25, "mfu": 0.25}


@pytest.mark.parametrize(("step", "step_s"), [(None, 1.0), (Step(1, 1), None)])
def test_what_is_not_known_is_null(step, step_s):
    used = roofline.utilisation(step, step_s, bandwidth_bytes_per_s=1, peak_flops_per_s=1)
    assert used == {"mbu": None, "mfu": None}
    assert (
        roofline.too_fast(used, mbu_tolerance=0.1, mfu_tolerance=0.1, read_rate="memory bandwidth")
        is None
    )


TOO_FAST = [
    ({"mbu": 1.05, "mfu": 0.2}, None),
    ({"mbu": 1.43, "mfu": 0.2}, "143% of the memory bandwidth that"),
    ({"mbu": None, "mfu": 2.0}, "200% of the peak FLOP/s that"),
    ({"mbu": 3.0, "mfu": 2.0}, "300% of the memory bandwidth and 200% of the peak FLOP/s that"),
]


@pytest.mark.parametrize(("used", "told"), TOO_FAST)
def test_more_than_the_machine_can_do_is_told(used, told):
    clause = roofline.too_fast(
        used, mbu_tolerance=0.1, mfu_tolerance=0.1, read_rate="memory bandwidth"
    )
    assert clause == (told and f"reaches {told} the probe measured: the timer is wrong")


def test_the_tolerance_is_the_probes_own_spread_and_never_small():
    assert roofline.tolerance([50e9, 60e9, 40e9]) == pytest.approx(0.2)
    assert roofline.tolerance([50e9, 50e9]) == roofline.tolerance([]) == roofline.LEAST_TOLERANCE


COUNTS = [
    ({"flops": 150.0, "bytes_accessed": 60.0}, None),
    (
        {"flops": 201.0, "bytes_accessed": 60.0},
        "XLA counts 201 FLOPs where 100 were expected in a decode step",
    ),
    (
        {"flops": 49.0, "bytes_accessed": None},
        "XLA counts 49 FLOPs where 100 were expected in a decode step",
    ),
    (
        {"flops": None, "bytes_accessed": 101.0},
        "XLA counts 101 bytes where 50 were expected in a decode step",
    ),
    (None, None),
]


@pytest.mark.parametrize(("cost", "told"), COUNTS)
def test_a_count_twice_as_large_or_half_is_told(cost, told):
    assert roofline.cost_disagreement(Step(nbytes=50, flops=100), cost) == told
    assert roofline.cost_disagreement(None, cost) is None
