"""In what precision an arm computes, as far as its device decides it."""

import dataclasses

import pytest

from jaxgen.experiment.output_check import computed_in
from jaxgen.specs.dtype import Dtype, Number
from support.small_runs import arm

BFLOAT16 = Dtype(
    weights=Number.bfloat16, activations=Number.bfloat16, kv=Number.bfloat16, logits=Number.bfloat16
)


@pytest.mark.parametrize(
    ("platform", "precision", "dtype", "coarser"),
    [
        ("cpu", None, Dtype(), set()),
        ("gpu", None, Dtype(), {"tensorfloat32"}),
        ("gpu", "highest", Dtype(), set()),
        ("tpu", None, Dtype(), {"bfloat16"}),
        ("gpu", None, BFLOAT16, set()),
    ],
    ids=str,
)
def test_products_of_float32_are_coarser_where_the_device_makes_them_so(
    platform, precision, dtype, coarser
):
    asked = arm("candidate")
    asked = dataclasses.replace(asked, run=dataclasses.replace(asked.run, dtype=dtype))
    environment = {"platform": platform, "jax_config": {"jax_default_matmul_precision": precision}}
    names = {getattr(dtype, knob).value for knob in ("weights", "activations", "kv", "logits")}
    assert set(computed_in(asked, environment)) == names | coarser
