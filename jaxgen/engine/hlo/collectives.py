"""What devices tell each other in a compiled program: its collective operations, counted by their names."""

import re
from collections import Counter

NAMES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
)

_MADE = re.compile(rf"^.* = .*? ({'|'.join(NAMES)})(?:-start)?\(", re.MULTILINE)


def collectives(text: str) -> dict[str, int]:
    """How many of each a compiled program (HLO) has; those in a loop count once, as its steps do. One that is told in
    two halves, a start and a done, is one."""
    return dict(sorted(Counter(_MADE.findall(text)).items()))
