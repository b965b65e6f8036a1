"""What no combination of a run's parts can do is said before anything is loaded."""

import re

import pytest

from jaxgen.errors import UserError
from jaxgen.specs.cache import Dynamic, Fixed
from jaxgen.specs.workload import Batching, Loop
from support import small_models


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cache": Dynamic()}, "needs cache=fixed or cache=paged"),
        ({"shared_prefix": True}, "needs cache=paged: only pages can belong to several texts"),
        (
            {"loop": Loop.host, "depths": (3,)},
            "cannot be combined with workload.depths; set workload.depths=[]",
        ),
        (
            {"cache": Fixed(regions=2)},
            "cannot be combined with cache.regions=2, whose rows go in step; set cache.regions=1",
        ),
    ],
    ids=["a growing cache", "no pages", "depths", "two regions"],
)
def test_what_continuous_batching_cannot_do(changed, message):
    with pytest.raises(UserError, match=re.escape(message)):
        small_models.run(batching=Batching.continuous, **changed)
