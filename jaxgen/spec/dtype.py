"""Four knobs of precision (`dtype=`)."""

import dataclasses
import enum


class Float(enum.Enum):
    """The floating-point types that weights, activations, caches and logits may have."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


@dataclasses.dataclass(frozen=True)
class Dtype:
    """One dtype per place.

    Attributes:
        weights: as stored on the device.
        activations: as computed between layers.
        kv: of the KV cache.
        logits: of the head's product; softmax and sampling are float32 whatever this is.
    """

    weights: Float = Float.float32
    activations: Float = Float.float32
    kv: Float = Float.float32
    logits: Float = Float.float32
