"""What else used the machine during a run: other programs make the figures noisier, or worthless.

Above `measure.max_foreign_load` a run waits before its trials; where the trials themselves had so
much company, their verdict is no better than `inconclusive`.
"""

import dataclasses
import time
from collections.abc import Iterable
from typing import Any

from jaxgen.console.progress import Console
from jaxgen.machine import cpu_load
from jaxgen.machine.device_load import foreign_device_load
from jaxgen.measure.samples import Samples
from jaxgen.results.record import Record
from jaxgen.results.schema import CaseResult, Result, TrialLoadFacts, TrialRow
from jaxgen.specs.measure import Measure

NOISY_SHARE = 0.05  # of the processor, by other programs
LOOK_S = 1.0
"""How long the machine is watched before it is called quiet or busy."""

_SLOWING_GOVERNORS = ("powersave", "ondemand", "conservative", "schedutil")
_CLAIMS = ("faster", "slower", "equivalent")


@dataclasses.dataclass(frozen=True)
class Load:
    """The load that the run found.

    Attributes:
        foreign_device: what other programs do on the accelerator; null where none can tell.
        cpu: a snapshot of the processor's use; null until `with_cpu`.
    """

    foreign_device: dict[str, Any] | None
    cpu: dict[str, Any] | None = None

    def with_cpu(self) -> "Load":
        """Return the load with a snapshot of the processor, the first one taken."""
        if self.cpu is not None:
            return self
        return dataclasses.replace(self, cpu=cpu_load.snapshot())


def before_workers() -> Load:
    """Return the load of the accelerator; called before this run's workers use it."""
    return Load(foreign_device_load())


def wait_until_quiet(plan: Measure, record: Record, console: Console) -> None:
    """Wait until other programs use no more of the processor than `measure.max_foreign_load`.

    After `measure.max_wait_s` seconds the run goes on all the same. Where the load cannot be known
    there is nothing to wait for.

    Args:
        plan: of the measurement.
        record: gets a note where it was waited.
        console: shows how long.
    """
    # The seconds are those of the whole run: every case and pair of processes comes by here.
    environment = record.result["environment"] or {}
    waited_before_s = environment.get("waited_s") or 0.0
    left_s = plan.max_wait_s - waited_before_s
    if left_s <= 0 or plan.max_foreign_load >= 1:
        return
    share = _watched_share()
    if share is None or share <= plan.max_foreign_load:
        return
    start = time.monotonic()
    with console.stage("both", "wait until other programs use less of the processor") as progress:
        while share is not None and share > plan.max_foreign_load:
            waited_s = time.monotonic() - start
            if waited_s >= left_s:
                break
            progress(f"others use {share:.0%}, waited s", round(waited_s), round(left_s))
            share = _watched_share()
    waited_s = time.monotonic() - start
    record.add_to_environment({"waited_s": waited_before_s + waited_s})
    waited = f"waited {waited_s:.0f} s for a quiet machine"
    if share is not None and share > plan.max_foreign_load:
        waited += f" in vain: other programs used {share:.0%} of the processor to the end"
    record.note(waited)


def note(record: Record, load: Load) -> None:
    """Put the load into the record's environment, and say where it spoils the figures.

    Args:
        record: of the run.
        load: as it was before the trials.
    """
    # Here all workers have ended, and what they used is counted with the children of this process:
    # it does not pass for the load of others.
    after = cpu_load.snapshot()
    share = cpu_load.foreign_cpu_share(load.cpu or after, after)
    device = load.foreign_device
    record.add_to_environment(
        {
            "load_average_after": after["load_average"],
            "foreign_cpu_share": share,
            "foreign_device_load": device,
        }
    )
    if share is not None and share > NOISY_SHARE:
        record.note(
            f"other programs used {share:.0%} of the processor during the run: "
            "the figures are noisier for it"
        )
    if device and (device["foreign_processes"] or device["utilisation"]):
        record.note("other programs use the device: the figures are noisier for it")
    _note_governor(record)


def _note_governor(record: Record) -> None:
    """Say where the system may run the processor slower than it could."""
    processor = (record.result["environment"] or {}).get("processor") or {}
    governor = processor.get("governor")
    # Google's benchmark library warns of the same: short trials may end before the clock is up.
    if governor in _SLOWING_GOVERNORS:
        record.note(
            f"the system may slow the processor's clock down (governor {governor}): the figures "
            "are noisier for it; the governor performance keeps it up"
        )


def judge(record: Record, samples: Samples, *, case: int, plan: Measure) -> None:
    """Put the load of each arm's trials into its section; take back a verdict that rests on it.

    Args:
        record: of the run, with the verdict of the case.
        samples: all trials of the case.
        case: the number of the case.
        plan: of the measurement.
    """
    rows = []
    for arm in record.result["arms"]:
        of_arm = samples.valid(arm)
        record.arm_section(arm, case=case)["load"] = load_of(of_arm)
        rows += of_arm
    facts = load_of(rows)
    _note_throttling(record, facts)
    share = facts["foreign_cpu_share"]
    if share is None or share <= NOISY_SHARE:
        return
    if plan.max_foreign_load >= 1:
        record.note(
            f"other programs used {share:.0%} of the processor during the trials, which "
            "measure.max_foreign_load=1 accepts"
        )
    elif share > plan.max_foreign_load:
        _doubt(record, record.section(case), share, plan)


def load_of(rows: Iterable[TrialRow]) -> TrialLoadFacts:
    """Return what else used the processor during some trials; null where it is not known."""
    trials = list(rows)
    available_s = _sum(trials, "available_cpu_s")
    throttled_s = _sum(trials, "throttled_s")
    throttled_trials = None
    if throttled_s is not None:
        throttled_trials = sum((trial.get("throttled_s") or 0) > 0 for trial in trials)
    return {
        "foreign_cpu_share": cpu_load.share_of(available_s, _sum(trials, "foreign_cpu_s")),
        "steal_share": cpu_load.share_of(available_s, _sum(trials, "steal_s")),
        "throttled_s": throttled_s,
        "throttled_trials": throttled_trials,
    }


def _sum(trials: Iterable[TrialRow], key: str) -> float | None:
    """Return the sum over all trials that know the figure; null where none does."""
    figures = [trial.get(key) for trial in trials]
    known = [figure for figure in figures if isinstance(figure, int | float)]
    return sum(known) if known else None


def _note_throttling(record: Record, facts: TrialLoadFacts) -> None:
    if facts["throttled_trials"]:
        record.note(
            f"the container's limit of processor time stopped the run in "
            f"{facts['throttled_trials']} trials, for {facts['throttled_s']:.2g} s in all: give it "
            "more, or fewer threads"
        )


def _doubt(record: Record, section: Result | CaseResult, share: float, plan: Measure) -> None:
    """Make a claim `inconclusive`, and say why; an invalid measurement stays invalid."""
    busy = (
        f"other programs used {share:.0%} of the processor during the trials, more than "
        f"measure.max_foreign_load={plan.max_foreign_load:g} allows"
    )
    if section["verdict"] not in _CLAIMS:
        record.note(busy)
        return
    measured = section["verdict_reason"]
    section["verdict"] = "inconclusive"
    section["verdict_reason"] = (
        f"{busy}: measure again on a quieter machine, or accept this one with "
        f"measure.max_foreign_load=1; what was measured: {measured}"
    )


def _watched_share() -> float | None:
    """Watch the processor for a moment; return the share that other programs used."""
    before = cpu_load.snapshot()
    time.sleep(LOOK_S)
    return cpu_load.foreign_cpu_share(before, cpu_load.snapshot())
