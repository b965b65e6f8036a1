"""The prompts of a run, read from wherever the spec says, as token ids."""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgen.errors import UserError
from jaxgen.specs.builtin_prompts import BUILTIN
from jaxgen.specs.prompts import (
    Arc,
    Builtin,
    Jsonl,
    PromptsSpec,
    Synthetic,
    Text,
)
from jaxgen.workloads.arc import Task, read_tasks
from jaxgen.workloads.codec import Codec


@dataclasses.dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        tokens: its ids.
        text: where it came as text.
        task: of ARC that its output is graded by, if any.
        new_tokens: the most that are generated for it; null leaves it to the workload.
    """

    tokens: tuple[int, ...]
    text: str | None = None
    task: Task | None = None
    new_tokens: int | None = None


def read(spec: PromptsSpec, codec: Codec) -> list[Prompt]:
    """Return all prompts in order.

    Args:
        spec: says where they are.
        codec: encodes them.

    Raises:
        UserError: a file that cannot be read, lines that are not prompts (all named), a prompt
            without tokens.
    """
    prompts = _READERS[type(spec)](spec, codec)
    problems = [] if prompts else ["there are none"]
    for number, prompt in enumerate(prompts):
        # The text counts too: a tokenizer may put special tokens around nothing.
        if not prompt.tokens or prompt.text == "":
            problems.append(f"prompt {number} is empty")
    if problems:
        raise UserError.collected("prompts cannot be used", problems)
    return prompts


def at_depth(prompts: Sequence[Prompt], depth: int, *, rows: int) -> list[Prompt]:
    """Return prompts of a given length, made of the given ones end to end, again and again.

    Row r begins with the r-th of them, or, once all have had their turn, a token later, so that
    rows differ.

    Args:
        prompts: of the run.
        depth: tokens of each; one for 0.
        rows: how many.
    """
    tokens = [list(prompt.tokens) for prompt in prompts]
    # Real tokens and no zeros: what a model does with its input may depend on it.
    deep = []
    for row in range(rows):
        later, first = divmod(row, len(tokens))
        in_turn = itertools.cycle(tokens[first:] + tokens[:first])
        endless = itertools.chain.from_iterable(in_turn)
        part = itertools.islice(endless, later, later + max(depth, 1))
        deep.append(Prompt(tokens=tuple(part)))
    return deep


def _builtin(spec: Builtin, codec: Codec) -> list[Prompt]:
    return [_encoded(text, codec) for text in BUILTIN[: spec.count]]


def _text(spec: Text, codec: Codec) -> list[Prompt]:
    # Blank lines between prompts are no prompts.
    texts = spec.text or [line for line in _lines(spec.path or "") if line.strip()]
    return [_encoded(text, codec) for text in texts]


def _jsonl(spec: Jsonl, codec: Codec) -> list[Prompt]:
    # Every bad line is named at once, with its number.
    prompts, problems = [], []
    for number, line in enumerate(_lines(spec.path or ""), start=1):
        if not line.strip():
            continue
        prompt = _of_json(line, codec)
        if prompt is None:
            problems.append(
                f'line {number} is neither {{"prompt": "..."}} nor {{"tokens": [...]}}: {line[:60]}'
            )
        else:
            prompts.append(prompt)
    if problems:
        raise UserError.collected(f"prompts.path={spec.path}", problems)
    return prompts


def _of_json(line: str, codec: Codec) -> Prompt | None:
    """The prompt of a line; null where it is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    limit = value.get("max_new_tokens")
    if limit is not None and (type(limit) is not int or limit < 1):
        return None
    if isinstance(value.get("prompt"), str):
        return dataclasses.replace(
            _encoded(value["prompt"], codec),
            new_tokens=limit,
        )
    # bool is an int in Python, and true is no token.
    tokens = value.get("tokens")
    if isinstance(tokens, list) and all(type(token) is int for token in tokens):
        return Prompt(tokens=tuple(tokens), new_tokens=limit)
    return None


def _synthetic(spec: Synthetic, codec: Codec) -> list[Prompt]:
    # The limits are drawn last, so that asking for them changes no prompt of a seed.
    random = np.random.default_rng(spec.seed)
    ids = random.integers(
        0,
        codec.vocab_size,
        (spec.count, spec.max_length or spec.length),
    )
    # Prompts that begin alike, for caches that share what is alike.
    ids[:, : spec.shared] = ids[0, : spec.shared]
    lengths = _log_uniform(random, spec.length, spec.max_length, spec.count)
    limits = [None] * spec.count
    if spec.new_tokens is not None:
        limits = _log_uniform(
            random,
            spec.new_tokens,
            spec.max_new_tokens,
            spec.count,
        )
    prompts = []
    for row, length, limit in zip(ids.tolist(), lengths, limits, strict=True):
        prompts.append(
            Prompt(
                tokens=tuple(row[:length]),
                new_tokens=limit,
            )
        )
    return prompts


def _log_uniform(
    random: np.random.Generator,
    least: int,
    most: int | None,
    count: int,
) -> list[int]:
    """`count` whole numbers from `least` to `most`, log-uniformly; or all the least."""
    if most is None:
        return [least] * count
    # Up to `most + 1` and rounded down, so that `most` is drawn as often as its share; rounding may
    # still go one too far, hence the clip.
    drawn = np.exp(random.uniform(np.log(least), np.log(most + 1), count))
    return drawn.astype(int).clip(least, most).tolist()


def _arc(spec: Arc, codec: Codec) -> list[Prompt]:
    prompts = []
    for text, task in read_tasks(spec.path or ""):
        prompts.append(
            Prompt(
                tokens=tuple(codec.encode(text)),
                text=text,
                task=task,
            )
        )
    shortest = min(len(prompt.tokens) for prompt in prompts)
    if spec.max_tokens is not None:
        prompts = [prompt for prompt in prompts if len(prompt.tokens) <= spec.max_tokens]
    if not prompts:
        raise UserError(
            f"prompts.max_tokens={spec.max_tokens} leaves no task: the shortest has {shortest} "
            "tokens"
        )
    # Counted after the long ones have gone: as many are asked as the user wants, if there are.
    return prompts[: spec.count]


def _encoded(text: str, codec: Codec) -> Prompt:
    return Prompt(tokens=tuple(codec.encode(text)), text=text)


def _lines(path: str) -> list[str]:
    """The lines of a UTF-8 file, with or without a byte-order mark."""
    try:
        # Not splitlines(): only newlines end a line, and JSON may hold U+2028.
        return Path(path).read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise UserError(
            f"prompts.path={path} does not exist (relative paths start at {Path.cwd()})"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"prompts.path={path} cannot be read: {error}") from None


_READERS = {
    Builtin: _builtin,
    Text: _text,
    Jsonl: _jsonl,
    Synthetic: _synthetic,
    Arc: _arc,
}
