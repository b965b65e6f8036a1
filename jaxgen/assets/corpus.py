"""The text that the embedded model learns from: stories, sums and small grid puzzles, made by a seeded generator.

`tokenizer.py` learns its merges from it and `train.py` its weights. Everything follows from the seed. Two things are
kept out of every document: the sums of `HELD_OUT_SUMS` (so that a right answer to one of them was worked out, not
remembered) and the built-in prompts. Training uses seeds below `HELD_OUT_SEED`, evaluation that seed and later ones.
"""

import random
from collections.abc import Callable, Iterator

from jaxgen.assets.stories import person, story
from jaxgen.specs.builtin_prompts import BUILTIN

HELD_OUT_SEED = 1_000_000
HELD_OUT_SUMS = frozenset(
    {
        *(
            (12, "+", 5),
            (13, "+", 14),
            (4, "+", 13),
            (6, "+", 12),
            (8, "+", 16),
            (9, "+", 14),
            (11, "+", 7),
        ),
        *(
            (15, "+", 3),
            (17, "+", 6),
            (2, "+", 19),
            (18, "+", 13),
            (16, "+", 15),
            (7, "+", 8),
            (3, "+", 6),
        ),
        *(
            (14, "-", 6),
            (17, "-", 5),
            (9, "-", 4),
            (20, "-", 13),
            (18, "-", 11),
            (13, "-", 8),
            (16, "-", 9),
        ),
        *(
            (27, "+", 35),
            (46, "+", 21),
            (58, "+", 17),
            (33, "+", 66),
            (72, "+", 19),
            (84, "+", 37),
            (95, "+", 48),
        ),
    }
)
"""(a, operator, b); an addition is kept out in both orders."""

_WEIGHTS = {"story": 0.31, "sums": 0.23, "word_sums": 0.20, "grid": 0.26}
"""Shares of documents; in tokens about 45 % stories, 35 % sums of both forms, 20 % grids."""
_THINGS = ("apples", "pears", "plums", "cherries", "books", "coins", "shells", "stones")
_GAINS = ("{He} gets {b} more.", "{He} finds {b} more.", "{other} gives {him} {b} more.")
_LOSSES = ("{He} gives {b} to {other}.", "{He} loses {b} of them.")


def documents(seed: int, count: int) -> Iterator[str]:
    """Yield `count` documents, the same ones for the same seed.

    Args:
        seed: below `HELD_OUT_SEED` for training text, from there on for evaluation.
        count: how many documents.

    Example:
        >>> next(documents(seed=0, count=1)) == next(documents(seed=0, count=5))
        True
    """
    rng = random.Random(seed)
    kinds, weights = tuple(_WEIGHTS), tuple(_WEIGHTS.values())
    for _ in range(count):
        text = _KINDS[rng.choices(kinds, weights)[0]](rng)
        while any(prompt in text for prompt in BUILTIN):
            text = _KINDS[rng.choices(kinds, weights)[0]](rng)
        yield text


def is_held_out(a: int, operator: str, b: int) -> bool:
    """Whether this sum never occurs in the corpus."""
    return (a, operator, b) in HELD_OUT_SUMS or (
        operator == "+" and (b, operator, a) in HELD_OUT_SUMS
    )


def answer(a: int, operator: str, b: int) -> int:
    """The right result of a sum."""
    return a + b if operator == "+" else a - b


def sums(rng: random.Random) -> str:
    """Three to eight solved sums, one a line: operands 0 to 20, and additions of numbers up to 99."""
    lines = []
    for _ in range(rng.randint(3, 8)):
        a, operator, b = _draw(rng, low=0)
        lines.append(f"{a} {operator} {b} = {answer(a, operator, b)}")
    return "\n".join(lines) + "\n"


def word_sums(rng: random.Random) -> str:
    """One or two sums told in words, one a line: `Anna has 3 apples. She gets 4 more. Now she has 7 apples.`"""
    return "\n".join(_word_sum(rng) for _ in range(rng.randint(1, 2)))


def grid(rng: random.Random) -> str:
    """A square grid of digits, the name of a rule, and the grid that the rule makes of it."""
    size = rng.choice((2, 3, 3, 3, 4))
    palette = rng.sample(range(10), rng.randint(3, 6))
    rows = [[rng.choice(palette) for _ in range(size)] for _ in range(size)]
    rule = rng.choice(("flip", "upend", "transpose", "swap"))
    if rule == "swap":
        first, second = rng.sample(palette, 2)
        rule = f"swap {first} {second}"
    return f"grid {rule}\n{_rows(rows)}answer\n{_rows(solve(rule, rows))}"


def solve(rule: str, rows: list[list[int]]) -> list[list[int]]:
    """Apply a puzzle's rule: `flip` left to right, `upend` top to bottom, `transpose`, `swap A B` two colours."""
    if rule == "flip":
        return [row[::-1] for row in rows]
    if rule == "upend":
        return rows[::-1]
    if rule == "transpose":
        return [list(column) for column in zip(*rows, strict=True)]
    first, second = (int(colour) for colour in rule.split()[1:])
    swapped = {first: second, second: first}
    return [[swapped.get(cell, cell) for cell in row] for row in rows]


_KINDS: dict[str, Callable[[random.Random], str]] = {
    "story": story,
    "sums": sums,
    "word_sums": word_sums,
    "grid": grid,
}


def _draw(rng: random.Random, low: int) -> tuple[int, str, int]:
    """A sum that is not held out; `low` is the smallest operand and the smallest difference."""
    while True:
        operator = rng.choice("++-")
        high = 99 if operator == "+" and low == 0 and rng.random() < 0.5 else 20
        a, b = rng.randint(low, high), rng.randint(low, high)
        if operator == "-" and a - b < low:
            continue
        if not is_held_out(a, operator, b):
            return a, operator, b


def _word_sum(rng: random.Random) -> str:
    name, he, him, _, _ = person(rng)
    other = person(rng)[0]
    while other == name:
        other = person(rng)[0]
    a, operator, b = _draw(rng, low=2)
    event = rng.choice(_GAINS if operator == "+" else _LOSSES)
    event = event.format(He=he.title(), him=him, other=other, b=b)
    thing = rng.choice(_THINGS)
    return f"{name} has {a} {thing}. {event} Now {he} has {answer(a, operator, b)} {thing}."


def _rows(rows: list[list[int]]) -> str:
    return "".join(" ".join(str(cell) for cell in row) + "\n" for row in rows)
