"""Four knobs of precision (`dtype=`)."""

import dataclasses
import enum

from jaxgen.errors import UserError


class Number(enum.Enum):
    """How numbers are stored; int8 comes with float32 scales."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"
    int8 = "int8"


class Int8(enum.Enum):
    """What a product with a weight matrix has in int8."""

    none = "none"
    weights = "weights"
    both = "both"


@dataclasses.dataclass(frozen=True)
class Dtype:
    """One dtype per place.

    Attributes:
        weights: as stored on the device. int8 quantises the matrices of the layers and the head, a
            scale for each output channel; norms, biases, positions and an embedding that is not the
            head too stay floating.
        activations: as computed between layers. int8 is for products with int8 weights, a scale for
            each token; what lies between the products is float32 then.
        kv: of the KV cache. int8 has a scale for each token and head.
        logits: of the head's product; softmax and sampling are float32 whatever this is. int8
            is refused.
    """

    weights: Number = Number.float32
    activations: Number = Number.float32
    kv: Number = Number.float32
    logits: Number = Number.float32

    def __post_init__(self):
        # int8 needs a scale for each row or channel, which logits have no place for.
        if self.logits is Number.int8:
            raise UserError("dtype.logits=int8: logits are sums, in float32, bfloat16 or float16")
        # Against floating weights int8 activations would be widened before the product, and would
        # cost precision for nothing.
        if self.activations is Number.int8 and self.weights is not Number.int8:
            raise UserError(
                f"dtype.activations=int8 needs dtype.weights=int8, not {self.weights.value}: "
                "products of two int8 numbers; "
                "dtype.activations=float32, bfloat16 or float16 goes with any weights"
            )

    @property
    def int8(self) -> Int8:
        """What a product of weights and activations has in int8."""
        if self.weights is not Number.int8:
            return Int8.none
        if self.activations is Number.int8:
            return Int8.both
        return Int8.weights

    @property
    def between(self) -> str:
        """The floating dtype of what goes from layer to layer."""
        # Products of int8 numbers are sums in int32, scaled back to float32.
        if self.activations is Number.int8:
            return "float32"
        return self.activations.value

    @property
    def float_dtype(self) -> str:
        """The floating dtype of the weights that are not quantised."""
        # Norms and biases meet what the products leave, and have its dtype.
        if self.weights is Number.int8:
            return self.between
        return self.weights.value
