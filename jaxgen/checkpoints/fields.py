"""Reads single values out of a config.json and collects what is wrong with them, so that it is told all at once."""

import json
from collections.abc import Mapping
from typing import Any

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
}


class Fields:
    """Reads values of a config and collects what is wrong with them; a value that is wrong reads as 1."""

    def __init__(self, config: Mapping[str, Any]):
        self.config, self.problems = config, []

    def size(self, key: str, default: int | None = None) -> int:
        value = self.config.get(key)
        value = default if value is None else value
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        self.problems.append(
            f"{key} is missing" if value is None else f"{key}={short(value)} is no positive integer"
        )
        return 1

    def number(
        self, key: str, default: float | None, config: Mapping[str, Any] | None = None
    ) -> float:
        value = (self.config if config is None else config).get(key)
        value = default if value is None else value
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return float(value)
        self.problems.append(
            f"{key} is missing" if value is None else f"{key}={short(value)} is no positive number"
        )
        return 1.0

    def flag(self, key: str, default: bool) -> bool:
        value = self.config.get(key)
        if value is not None and not isinstance(value, bool):
            self.problems.append(f"{key}={short(value)} is neither true nor false")
        return default if value is None else bool(value)

    def mapping(self, key: str) -> dict[str, Any]:
        value = self.config.get(key) or {}
        if isinstance(value, Mapping):
            return dict(value)
        self.problems.append(f"{key}={short(value)} is no object")
        return {}

    def sequence(self, key: str) -> list[Any]:
        value = self.config.get(key) or []
        if isinstance(value, list):
            return value
        self.problems.append(f"{key}={short(value)} is no list")
        return []

    def activation(self, key: str, default: str) -> str:
        value = self.config.get(key)
        value = default if value is None else value
        if not isinstance(value, str) or value not in ACTIVATIONS:
            self.problems.append(
                f"{key}={short(value)} is not supported (only {', '.join(ACTIVATIONS)})"
            )
            return "silu"
        return ACTIVATIONS[value]

    def per_head(self, hidden_size: int, num_heads: int) -> int:
        if hidden_size % num_heads:
            self.problems.append(
                f"a hidden size of {hidden_size} is no multiple of {num_heads} heads"
            )
        return hidden_size // num_heads


def short(value: Any) -> str:
    """The value as the file spells it, cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
