"""A finished measurement held against a stored one."""

from jaxgen.errors import ExitCode
from jaxgen.experiment import judge
from jaxgen.gate import regression
from jaxgen.results.record import Record
from jaxgen.specs.experiment import Experiment

StoredResult = tuple[regression.Stored, float]
"""What is compared with, and `gate.threshold`."""


def judge_gate(experiment: Experiment, record: Record, stored_result: StoredResult) -> ExitCode:
    """Compare with a stored result, and put that into the record.

    Args:
        experiment: with the margin below which a difference is noise.
        record: of the run, judged already.
        stored_result: as it was read before the measurement.

    Returns:
        The gate's exit code; that of an invalid measurement where it is one.
    """
    stored, threshold = stored_result
    # The same margin as that of the verdict: what cannot tell two arms apart cannot tell two days
    # apart either.
    margin, _ = judge.margin_of(experiment)
    gate = regression.gate_section(record.result, stored, threshold=threshold, noise_floor=margin)
    record.result["gate"] = gate
    code = regression.exit_code(gate)
    return judge.exit_code(record.result, [code])
