"""What the devices of a mesh send each other in a compiled program: its collective operations."""

import collections
import re

NAMES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
)

# One that comes in two halves, a start and a done, counts once.
_COLLECTIVE = re.compile(
    rf"^.* = .*? ({'|'.join(NAMES)})(?:-start)?\(",
    re.MULTILINE,
)


def collectives(text: str) -> dict[str, int]:
    """Return how many of each collective a compiled program has.

    Args:
        text: HLO of the program. An instruction in a loop counts once, as the loop's steps do.
    """
    # By name and not by line: how often a loop runs is not in the text.
    names = _COLLECTIVE.findall(text)
    return dict(sorted(collections.Counter(names).items()))
