"""Whether the arms compute the same function: the passes over their outputs that tell.

They come after the outputs and before the trials. Where the arms' own float32 differences are below
any doubt there are none; an arm with narrower numbers costs two, and a doubt one more.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from jaxgen.agreement.algorithm import Numbers, algorithm_test, is_surely_rounding
from jaxgen.agreement.score_distances import log_differences
from jaxgen.executor.pool import Pool
from jaxgen.results.schema import AlgorithmTest
from jaxgen.specs.agreement import AgreementPlan
from jaxgen.specs.arm import Arm
from jaxgen.specs.codec import spec_to_plain

Rows = list[dict[str, Any]]
Scores = list[list[float | None]]


@dataclasses.dataclass(frozen=True)
class Apart:
    """How far two readings of the same inputs lie apart.

    Attributes:
        differences: by row and position.
        spread: standard deviation of the logits over the vocabulary; null is not known.
        non_finite: whose logits hold what is no number: candidate, baseline, both, or null.
    """

    differences: Numbers
    spread: float | None
    non_finite: str | None = None


@dataclasses.dataclass(frozen=True)
class Checked:
    """What became of the test.

    Attributes:
        test: the section `agreement.algorithm`; null where nothing could be tested.
        warnings: why not.
    """

    test: AlgorithmTest | None = None
    warnings: tuple[str, ...] = ()


class Passes(Protocol):
    """What the arms can be asked, of tokens or of scores.

    Attributes:
        are_impossible: the arms have nothing to compare, which is said elsewhere.
    """

    are_impossible: bool

    def between_arms(self, *, in_float32: bool) -> Apart:
        """Return how far the arms lie apart, as they are or as float32 shadows."""
        ...

    def noise(self, *, in_float32: bool) -> Apart:
        """Return how far the baseline lies from itself with its sums in another order."""
        ...


def check(
    arms: Mapping[str, Arm],
    dtypes: Mapping[str, Sequence[str]],
    passes: Passes,
    *,
    plan: AgreementPlan,
) -> Checked:
    """Test whether the arms compute the same function.

    Args:
        arms: by name.
        dtypes: by arm, of all that it computes or stores in.
        passes: over the outputs of both.
        plan: says whether narrow arms have shadows.
    """
    if passes.are_impossible:
        return Checked()
    models = [arm.run.model for arm in arms.values()]
    if any(model != models[0] for model in models):
        return Checked(warnings=("the arms have different models: their algorithms have no test",))
    names = [name for of_arm in dtypes.values() for name in of_arm]
    narrow = sorted(set(names) - {"float32"})
    if narrow and not plan.shadow:
        reason = f"the rounding of {' and '.join(narrow)} may hide a wrong algorithm"
        return Checked(warnings=(f"{reason}: agreement.shadow=true would tell",))
    in_float32 = bool(narrow)
    apart = passes.between_arms(in_float32=in_float32)
    noise = None
    if not is_surely_rounding(apart.differences, spread=apart.spread):
        noise = passes.noise(in_float32=in_float32).differences
    test = algorithm_test(
        apart.differences,
        noise,
        spread=apart.spread,
        method="float32 shadows" if in_float32 else "arms",
        broken=apart.non_finite,
    )
    # Without a single number nothing was shown, and that must not look like a test that was passed.
    if test["positions"] == 0 or (noise is not None and test["excess"] is None):
        return Checked(test, ("the arms' algorithms were not tested: no position had a figure",))
    return Checked(test)


class TokenPasses:
    """The teacher-forced passes of two arms over the baseline's outputs.

    Args:
        arms: by name.
        pool: their workers.
        case: the number of the case.
        rows: the outputs, `{prompt_tokens, tokens}` each.
        folder: for the reference logits, which are too many for a pipe.
        own: the comparison of the arms as they are; the baseline's logits are in `reference.npy`.

    Attributes:
        are_impossible: the arms' vocabularies differ.
    """

    def __init__(
        self,
        arms: Mapping[str, Arm],
        pool: Pool,
        *,
        case: int,
        rows: Rows,
        folder: Path,
        own: Mapping[str, Any],
    ):
        self._pool = pool
        self._arguments = {"case": case, "rows": rows}
        self._folder = folder
        self._own = own
        self.are_impossible = bool(own["skipped"])
        self._weights_of = spec_to_plain(arms["candidate"].run)

    def between_arms(self, *, in_float32: bool) -> Apart:
        """Return how far the arms lie apart; as they are, that is known already."""
        if not in_float32:
            # What is no number in the arms' own logits is a reason by itself already.
            return dataclasses.replace(_apart(self._own), non_finite=None)
        path = self._path(in_float32=True)
        # Both with the candidate's weights: what they were rounded to is the dtype's own cost.
        self._pool.call(
            "baseline",
            "write_reference_logits",
            path=path,
            reader=self._reader("baseline", in_float32=True),
            **self._arguments,
        )
        return self._compared("candidate", path, self._reader("candidate", in_float32=True))

    def noise(self, *, in_float32: bool) -> Apart:
        """Return how far the baseline lies from what it wrote, with its sums in another order."""
        reader = self._reader("baseline", in_float32=in_float32)
        path = self._path(in_float32=in_float32)
        return self._compared("baseline", path, {**reader, "is_reordered": True})

    def _path(self, *, in_float32: bool) -> str:
        name = "shadow.npy" if in_float32 else "reference.npy"
        return str(self._folder / name)

    def _reader(self, arm: str, *, in_float32: bool) -> dict[str, Any]:
        return float32_reader(arm, self._weights_of) if in_float32 else {}

    def _compared(self, arm: str, path: str, reader: dict[str, Any]) -> Apart:
        compared = self._pool.call(
            arm, "compare_logits", path=path, reader=reader, **self._arguments
        )
        return _apart(compared)


class ScorePasses:
    """What other engines of two arms score.

    Args:
        arms: by name.
        pool: their workers.
        case: the number of the case.
        rows: by arm, the scores as they are.

    Attributes:
        are_impossible: never; a score that is no number has no difference.
    """

    are_impossible = False

    def __init__(self, arms: Mapping[str, Arm], pool: Pool, *, case: int, rows: Mapping[str, Rows]):
        self._pool = pool
        self._case = case
        self._weights_of = spec_to_plain(arms["candidate"].run)
        self._own = {}
        for arm, of_arm in rows.items():
            self._own[arm] = [row["scores"] for row in of_arm]
        self._shadows: dict[str, Scores] = {}

    def between_arms(self, *, in_float32: bool) -> Apart:
        """Return how far the arms' scores lie apart, by their logarithms."""
        scores = self._in_float32() if in_float32 else self._own
        return Apart(*log_differences(scores["candidate"], scores["baseline"]))

    def noise(self, *, in_float32: bool) -> Apart:
        """Return how far the baseline scores from itself with its sums in another order."""
        scores = self._in_float32() if in_float32 else self._own
        reader = float32_reader("baseline", self._weights_of) if in_float32 else {}
        again = self._again("baseline", {**reader, "is_reordered": True})
        return Apart(*log_differences(again, scores["baseline"]))

    def _in_float32(self) -> dict[str, Scores]:
        """Return the scores of both shadows; each of them scores once."""
        for arm in self._own:
            if arm not in self._shadows:
                reader = float32_reader(arm, self._weights_of)
                self._shadows[arm] = self._again(arm, reader)
        return self._shadows

    def _again(self, arm: str, reader: dict[str, Any]) -> Scores:
        return self._pool.call(arm, "score_again", case=self._case, reader=reader)


def float32_reader(arm: str, weights_of: dict[str, Any]) -> dict[str, Any]:
    """Return which engine reads for an arm in float32: with the candidate's weights in any case."""
    if arm == "candidate":
        return {"in_float32": True}
    return {"in_float32": True, "weights_of": weights_of}


def _apart(compared: Mapping[str, Any]) -> Apart:
    return Apart(compared["logit_error"], compared["logit_spread"], compared["non_finite"])
