"""Strict settings for every test: nothing that jax lets pass in silence passes here.

They are set before jax starts its backend. Worker processes that tests start do not inherit them (but for the
platform): they run as a user's would.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

STRICT = {
    "jax_num_cpu_devices": 4,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_captured_constants_warn_bytes": 16 * 1024,  # the smallest test model has more weights than that
}

for name, value in STRICT.items():
    jax.config.update(name, value)


@pytest.fixture
def ledger():
    """Hears every trace, lowering and compile of the test."""
    from jaxgen.engine.ledger import Ledger

    listening = Ledger()
    yield listening
    listening.close()
