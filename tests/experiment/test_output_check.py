"""How outputs are compared: in what precision, and what the arms are asked where they part."""

import dataclasses

import pytest

from jaxgen.experiment.output_check import agreement_of
from jaxgen.experiment.precision import computed_in
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


class StandInPool:
    """Both arms give the same distributions, and note what they are asked."""

    def __init__(self, compared_positions: int):
        self.environments = {"candidate": {}, "baseline": {}}
        self.commands = []
        self._compared = compared_positions

    def call(self, arm, command, **arguments):
        self.commands.append(command)
        if command == "logprobs":
            return [-1.0, -1.0]
        facts = {"forced": "steps", "positions_compared": 3, "positions_total": 3}
        if command != "compare_logits":
            return facts
        answers = []
        for at in arguments["divergences"]:
            compared = at["position"] < self._compared
            answers.append({name: [-2.0, -2.0] for name in self.environments} if compared else None)
        zeros = {"kl": [[0.0]], "max_abs_logprob_diff": [[0.0]], "margins": {}}
        zeros |= {"logit_error": [[0.0]], "draws": [None for _ in answers]}
        none = {"skipped": None, "non_finite": None, "logit_spread": 1.0}
        return {**facts, **zeros, **none, "forced": {"candidate": "steps"}, "divergences": answers}


@pytest.mark.parametrize(
    ("compared", "logprob", "asked"), [(3, -2.0, 0), (1, -1.0, 2)], ids=["compared", "left out"]
)
def test_arms_are_asked_at_a_divergence_only_where_no_logits_were_compared(
    compared, logprob, asked
):
    pool = StandInPool(compared)
    rows = {
        name: [{"index": 0, "prompt_tokens": [9], "tokens": [1, 2, last]}]
        for name, last in (("candidate", 3), ("baseline", 4))
    }
    arms = {name: arm(name) for name in rows}
    result = agreement_of(arms, pool, rows, case=0)
    assert result["status"] == "rounding"
    assert result["first_divergence"]["logprobs"]["candidate"] == [logprob, logprob]
    assert pool.commands.count("logprobs") == asked
