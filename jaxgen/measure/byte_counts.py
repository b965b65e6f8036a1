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
        head: of the matrix of the logits; null is as `weights`.
    """

    weights: float
    kv: float
    kernels: float | None = None
    head: float | None = None

    @classmethod
    def of(cls, dtype: Dtype, architecture: Architecture) -> "ElementBytes":
        """Return those of a run's dtypes."""
        kv = _BYTES[dtype.kv.value]
        if dtype.kv is Number.int8:
            # A head of 64 numbers takes 1.0625 bytes for each of them.
            kv += _SCALE / architecture.head_dim  # one scale for each head of each token
        if dtype.int8 is Int8.none:
            return cls(weights=_BYTES[dtype.weights.value], kv=kv)
        # One scale for each output channel, shared by all weights that lead to it.
        scales = _SCALE * _channels(architecture)
        return cls(
            weights=_BYTES[dtype.float_dtype],
            kv=kv,
            kernels=1 + scales / _kernels(architecture),
            # An output channel of the head is a token, to which `hidden_size` weights lead.
            head=1 + _SCALE / architecture.hidden_size,
        )

    def moved(self, *, kernels: int, head: int, embedding: int, others: int, tied: bool) -> float:
        """Return the bytes of so many elements of each part.

        Args:
            kernels, head, embedding, others: elements of the layers' matrices, the matrix of the
                logits, the embedding, and all that is never quantised.
            tied: the embedding is the matrix of the logits, and has its dtype.
        """
        of_head = self.weights if self.head is None else self.head
        of_kernels = self.weights if self.kernels is None else self.kernels
        of_embedding = of_head if tied else self.weights
        nbytes = kernels * of_kernels + head * of_head
        return nbytes + embedding * of_embedding + others * self.weights


def weight_elements(architecture: Architecture) -> dict[str, int]:
    """Count the weights of each part of the model; together they are all of its leaves.

    Returns:
        `embedding`, `position` and `head` (0 where there is none), `kernels` of all layers, and
        `vectors`: every bias and norm.
    """
    arch = architecture
    embedding = arch.vocab_size * arch.hidden_size
    norm = arch.hidden_size
    if arch.norm == "layer":
        norm *= 2  # it has a bias too
    # One norm stands before attention and one before the MLP.
    of_layer = 2 * norm + _biases(arch)
    if arch.qk_norm:
        of_layer += 2 * arch.head_dim
    position = 0
    if arch.position == "learned":
        position = arch.context * arch.hidden_size
    return {
        "embedding": embedding,
        "position": position,
        "head": 0 if arch.tied else embedding,
        "kernels": arch.num_layers * _kernels(arch),
        # The one more norm is the last, before the head.
        "vectors": arch.num_layers * of_layer + norm,
    }


def weights_read(
    arch: Architecture, *, rows: int, tokens: int, logits: int | None
) -> dict[str, int]:
    """Count the weights that one pass reads, by the parts that `ElementBytes.moved` tells apart."""
    parts = weight_elements(arch)
    table = parts["embedding"]
    lookups = rows * tokens * arch.hidden_size
    head = table
    # Each token looks up one row; no pass can read more than the whole table.
    embedding = min(lookups, table)
    # Scores among the labels alone need no other rows of the head.
    if logits is not None:
        head = min(logits * arch.hidden_size, table)
    elif arch.tied:
        # The head reads the whole embedding, so that lookups add nothing.
        embedding = 0
    positions = min(lookups, parts["position"])
    return {
        "kernels": parts["kernels"],
        "head": head,
        "embedding": embedding,
        "others": parts["vectors"] + positions,
    }


def _biases(arch: Architecture) -> int:
    """Count the biases of one layer."""
    biases = 0
    if arch.qkv_bias:
        heads = arch.num_heads + 2 * arch.num_kv_heads
        biases += heads * arch.head_dim
    if arch.out_bias:
        biases += arch.hidden_size
    if arch.mlp_bias:
        biases += _mlp_inputs(arch) * arch.intermediate_size + arch.hidden_size
    return biases


def _mlp_inputs(arch: Architecture) -> int:
    """Count the matrices from hidden to intermediate size: a gated MLP has a second one."""
    return 2 if arch.gated else 1


def _kernels(arch: Architecture) -> int:
    """Count the weights in the matrices of one layer."""
    queries = arch.num_heads * arch.head_dim
    kv = arch.num_kv_heads * arch.head_dim
    # Four matrices: to queries, keys and values, and from the heads back to the hidden size.
    attention = arch.hidden_size * (2 * queries + 2 * kv)
    # The one more leads back to the hidden size.
    mlp_matrices = _mlp_inputs(arch) + 1
    mlp = mlp_matrices * arch.hidden_size * arch.intermediate_size
    return attention + mlp


def _channels(arch: Architecture) -> int:
    """Count the output channels of the matrices of one layer."""
    queries = arch.num_heads * arch.head_dim
    kv = arch.num_kv_heads * arch.head_dim
    attention = queries + 2 * kv + arch.hidden_size
    mlp = _mlp_inputs(arch) * arch.intermediate_size + arch.hidden_size
    return attention + mlp
