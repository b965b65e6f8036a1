"""Reads single values of a config.json and collects what is wrong with them, for one report."""

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
    """Reads values of a config and collects what is wrong with them.

    A value that is wrong reads as something harmless, mostly 1, so that reading goes on.

    Attributes:
        config: what is read.
        problems: what is wrong, a sentence each.
    """

    def __init__(self, config: Mapping[str, Any]):
        self.config = config
        self.problems: list[str] = []

    def size(self, key: str, default: int | None = None) -> int:
        """Return a positive integer."""
        value = self._value(self.config, key, default)
        # A bool is an int to Python, and no size.
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        self._report(key, value, "no positive integer")
        return 1

    def number(
        self, key: str, default: float | None, config: Mapping[str, Any] | None = None
    ) -> float:
        """Return a positive number, of the config or of an object in it."""
        # A rotary object inside the config has numbers of its own.
        value = self._value(self.config if config is None else config, key, default)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return float(value)
        self._report(key, value, "no positive number")
        return 1.0

    def flag(self, key: str, default: bool) -> bool:
        """Return a truth value."""
        value = self._value(self.config, key, default)
        if not isinstance(value, bool):
            self.problems.append(f"{key}={short(value)} is neither true nor false")
        return bool(value)

    def mapping(self, key: str) -> dict[str, Any]:
        """Return an object; empty where there is none."""
        value = self.config.get(key) or {}
        if isinstance(value, Mapping):
            return dict(value)
        self._report(key, value, "no object")
        return {}

    def sequence(self, key: str) -> list[Any]:
        """Return a list; empty where there is none."""
        value = self.config.get(key) or []
        if isinstance(value, list):
            return value
        self._report(key, value, "no list")
        return []

    def activation(self, key: str, default: str) -> str:
        """Return jaxgen's name of an activation function."""
        value = self._value(self.config, key, default)
        if isinstance(value, str) and value in ACTIVATIONS:
            return ACTIVATIONS[value]
        names = ", ".join(ACTIVATIONS)
        self.problems.append(f"{key}={short(value)} is not supported (only {names})")
        return "silu"

    def per_head(self, hidden_size: int, num_heads: int) -> int:
        """Return the head size where config.json gives none."""
        if hidden_size % num_heads:
            self.problems.append(
                f"a hidden size of {hidden_size} is no multiple of {num_heads} heads"
            )
        # Rounded down after a problem: reading goes on, so that all of them are reported at once.
        return hidden_size // num_heads

    def _value(self, config: Mapping[str, Any], key: str, default: Any) -> Any:
        """Return a value; a null in the file is as good as none."""
        value = config.get(key)
        if value is None:
            return default
        return value

    def _report(self, key: str, value: Any, problem: str) -> None:
        if value is None:
            self.problems.append(f"{key} is missing")
        else:
            self.problems.append(f"{key}={short(value)} is {problem}")


def short(value: Any) -> str:
    """Return the value as the file spells it, cut where it is long."""
    text = value
    if not isinstance(value, str):
        text = json.dumps(value, default=str)
    if len(text) <= 80:
        return text
    return f"{text[:77]}..."
