"""Short plain-English stories for the embedded model: random plots, people, places and things.

`story_plots.py` holds the sentences, `corpus.py` mixes the stories with sums and puzzles.
"""

import random
import re

from jaxgen.assets.story_plots import CLOSERS, INTROS, PLOTS

GIRLS = ("Anna", "Mia", "Lucy", "Emma", "Ruby", "Nora", "Clara", "Ella", "Rose", "Lily")
BOYS = ("Tom", "Ben", "Sam", "Leo", "Max", "Jack", "Finn", "Hugo", "Noah", "Adam")
_ELDERS = (
    ("mother", "she"),
    ("grandmother", "she"),
    ("aunt", "she"),
    ("father", "he"),
    ("grandfather", "he"),
    ("uncle", "he"),
)
_SPOTS = (
    "under the bed",
    "behind the door",
    "in the big box",
    "on the shelf",
    "under the table",
    "in the garden",
)
_SLOTS = {
    "adj": ("kind", "little", "clever", "brave", "quiet", "cheerful", "shy", "curious"),
    "colour": ("red", "blue", "green", "yellow", "white"),
    "toy": ("ball", "drum", "boat", "doll", "car", "train", "robot"),
    "place": ("park", "lake", "river", "hill", "forest", "farm", "beach", "bridge"),
    "pet": ("kitten", "puppy", "rabbit", "duck"),
    "petname": ("Star", "Snow", "Cookie", "Pepper", "Lucky"),
    "wild": ("fox", "bear", "wolf", "goat", "lion"),
    "small": ("mouse", "frog", "bird", "turtle", "hen"),
    "fruit": ("apples", "pears", "plums", "cherries", "berries"),
    "item": ("bread", "milk", "cheese", "rice"),
    "daytime": ("morning", "afternoon", "evening"),
    "weather": ("sunny", "windy", "cold", "warm", "cloudy"),
}
_WHENS = (
    "One day",
    "One {daytime}",
    "One {weather} {daytime}",
    "One {weather} day",
    "Last Monday",
    "On Sunday",
)


def story(rng: random.Random) -> str:
    """Make one story of three to eight sentences, with the same people and things throughout."""
    slots = _bind(rng)
    plot = rng.choice(PLOTS)
    lines = []
    for line in plot:
        # A sentence that begins with a question mark may be left out.
        if line[0] != "?" or rng.random() < 0.5:
            lines.append(line.removeprefix("?"))
    # Some plots are of animals alone, and an opening about a child would not belong to them.
    about_people = any("{name}" in line for line in plot)
    if about_people and rng.random() < 0.5:
        lines.insert(0, rng.choice(INTROS))
    if about_people and rng.random() < 0.4:
        lines.append(rng.choice(CLOSERS))
    # Choices before slots: an alternative may hold a slot, and no slot holds an alternative.
    sentences = [_choose(rng, line).format_map(slots) for line in lines]
    return " ".join(sentences)


def person(rng: random.Random) -> tuple[str, str, str, str, str]:
    """Draw a child: (name, he, him, his, kind of child)."""
    if rng.random() < 0.5:
        name = rng.choice(GIRLS)
        return name, "she", "her", "her", "girl"
    name = rng.choice(BOYS)
    return name, "he", "him", "his", "boy"


def _bind(rng: random.Random) -> dict[str, str]:
    """Draw what every slot of a story stands for."""
    # All of them, used or not: the plot is drawn behind this, by the same generator.
    slots = {}
    for slot, values in _SLOTS.items():
        slots[slot] = rng.choice(values)
    name, he, him, his, kid = person(rng)
    other, ohe, ohim, ohis, okid = person(rng)
    # Two people of one name could not be told apart.
    while other == name:
        other, ohe, ohim, ohis, okid = person(rng)
    elder, ehe = rng.choice(_ELDERS)
    slots |= {
        "name": name,
        "he": he,
        "him": him,
        "his": his,
        "kid": kid,
        "He": he.title(),
        "His": his.title(),
    }
    slots |= {
        "other": other,
        "ohe": ohe,
        "ohim": ohim,
        "ohis": ohis,
        "okid": okid,
        "OHe": ohe.title(),
    }
    slots |= {"elder": elder, "ehe": ehe}
    # Three different places: nobody looks twice where nothing was found.
    slots["spot1"], slots["spot2"], slots["spot3"] = rng.sample(_SPOTS, 3)
    when = rng.choice(_WHENS).format_map(slots)
    slots["when"] = when + rng.choice(("", ","))
    return slots


def _choose(rng: random.Random, line: str) -> str:
    """Take one of the alternatives at each `[a|b]`."""
    return re.sub(r"\[([^\]]*)\]", lambda match: rng.choice(match[1].split("|")), line)
