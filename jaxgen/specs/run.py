"""A whole run: one frozen, validated, hashable spec per arm."""

import dataclasses
from collections.abc import Mapping

from jaxgen.errors import UserError
from jaxgen.specs.cache import (
    CacheSpec,
    Dynamic,
    Fixed,
    NoCache,
    Paged,
    PageKernel,
    has_two_regions,
)
from jaxgen.specs.console import ConsolePlan
from jaxgen.specs.dtype import Dtype
from jaxgen.specs.fault import Fault
from jaxgen.specs.gate import GateSpec, NoGate, Regression
from jaxgen.specs.jit import Jit, Strategy
from jaxgen.specs.measure import Isolation, Measure
from jaxgen.specs.mesh import Mesh, MeshSpec, OneDevice
from jaxgen.specs.model import Model
from jaxgen.specs.prompts import Arc, Builtin, Jsonl, PromptsSpec, Synthetic, Text
from jaxgen.specs.score import Score
from jaxgen.specs.study import Calibrate, Selftest, Single, StudySpec
from jaxgen.specs.sweep import SweepPlan
from jaxgen.specs.tracker import NoTracker, TrackerSpec, Wandb
from jaxgen.specs.workload import Batching, Generate

WorkloadSpec = Generate | Score

_NO_LIMIT_S, _NEVER = 1e9, 1e-12  # of a measurement whose calls are counted


@dataclasses.dataclass(frozen=True)
class Baseline:
    """What makes the baseline arm differ from the candidate (`baseline=`).

    Attributes:
        enabled: false measures the candidate alone.
        model, cache, jit, dtype, mesh: an option of that group; null keeps the candidate's.
        overrides: anything else, in the command line's syntax.
    """

    enabled: bool = True
    model: str | None = None
    cache: str | None = None
    jit: str | None = None
    dtype: str | None = None
    mesh: str | None = None
    overrides: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "overrides", tuple(self.overrides))


@dataclasses.dataclass(frozen=True)
class Process:
    """What a worker's process is started with.

    Attributes:
        xla_flags: added to the XLA_FLAGS of the environment.
        env: environment variables, as (name, value) pairs.
        python: the interpreter, of another environment perhaps; null is the one that runs jaxgen.
    """

    xla_flags: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    python: str | None = None

    def __post_init__(self):
        pairs = self.env.items() if isinstance(self.env, Mapping) else self.env
        object.__setattr__(self, "env", tuple(sorted((str(k), str(v)) for k, v in pairs)))


@dataclasses.dataclass(frozen=True)
class Run:
    """All that one arm is made of. Slots with several kinds hold one of that slot's spec classes."""

    model: Model
    cache: CacheSpec
    jit: Jit
    dtype: Dtype
    mesh: MeshSpec
    workload: WorkloadSpec
    prompts: PromptsSpec
    measure: Measure
    baseline: Baseline
    gate: GateSpec
    tracker: TrackerSpec
    process: Process
    fault: Fault = Fault()  # noqa: RUF009 - frozen
    sweep: SweepPlan = SweepPlan()  # noqa: RUF009 - frozen
    console: ConsolePlan = ConsolePlan()  # noqa: RUF009 - frozen
    study: StudySpec = Single()  # noqa: RUF009 - frozen

    def __post_init__(self):
        if self.measure.isolation is Isolation.shared and self.process != Process():
            raise UserError(
                "measure.isolation=shared cannot give an arm process settings of its own (process.xla_flags, "
                "process.env, process.python); use measure.isolation=separate or auto"
            )
        if self.measure.warmup_tokens is not None and not isinstance(self.workload, Generate):
            raise UserError(
                "measure.warmup_tokens cuts a generation short; this workload generates nothing"
            )
        self._check_slots()
        self._check_mesh()

    def _check_slots(self) -> None:
        """Continuous batching needs rows that can be given to another text."""
        work = self.workload
        if not isinstance(work, Generate) or work.batching is Batching.static:
            return
        if not isinstance(self.cache, Fixed | Paged):
            raise UserError(
                "workload.batching=continuous needs cache=fixed or cache=paged, whose shapes never change; a baseline "
                "without one is had with \"baseline.overrides=['workload.batching=static']\""
            )
        if has_two_regions(self.cache):
            raise UserError(
                "workload.batching=continuous cannot be combined with cache.regions=2, whose rows go in step; "
                "set cache.regions=1"
            )
        if work.shared_prefix and not isinstance(self.cache, Paged):
            raise UserError(
                "workload.shared_prefix needs cache=paged: only pages can belong to several texts"
            )
        if self.measure.warmup_tokens is not None:
            raise UserError("measure.warmup_tokens needs workload.batching=static")

    def _check_mesh(self) -> None:
        """What cannot be cut at all, and rows that cannot be shared out evenly."""
        work, mesh = self.workload, self.mesh
        if mesh.devices == 1:
            return
        continuous = isinstance(work, Generate) and work.batching is Batching.continuous
        sizes = {"batch_size": [work.batch_size]}
        sizes |= {key: list(getattr(work, key, ())) for key in ("batch_sizes", "batch_buckets")}
        problems = [
            f"workload.{key}={size} is not divisible by mesh.data={mesh.data}: give a multiple of it"
            for key, several in sizes.items()
            for size in several
            if size % mesh.data and not continuous
        ]
        if continuous and mesh.data > 1:
            problems.append(
                f"workload.batching=continuous has no rows for mesh.data={mesh.data}: use mesh.tensor alone"
            )
        if self.jit.strategy is Strategy.captured:
            problems.append(
                "jit=captured makes constants of the weights, whole on every device: use jit=closure"
            )
        if isinstance(self.cache, Paged) and self.cache.kernel is PageKernel.pallas:
            problems.append("cache.kernel=pallas cannot be cut: use cache.kernel=auto")
        problems += self._unfit_for_a_job() if mesh.joins else []
        if problems:
            raise UserError.collected(
                f"a mesh of {mesh.devices} devices is impossible here", problems
            )

    def _unfit_for_a_job(self) -> list[str]:
        """A job of several processes is joined once, by one worker on each host."""
        measure = self.measure
        unfit = {
            "measure.isolation=separate": measure.isolation is Isolation.separate,
            f"measure.processes={measure.processes}": measure.processes > 1,
            "measure.startup": measure.startup is not None,
            "study": not isinstance(self.study, Single),
        }
        return [
            f"{key} needs processes of its own, and a job is joined once: leave it out, or use mesh.local_processes"
            for key, given in unfit.items()
            if given
        ]

    @property
    def plan(self) -> Measure:
        """The measurement as the workload has it: `workload.num_runs` calls, one in a trial, whatever they take."""
        runs = self.workload.num_runs if isinstance(self.workload, Score) else None
        if runs is None:
            return self.measure
        in_block = max(
            count for count in range(1, min(self.measure.trials, runs) + 1) if runs % count == 0
        )
        return dataclasses.replace(
            self.measure,
            trials=in_block,
            blocks=runs // in_block,
            min_trial_s=0.0,
            max_seconds=_NO_LIMIT_S,
            target_ci=_NEVER,
        )


SLOTS: dict[str, tuple[type, ...]] = {
    "model": (Model,),
    "cache": (Fixed, NoCache, Dynamic, Paged),
    "jit": (Jit,),
    "dtype": (Dtype,),
    "mesh": (OneDevice, Mesh),
    "workload": (Generate, Score),
    "prompts": (Builtin, Text, Jsonl, Synthetic, Arc),
    "measure": (Measure,),
    "baseline": (Baseline,),
    "gate": (NoGate, Regression),
    "tracker": (NoTracker, Wandb),
    "process": (Process,),
    "fault": (Fault,),
    "sweep": (SweepPlan,),
    "console": (ConsolePlan,),
    "study": (Single, Calibrate, Selftest),
}

REPLACEABLE = tuple(field.name for field in dataclasses.fields(Baseline) if field.name in SLOTS)
"""Slots of which a baseline may have an option of its own, by a key of that name."""
