"""Which model, and where its weights come from (`model=`)."""

import dataclasses
import enum

from jaxgen.errors import UserError
from jaxgen.specs.architecture import Architecture


class Weights(enum.Enum):
    """Where the numbers come from."""

    pretrained = "pretrained"
    random = "random"


@dataclasses.dataclass(frozen=True)
class Model:
    """A model by its source, its converted checkpoint, or its shapes alone.

    Attributes:
        name: what the outputs call it.
        source: a Hugging Face folder or hub id, converted once into `store`; null for `model=hf`
            until it is given.
        checkpoint: an Orbax checkpoint made by `python -m jaxgen.convert`; goes before `source`.
        store: where conversions are kept; null is the user's cache directory.
        weights: `random` makes seeded random weights of the true shapes, without any download.
        shapes: the architecture: random weights are made from it, and a checkpoint of another one
            is refused.
        seed: of the random weights.
        verify: compare each restored tensor's sha256 with the one taken at conversion.
    """

    name: str = ""
    source: str | None = None
    checkpoint: str | None = None
    store: str | None = None
    weights: Weights = Weights.pretrained
    shapes: Architecture | None = None
    seed: int = 0
    verify: bool = True

    def __post_init__(self):
        # Said here and not when the weights are loaded: a sweep names it before it measures.
        if self.weights is Weights.random and self.shapes is None:
            raise UserError(
                f"model.weights=random needs the shapes, which model={self.name} does not carry; "
                "choose one that does (gpt2, gpt2_medium, llama3_2_1b, qwen2_5_0_5b, qwen3_0_6b, "
                "tiny) or set model.shapes"
            )
        if self.weights is Weights.pretrained and not (self.source or self.checkpoint):
            raise UserError(
                f"model={self.name} has no weights: set model.source=DIR_OR_HUB_ID "
                "(a Hugging Face folder or hub id) or model.checkpoint=DIR "
                "(made by python -m jaxgen.convert)"
            )
