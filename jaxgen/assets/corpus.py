"""The training text of the embedded model: stories, sums and small grid puzzles.

A seeded generator makes it; everything follows from the seed. `tokenizer.py` learns its merges from
it, and `train.py` its weights. Two things are kept out of every document: the sums of
`HELD_OUT_SUMS`, so that a right answer to one of them was computed and not remembered, and the
built-in prompts. Training uses seeds below `HELD_OUT_SEED`, evaluation that seed and later ones.
"""

import random
from collections.abc import Callable, Iterator

from jaxgen.assets.stories import person, story
from jaxgen.specs.builtin_prompts import BUILTIN

HELD_OUT_SEED = 1_000_000
_HELD_OUT = """
12 + 5, 13 + 14, 4 + 13, 6 + 12, 8 + 16, 9 + 14, 11 + 7,
15 + 3, 17 + 6, 2 + 19, 18 + 13, 16 + 15, 7 + 8, 3 + 6,
14 - 6, 17 - 5, 9 - 4, 20 - 13, 18 - 11, 13 - 8, 16 - 9,
27 + 35, 46 + 21, 58 + 17, 33 + 66, 72 + 19, 84 + 37, 95 + 48
"""


def _parsed(sums: str) -> frozenset[tuple[int, str, int]]:
    """Return the sums of a text such as `12 + 5, 14 - 6`."""
    parsed = set()
    for entry in sums.split(","):
        a, operator, b = entry.split()
        parsed.add((int(a), operator, int(b)))
    return frozenset(parsed)


HELD_OUT_SUMS = _parsed(_HELD_OUT)
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
    for _ in range(count):
        text = _document(rng)
        # A model that has read a built-in prompt would recite what followed it.
        while any(prompt in text for prompt in BUILTIN):
            text = _document(rng)
        yield text


def is_held_out(a: int, operator: str, b: int) -> bool:
    """Tell whether this sum never occurs in the corpus."""
    if (a, operator, b) in HELD_OUT_SUMS:
        return True
    # An addition is kept out in both orders.
    return operator == "+" and (b, operator, a) in HELD_OUT_SUMS


def answer(a: int, operator: str, b: int) -> int:
    """Return the right result of a sum."""
    if operator == "+":
        return a + b
    return a - b


def sums(rng: random.Random) -> str:
    """Make three to eight solved sums, one a line.

    Operands are 0 to 20, those of additions also up to 99.
    """
    lines = []
    count = rng.randint(3, 8)
    for _ in range(count):
        a, operator, b = _draw(rng, low=0)
        result = answer(a, operator, b)
        lines.append(f"{a} {operator} {b} = {result}")
    return "\n".join(lines) + "\n"


def word_sums(rng: random.Random) -> str:
    """Make one or two sums in words, one a line.

    Such as `Anna has 3 apples. She gets 4 more. Now she has 7 apples.`
    """
    count = rng.randint(1, 2)
    return "\n".join(_word_sum(rng) for _ in range(count))


def grid(rng: random.Random) -> str:
    """Make a square grid of digits, the name of a rule, and the grid that the rule makes of it."""
    size = rng.choice((2, 3, 3, 3, 4))
    num_colours = rng.randint(3, 6)
    palette = rng.sample(range(10), num_colours)
    rows = []
    for _ in range(size):
        row = [rng.choice(palette) for _ in range(size)]
        rows.append(row)
    rule = rng.choice(("flip", "upend", "transpose", "swap"))
    if rule == "swap":
        # Two colours that may be in the grid: swapping others would change nothing.
        first, second = rng.sample(palette, 2)
        rule = f"swap {first} {second}"
    solved = solve(rule, rows)
    return f"grid {rule}\n{_lines(rows)}answer\n{_lines(solved)}"


def solve(rule: str, rows: list[list[int]]) -> list[list[int]]:
    """Apply a puzzle's rule.

    `flip` is left to right, `upend` top to bottom; `transpose`; `swap A B` exchanges two colours.
    """
    if rule == "flip":
        return [row[::-1] for row in rows]
    if rule == "upend":
        return rows[::-1]
    if rule == "transpose":
        return [list(column) for column in zip(*rows, strict=True)]
    _, *colours = rule.split()
    first, second = map(int, colours)
    swapped = {first: second, second: first}
    solved = []
    for row in rows:
        cells = [swapped.get(cell, cell) for cell in row]
        solved.append(cells)
    return solved


_KINDS: dict[str, Callable[[random.Random], str]] = {
    "story": story,
    "sums": sums,
    "word_sums": word_sums,
    "grid": grid,
}


def _document(rng: random.Random) -> str:
    """Make a document of a kind that is drawn by the kinds' weights."""
    kinds = tuple(_WEIGHTS)
    weights = tuple(_WEIGHTS.values())
    (kind,) = rng.choices(kinds, weights)
    make = _KINDS[kind]
    return make(rng)


def _draw(rng: random.Random, low: int) -> tuple[int, str, int]:
    """Draw a sum that is not held out; `low` is the smallest operand and difference."""
    while True:
        operator = rng.choice("++-")
        high = 20
        # Half of the additions in digits are of larger numbers; those in words are of small ones.
        if operator == "+" and low == 0 and rng.random() < 0.5:
            high = 99
        a = rng.randint(low, high)
        b = rng.randint(low, high)
        difference = a - b
        # It is drawn anew with its operator: fewer than a third of the sums are subtractions.
        if operator == "-" and difference < low:
            continue
        # Both forms of sums are drawn here, so that neither digits nor words give one away.
        if not is_held_out(a, operator, b):
            return a, operator, b


def _word_sum(rng: random.Random) -> str:
    """Make one sum in words."""
    name, he, him, _, _ = person(rng)
    other = person(rng)[0]
    while other == name:
        other = person(rng)[0]
    # From 2 on, so that the plural is right everywhere: no text says `1 apples`.
    a, operator, b = _draw(rng, low=2)
    events = _GAINS if operator == "+" else _LOSSES
    event = rng.choice(events)
    event = event.format(He=he.title(), him=him, other=other, b=b)
    thing = rng.choice(_THINGS)
    result = answer(a, operator, b)
    return f"{name} has {a} {thing}. {event} Now {he} has {result} {thing}."


def _lines(rows: list[list[int]]) -> str:
    """Return a grid as text, a line for each row."""
    text = ""
    for row in rows:
        line = " ".join(map(str, row))
        text += line + "\n"
    return text
