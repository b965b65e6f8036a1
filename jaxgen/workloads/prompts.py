"""The prompts of a run, read from wherever the spec says, as token ids."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from jaxgen.errors import UserError
from jaxgen.spec.builtin_prompts import BUILTIN
from jaxgen.spec.prompts import Arc, Builtin, Jsonl, PromptsSpec, Synthetic, Text
from jaxgen.workloads.arc import Task, read_tasks
from jaxgen.workloads.text import Codec


@dataclasses.dataclass(frozen=True)
class Prompt:
    """One prompt: its ids, its text where it came as text, and the task that its answer is marked by, if any."""

    tokens: tuple[int, ...]
    text: str | None = None
    task: Task | None = None


def read(spec: PromptsSpec, codec: Codec) -> list[Prompt]:
    """All prompts in order.

    Raises:
        UserError: a file that cannot be read, lines that are not prompts (all named), a prompt without tokens.
    """
    prompts = _READERS[type(spec)](spec, codec)
    empty = [
        f"prompt {number} is empty"
        for number, prompt in enumerate(prompts)
        if not prompt.tokens or prompt.text == ""  # a tokenizer may put special tokens around nothing
    ]
    if empty or not prompts:
        raise UserError.collected("prompts cannot be used", empty or ["there are none"])
    return prompts


def _builtin(spec: Builtin, codec: Codec) -> list[Prompt]:
    return [_encoded(text, codec) for text in BUILTIN[: spec.count]]


def _text(spec: Text, codec: Codec) -> list[Prompt]:
    texts = spec.text or [line for line in _lines(spec.path or "") if line.strip()]
    return [_encoded(text, codec) for text in texts]


def _jsonl(spec: Jsonl, codec: Codec) -> list[Prompt]:
    prompts, problems = [], []
    for number, line in enumerate(_lines(spec.path or ""), start=1):
        if not line.strip():
            continue
        prompt = _of_json(line, codec)
        if prompt is None:
            problems.append(f'line {number} is neither {{"prompt": "..."}} nor {{"tokens": [...]}}: {line[:60]}')
        else:
            prompts.append(prompt)
    if problems:
        raise UserError.collected(f"prompts.path={spec.path}", problems)
    return prompts


def _of_json(line: str, codec: Codec) -> Prompt | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("prompt"), str):
        return _encoded(value["prompt"], codec)
    tokens = value.get("tokens")
    if isinstance(tokens, list) and all(type(token) is int for token in tokens):
        return Prompt(tokens=tuple(tokens))
    return None


def _synthetic(spec: Synthetic, codec: Codec) -> list[Prompt]:
    ids = np.random.default_rng(spec.seed).integers(0, codec.vocab_size, (spec.count, spec.length))
    return [Prompt(tokens=tuple(row)) for row in ids.tolist()]


def _arc(spec: Arc, codec: Codec) -> list[Prompt]:
    tasks = read_tasks(spec.path or "")
    made = [Prompt(tokens=tuple(codec.encode(text)), text=text, task=task) for text, task in tasks]
    short = [prompt for prompt in made if spec.max_tokens is None or len(prompt.tokens) <= spec.max_tokens]
    if not short:
        least = min(len(prompt.tokens) for prompt in made)
        raise UserError(f"prompts.max_tokens={spec.max_tokens} leaves no task: the shortest has {least} tokens")
    return short[: spec.count]


def _encoded(text: str, codec: Codec) -> Prompt:
    return Prompt(tokens=tuple(codec.encode(text)), text=text)


def _lines(path: str) -> list[str]:
    """The lines of a UTF-8 file, with or without a byte-order mark; only newlines end one (JSON may hold U+2028)."""
    try:
        return Path(path).read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise UserError(f"prompts.path={path} does not exist (relative paths start at {Path.cwd()})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"prompts.path={path} cannot be read: {error}") from None


_READERS = {Builtin: _builtin, Text: _text, Jsonl: _jsonl, Synthetic: _synthetic, Arc: _arc}
