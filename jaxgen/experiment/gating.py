"""A finished measurement held against a stored one."""

from jaxgen.errors import ExitCode
from jaxgen.experiment import judge
from jaxgen.gate import regression
from jaxgen.gate.stored import StoredRuns
from jaxgen.results.record import Record
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.gate import Regression

StoredResult = StoredRuns
"""What is compared with."""


def judge_gate(experiment: Experiment, record: Record, stored_result: StoredResult) -> ExitCode:
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
    margin, _ = judge.margin_of(experiment, record.result["environment"])
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
