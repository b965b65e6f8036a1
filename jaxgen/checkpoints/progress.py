"""How long steps tell what they are at."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the stage (`read`, `write`, `restore`, `wait`), how many tensors are done, and of how many."""


def silent(stage: str, done: int, total: int) -> None:
    """The progress that nobody watches."""
