"""A whole experiment: the arms, and how they are measured, judged and reported."""

import dataclasses
from collections.abc import Mapping

from jaxgen.errors import UserError
from jaxgen.specs.agreement import AgreementPlan
from jaxgen.specs.arm import Arm
from jaxgen.specs.baseline import Baseline, in_the_baseline
from jaxgen.specs.console import ConsolePlan
from jaxgen.specs.gate import GateSpec, NoGate
from jaxgen.specs.measure import Isolation, Measure
from jaxgen.specs.run import ARM_SLOTS, Process, Run, slots_of
from jaxgen.specs.study import Single, StudySpec
from jaxgen.specs.sweep import SweepPlan
from jaxgen.specs.tracker import NoTracker, TrackerSpec
from jaxgen.specs.workload import Batching, Generate

_REPORTING = {"reporting": True}
"""Marks a slot that says who hears of a result and when, and nothing of the result."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What one command measures.

    Attributes:
        arms: `candidate` first, and `baseline` unless the candidate is measured alone.
        measure: the one plan of the measurement, as the candidate's workload settles it
            (`Measure.for_calls`).
        baseline: what makes the baseline differ.
        agreement: how the arms' outputs are compared.
        gate: what the result is compared with.
        tracker: who else hears of the result.
        study: how many measurements are made, and what for.
        sweep: how a sweep of such experiments goes on.
        console: how much is shown at the terminal.
    """

    arms: Mapping[str, Arm]
    measure: Measure = Measure()  # noqa: RUF009 - frozen
    baseline: Baseline = Baseline()  # noqa: RUF009 - frozen
    agreement: AgreementPlan = AgreementPlan()  # noqa: RUF009 - frozen
    gate: GateSpec = NoGate()  # noqa: RUF009 - frozen
    tracker: TrackerSpec = dataclasses.field(default=NoTracker(), metadata=_REPORTING)
    study: StudySpec = Single()  # noqa: RUF009 - frozen
    sweep: SweepPlan = dataclasses.field(default=SweepPlan(), metadata=_REPORTING)
    console: ConsolePlan = dataclasses.field(default=ConsolePlan(), metadata=_REPORTING)

    def __post_init__(self):
        # What fits the candidate need not fit the baseline, which may have been changed by itself.
        for name, arm in self.arms.items():
            problem = self._misfit(arm.run)
            if problem is not None:
                raise in_the_baseline(problem) if name == "baseline" else problem

    @property
    def candidate(self) -> Arm:
        """The arm that the command line describes."""
        return self.arms["candidate"]

    def _misfit(self, run: Run) -> UserError | None:
        """Say why an arm cannot be measured as planned, if it cannot."""
        # XLA_FLAGS and the environment are read once, when a process starts jax.
        if self.measure.isolation is Isolation.shared and run.process != Process():
            return UserError(
                "measure.isolation=shared cannot give an arm process settings of its own "
                "(process.xla_flags, process.env, process.python, process.source, process.pin, "
                "gate.commit); use measure.isolation=separate or auto"
            )
        # A shorter warm-up is a shorter generation, and all rows of a batch end with it.
        if self.measure.warmup_tokens is not None:
            if not isinstance(run.workload, Generate):
                return UserError(
                    "measure.warmup_tokens cuts a generation short; this workload generates nothing"
                )
            if run.workload.batching is not Batching.static:
                return UserError("measure.warmup_tokens needs workload.batching=static")
        # The other processes of a job wait for each start of this one, and there is only one.
        if run.mesh.joins and run.mesh.devices > 1:
            problems = self._unfit_for_a_job()
            if problems:
                subject = f"a mesh of {run.mesh.devices} devices is impossible here"
                return UserError.collected(subject, problems)
        return None

    def _unfit_for_a_job(self) -> list[str]:
        """List what needs several starts: a job of several processes is joined only once."""
        measure = self.measure
        needs_own_processes = {
            "measure.isolation=separate": measure.isolation is Isolation.separate,
            f"measure.processes={measure.processes}": (measure.processes or 1) > 1,
            "measure.startup": measure.startup is not None,
            "study": not isinstance(self.study, Single),
            "gate.commit": getattr(self.gate, "commit", None) is not None,
        }
        return [
            f"{key} needs processes of its own, and a job is joined once: leave it out, "
            "or use mesh.local_processes"
            for key, is_set in needs_own_processes.items()
            if is_set
        ]


SHARED_SLOTS = {slot: kinds for slot, kinds in slots_of(Experiment).items() if slot != "arms"}
"""The slots that both arms have in common: there is one measurement, and one report of it."""

SLOTS = ARM_SLOTS | SHARED_SLOTS
"""Every slot of a composed configuration."""

# `results.identity` leaves them out of what makes two runs the same.
REPORTING_SLOTS = tuple(
    field.name for field in dataclasses.fields(Experiment) if "reporting" in field.metadata
)
"""Slots that say who hears of a result and when, and nothing of the result."""
