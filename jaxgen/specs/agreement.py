"""How the arms' outputs are compared (`agreement.*`)."""

import dataclasses

from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class AgreementPlan:
    """What has to agree, and what narrow numbers may cost.

    Attributes:
        kl: the mean KL divergence of a next token, in nats, that the candidate's numbers may cost
            against the baseline; null allows what the tolerance of the coarsest dtype does.
        shadow: where an arm has narrower numbers than float32, both arms read the outputs once more
            in float32, so that rounding hides no wrong algorithm. int8 weights become float32 for
            it, four times as large.
    """

    kl: float | None = None
    shadow: bool = True

    def __post_init__(self):
        # A NaN is neither.
        if self.kl is not None and not 0 < self.kl < float("inf"):
            raise UserError(
                f"agreement.kl={self.kl} must be a positive number of nats (0.01 is strict, 0.1 "
                "loose), or null to report what the dtypes cost and judge by their tolerance"
            )
