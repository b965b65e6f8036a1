"""The key tables: which Hugging Face tensor holds each of jaxgen's parameters, and in which layout.

`{n}` stands for the layer. A family's table may name more than a model has (biases, a head): the
structure decides. A linear layer of torch is (out, in) and is transposed; GPT-2's `Conv1D` is (in,
out) already, with q, k and v side by side in its columns.
"""

import dataclasses
import re

from jaxgen.models.structure import Structure

_HEAD = "lm_head.weight"


@dataclasses.dataclass(frozen=True)
class Key:
    """Where one parameter stands in a Hugging Face checkpoint.

    Attributes:
        name: of the tensor, without the prefix that only some files have.
        transposed: the tensor is (out, in), the parameter (in, out).
        third: the parameter is this third of the tensor's last axis.
    """

    name: str
    transposed: bool = False
    third: int | None = None

    def stored_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the tensor's shape, from the parameter's."""
        if self.third is not None:
            # GPT-2 has q, k and v, (768, 768) each, in one tensor of (768, 2304).
            *rows, columns = shape
            return (*rows, 3 * columns)
        if self.transposed:
            return shape[::-1]
        return shape


@dataclasses.dataclass(frozen=True)
class Table:
    """One family's keys.

    Attributes:
        keys: parameter pattern to key.
        prefix: what some checkpoints of the family put before the names and some do not.
        ignorable: regular expressions of whole names that carry no weights.
    """

    keys: dict[str, Key]
    prefix: str = ""
    ignorable: tuple[str, ...] = ()

    def ignores(self, name: str, *, tied: bool) -> bool:
        """Say whether a checkpoint may carry this name without any use for it."""
        # A tied model has one table, which some files hold a second time as its head.
        if tied and name == _HEAD:
            return True
        return any(re.fullmatch(pattern, name) for pattern in self.ignorable)


def keys_of(structure: Structure) -> dict[str, Key]:
    """Return the key of each parameter of a model, the layers written out."""
    table = TABLES[structure.architecture.family].keys
    keys = {}
    for name in structure.names:
        layer = re.search(r"\.(\d+)\.", name)
        if layer is None:
            keys[name] = table[name]
            continue
        # One row of the table serves all layers.
        # Of `blocks.11.attention.q.kernel` the row `blocks.{n}.attention.q.kernel`.
        pattern = name.replace(layer.group(), ".{n}.", 1)
        key = table[pattern]
        tensor_name = key.name.format(n=layer.group(1))
        keys[name] = dataclasses.replace(key, name=tensor_name)
    return keys


def _norm(ours: str, theirs: str) -> dict[str, Key]:
    # RMS norms have no bias: the row is there, and no structure asks for it.
    return {
        f"{ours}.scale": Key(f"{theirs}.weight"),
        f"{ours}.bias": Key(f"{theirs}.bias"),
    }


def _linear(
    ours: str, theirs: str, *, transposed: bool, third: int | None = None
) -> dict[str, Key]:
    return {
        f"{ours}.kernel": Key(f"{theirs}.weight", transposed=transposed, third=third),
        f"{ours}.bias": Key(f"{theirs}.bias", third=third),
    }


def _gpt2() -> dict[str, Key]:
    block, layer = "blocks.{n}", "h.{n}"
    attention = f"{layer}.attn.c_attn"
    return {
        "embedding": Key("wte.weight"),
        "position": Key("wpe.weight"),
        "head": Key(_HEAD),
        **_norm("norm", "ln_f"),
        **_norm(f"{block}.attention_norm", f"{layer}.ln_1"),
        **_norm(f"{block}.mlp_norm", f"{layer}.ln_2"),
        **_linear(f"{block}.attention.q", attention, transposed=False, third=0),
        **_linear(f"{block}.attention.k", attention, transposed=False, third=1),
        **_linear(f"{block}.attention.v", attention, transposed=False, third=2),
        **_linear(f"{block}.attention.o", f"{layer}.attn.c_proj", transposed=False),
        **_linear(f"{block}.mlp.up", f"{layer}.mlp.c_fc", transposed=False),
        **_linear(f"{block}.mlp.down", f"{layer}.mlp.c_proj", transposed=False),
    }


def _rotary() -> dict[str, Key]:
    block, layer = "blocks.{n}", "model.layers.{n}"
    keys = {
        "embedding": Key("model.embed_tokens.weight"),
        "head": Key(_HEAD),
        **_norm("norm", "model.norm"),
        **_norm(f"{block}.attention_norm", f"{layer}.input_layernorm"),
        **_norm(f"{block}.mlp_norm", f"{layer}.post_attention_layernorm"),
        **_norm(f"{block}.attention.q_norm", f"{layer}.self_attn.q_norm"),
        **_norm(f"{block}.attention.k_norm", f"{layer}.self_attn.k_norm"),
    }
    for part in ("q", "k", "v", "o"):
        theirs = f"{layer}.self_attn.{part}_proj"
        keys |= _linear(f"{block}.attention.{part}", theirs, transposed=True)
    for part in ("gate", "up", "down"):
        theirs = f"{layer}.mlp.{part}_proj"
        keys |= _linear(f"{block}.mlp.{part}", theirs, transposed=True)
    return keys


# Older transformers saved masks and frequencies with the weights; both are computed here.
_ROTARY = Table(_rotary(), ignorable=(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",))
TABLES = {
    "gpt2": Table(_gpt2(), prefix="transformer.", ignorable=(r"h\.\d+\.attn\.(bias|masked_bias)",)),
    "llama": _ROTARY,
    "qwen2": _ROTARY,
    "qwen3": _ROTARY,
}
