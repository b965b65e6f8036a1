"""How many numbers a model and its cache are made of, and how many bytes each takes."""

import dataclasses

from jaxgen.specs.architecture import Architecture
from jaxgen.specs.dtype import Dtype, Int8, Number

_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0}
_SCALE = 4.0  # bytes of a float32 scale


@dataclasses.dataclass(frozen=True)
class ElementBytes:
    """Bytes of one element, each with its share of the scales that come with int8.

    Attributes:
        weights: of what is never quantised.
        kv: of keys and values.
        kernels: of the layers' matrices; null is as `weights`.
        head: of the table of the logits; null is as `weights`.
    """

    weights: float
    kv: float
    kernels: float | None = None
    head: float | None = None

    @classmethod
    def of(cls, dtype: Dtype, architecture: Architecture) -> "ElementBytes":
        """Those of a run's dtypes."""
        kv = _BYTES[dtype.kv.value] + (
            _SCALE / architecture.head_dim if dtype.kv is Number.int8 else 0
        )
        if dtype.int8 is Int8.none:
            return cls(weights=_BYTES[dtype.weights.value], kv=kv)
        kernels = 1 + _SCALE * _channels(architecture) / _kernels(architecture)
        return cls(
            weights=_BYTES[dtype.float_dtype],
            kv=kv,
            kernels=kernels,
            head=1 + _SCALE / architecture.hidden_size,
        )

    def moved(self, *, kernels: int, head: int, embedding: int, others: int, tied: bool) -> float:
        """Bytes of so many elements of each part; a tied embedding is kept as the head."""
        table = self.weights if self.head is None else self.head
        matrices = kernels * (self.weights if self.kernels is None else self.kernels)
        return (
            matrices
            + head * table
            + embedding * (table if tied else self.weights)
            + others * self.weights
        )


def weight_elements(architecture: Architecture) -> dict[str, int]:
    """How many weights each part of the model has; together they are all of its leaves.

    Returns:
        `embedding`, `position` and `head` (0 where there is none), `kernels` of all layers, and `vectors`: every bias
        and norm.
    """
    arch = architecture
    queries, kv = arch.num_heads * arch.head_dim, arch.num_kv_heads * arch.head_dim
    norm = arch.hidden_size * (2 if arch.norm == "layer" else 1)
    biases = arch.qkv_bias * (queries + 2 * kv) + arch.out_bias * arch.hidden_size
    biases += arch.mlp_bias * ((2 if arch.gated else 1) * arch.intermediate_size + arch.hidden_size)
    vectors = arch.num_layers * (2 * norm + biases + arch.qk_norm * 2 * arch.head_dim) + norm
    table = arch.vocab_size * arch.hidden_size
    return {
        "embedding": table,
        "position": arch.context * arch.hidden_size if arch.position == "learned" else 0,
        "head": 0 if arch.tied else table,
        "kernels": arch.num_layers * _kernels(arch),
        "vectors": vectors,
    }


def _kernels(arch: Architecture) -> int:
    """Weights in the matrices of one layer."""
    queries, kv = arch.num_heads * arch.head_dim, arch.num_kv_heads * arch.head_dim
    mlp = (3 if arch.gated else 2) * arch.hidden_size * arch.intermediate_size
    return arch.hidden_size * (2 * queries + 2 * kv) + mlp


def _channels(arch: Architecture) -> int:
    """Output channels of the matrices of one layer."""
    queries, kv = arch.num_heads * arch.head_dim, arch.num_kv_heads * arch.head_dim
    return (
        queries + 2 * kv + 2 * arch.hidden_size + (2 if arch.gated else 1) * arch.intermediate_size
    )
