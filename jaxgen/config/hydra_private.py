"""What jaxgen needs of Hydra and Hydra has no public name for; read in Hydra 1.3.2 to 1.3.8.

Nothing else imports from `hydra._internal`: what a new version of Hydra may move is all here.
"""

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

BASIC_SWEEPER = f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}"
"""The `_target_` of Hydra's own sweeper, which runs every combination of the values."""


def sweep_points(overrides: list[Override]) -> list[list[str]]:
    """Return the overrides of each job that Hydra's own sweeper would run, in its order."""
    # The second argument is the size of a batch of jobs; null puts all of them into one.
    return BasicSweeper.split_arguments(overrides, None)[0]
