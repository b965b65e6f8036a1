"""What counts as a narrow array that a program widens, by its text and by a real program."""

import jax
import jax.numpy as jnp
import pytest

from jaxgen.engine.hlo.wide_copies import wide_copies

TEXT = """\
HloModule jit_loop

%fused_computation (param_0: s8[4,6], param_1: f32[6]) -> f32[4] {
  %convert.9 = f32[4,6]{1,0} convert(%param_0)
  ROOT %dot.2 = f32[4]{0} dot(%convert.9, %param_1)
}

%other (param_0: s8[4,6]) -> (f32[6,4], f32[6]) {
  ROOT %t = (f32[6,4]{1,0}, f32[6]{0}) tuple(%a), metadata={op_name="jit(loop)/while/body/convert"}
}

%body (arg: (f32[6], s8[4,6])) -> (f32[6], s8[4,6]) {
  %convert.1 = f32[4,6]{1,0} convert(%gte.1), metadata={op_name="jit(loop)/while/body/convert"}
  %fusion.3 = (f32[6,4]{1,0}, f32[6]{0}) fusion(%gte.1, %gte.0), calls=%other
  %fusion.4 = f32[4]{0} fusion(%gte.1, %gte.0), kind=kLoop, calls=%fused_computation
  %convert.5 = s8[4,6]{1,0} convert(%gte.2)
}

ENTRY %main (p: s8[4,6]) -> f32[4] {
  %convert.6 = f32[1,4,1,6]{3,2,1,0} convert(%p)
}
"""


def narrow(*shape, dtype="int8"):
    return jax.ShapeDtypeStruct(shape, dtype)


def test_what_is_written_in_a_wider_dtype_counts_whatever_the_order_of_its_axes():
    found = wide_copies(TEXT, [narrow(4, 6)])
    assert (found["count"], found["bytes"]) == (3, 3 * 24 * 4)
    operation = "while/body/convert"
    assert found["operations"][:2] == [
        {"operation": operation, "array": "f32[4,6]", "count": 1, "bytes": 96},
        {"operation": operation, "array": "f32[6,4]", "count": 1, "bytes": 96},
    ]


@pytest.mark.parametrize(
    "array", [narrow(4, 6, dtype="float32"), narrow(24), narrow(4, 7)], ids=str
)
def test_other_arrays_do_not_count(array):
    assert wide_copies(TEXT, [array])["count"] == 0


def test_a_cast_before_a_product_is_found_in_a_real_program():
    x, weights = jnp.ones((2, 32)), jnp.ones((32, 48), jnp.int8)
    compiled = jax.jit(lambda x, w: x @ w.astype(x.dtype)).lower(x, weights).compile()
    found = wide_copies(compiled.as_text(), [weights])
    if jax.default_backend() == "cpu":
        assert found["bytes"] == 4 * weights.size
        assert "convert" in found["operations"][0]["operation"]
