"""`python -m jaxgen.calibrate [OVERRIDES]`: measure how far a start moves a ratio on this machine.

The start spread is that of the chosen model and workload; later runs put it into their intervals.
"""

import sys
from collections.abc import Sequence

from jaxgen.__main__ import main as run

_OVERRIDES = ("study=calibrate", "baseline=same")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of jaxgen with `study=calibrate baseline=same` in front.

    Args:
        argv: overrides, such as `model=gpt2 model.weights=random`; null takes the process's own.

    Returns:
        The exit code.
    """
    # The user's overrides come last: of two values for a key, the last one counts.
    words = sys.argv[1:] if argv is None else argv
    return run([*_OVERRIDES, *words])


if __name__ == "__main__":
    sys.exit(main())
