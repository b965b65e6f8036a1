"""The noise of a draw, and which tokens can be drawn whatever rounding does."""

import numpy as np
import pytest

from jaxgen.engine.drawn_tokens import noise_of, standing
from jaxgen.ops.sampling import next_token
from jaxgen.specs.workload import Sampling

TEMPERATURE = 0.7
LOGPROBS = np.log(np.array([0.4, 0.3, 0.2, 0.1], np.float32))


def test_the_noise_is_what_decides_a_draw():
    logits = np.random.default_rng(1).normal(size=(40, 97)).astype(np.float32)
    rows = np.arange(40, dtype=np.int32)
    positions = 3 + rows
    drawn = next_token(
        logits,
        Sampling(temperature=TEMPERATURE),
        seed=np.uint32(9),
        rows=rows,
        positions=positions,
    )
    for row in rows:
        noise = noise_of(
            list(range(97)), seed=9, row=int(row), position=int(positions[row]), vocab=97
        )
        assert int(np.argmax(logits[row] / TEMPERATURE + np.array(noise))) == int(drawn[row])


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        (Sampling(temperature=1.0), ["in", "in", "in", "in"]),
        (Sampling(temperature=1.0, top_k=2), ["in", "in", "out", "out"]),
        (Sampling(temperature=1.0, top_p=0.6), ["in", "in", "out", "out"]),
        (Sampling(temperature=1.0, top_p=0.7), ["in", "in", "edge", "out"]),
    ],
    ids=str,
)
def test_a_token_is_in_out_or_at_the_edge(sampling, words):
    found = [standing(token, LOGPROBS, sampling, tolerance=1e-3) for token in range(4)]
    assert found == words


def test_a_wide_tolerance_puts_neighbours_at_the_edge():
    sampling = Sampling(temperature=1.0, top_k=2)
    found = [standing(token, LOGPROBS, sampling, tolerance=0.25) for token in range(4)]
    assert found == ["in", "edge", "edge", "out"]
