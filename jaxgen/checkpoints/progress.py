"""How steps that take long report how far they are."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the stage, how many tensors are done, and of how many.

Stages are `read`, `write`, `restore`, `random` and `wait`."""


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""
