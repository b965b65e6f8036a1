"""Types that say more than Python's own: `results.damage` checks what stands behind their names."""

from typing import Annotated, Any, Literal

Direction = Literal["higher", "lower"]
# `damage` finds the check by the text: a new one here needs a value of that name there.
Count = Annotated[int, "a count"]
Positive = Annotated[float, "a number above 0"]
Interval = Annotated[list[float], "two numbers above 0"]
Plain = Annotated[Any, "a plain value"]

FILLED = "filled"
"""Marks a section that is null in the file until something is known, and empty for who reads it."""
