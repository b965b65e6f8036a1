"""`python -m jaxgen.calibrate [OVERRIDES]`: learn this machine's noise floor, for the chosen model and workload."""

import sys
from collections.abc import Sequence

from jaxgen.__main__ import main as run

_COMPOSED = ("study=calibrate", "baseline=same")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line of jaxgen with `study=calibrate baseline=same` in front.

    Args:
        argv: overrides, such as `model=gpt2 model.weights=random`; null takes the process's own.

    Returns:
        The exit code.
    """
    return run([*_COMPOSED, *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
