"""A measurement held against an earlier one: a stored result, or a commit that is measured too."""

import contextlib
import dataclasses
from collections.abc import Iterator

from jaxgen.errors import ExitCode
from jaxgen.experiment import judge
from jaxgen.gate import commits, regression
from jaxgen.gate.stored import StoredRuns
from jaxgen.results.record import Record
from jaxgen.specs.arm import Arm
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.gate import Regression


@contextlib.contextmanager
def with_commit(experiment: Experiment) -> Iterator[Experiment]:
    """Yield the experiment with the gate's commit as the baseline's code, checked out meanwhile.

    Without `gate.commit` it is yielded as it is.

    Args:
        experiment: composed; its arms are alike where the gate has a commit.

    Raises:
        UserError: there is no such commit, or no repository.
    """
    revision = getattr(experiment.gate, "commit", None)
    if revision is None:
        yield experiment
        return
    root = commits.repository("gate.commit")
    commit = commits.resolve(root, revision, key="gate.commit")
    with commits.checked_out(root, commit) as folder:
        baseline = with_source(experiment.arms["baseline"], str(folder))
        arms = {"candidate": experiment.candidate, "baseline": baseline}
        yield dataclasses.replace(experiment, arms=arms)


def with_source(arm: Arm, source: str) -> Arm:
    """Return the same arm, run by the code in another folder."""
    process = dataclasses.replace(arm.run.process, source=source)
    run = dataclasses.replace(arm.run, process=process)
    # The record shows what was measured, and not what was typed alone.
    composed = dict(arm.resolved.get("process") or {})
    resolved = {**arm.resolved, "process": {**composed, "source": source}}
    return dataclasses.replace(arm, run=run, resolved=resolved)


def judge_gate(experiment: Experiment, record: Record, stored_result: StoredRuns) -> ExitCode:
    """Compare with a stored result, and put that into the record.

    Args:
        experiment: with the gate, and the margin below which levels cannot be told apart.
        record: of the run, judged already.
        stored_result: as it was read before the measurement.

    Returns:
        The gate's exit code; that of an invalid measurement where it is one.
    """
    assert isinstance(experiment.gate, Regression), "only a gate has something to compare with"
    # The same margin as that of the verdict: what cannot tell two arms apart cannot tell two levels
    # apart either.
    margin, _ = judge.margin_of(experiment)
    gate = regression.gate_section(
        record.result,
        stored_result,
        threshold=experiment.gate.threshold,
        noise_floor=margin,
        across=experiment.gate.across,
    )
    record.result["gate"] = gate
    code = regression.exit_code(gate)
    return judge.exit_code(record.result, [code])
