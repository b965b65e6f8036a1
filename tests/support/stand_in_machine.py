"""A simulated machine: a seeded model of noise says how fast each trial of its workers is."""

import dataclasses

import numpy as np

from jaxgen.specs.experiment import Experiment
from jaxgen.specs.measure import Isolation, Measure
from support.small_runs import arm, loaded_facts

SPREAD = {"process": 0.002, "block": 0.004, "trial": 0.01}
"""Standard deviations of the speed's logarithm: per process of an arm, per block, per trial."""


def same_experiment(study, **plan):
    """An arm and itself, in a study."""
    one = arm("candidate")
    arms = {name: dataclasses.replace(one, name=name) for name in ("candidate", "baseline")}
    return Experiment(arms=arms, study=study, measure=Measure(**{"max_foreign_load": 1.0, **plan}))


class Machine:
    """What all pools of one test share.

    Attributes:
        pools: how many were started.
        events: what every trial of the candidate compiles.
        starts: of each, which arm's process began when.
        slowness: of each arm, as its last injected fault has it.
    """

    def __init__(self, *, seed, events=0):
        self.random = np.random.default_rng(seed)
        self.pools = 0
        self.events = events
        self.starts: list[list[str]] = []
        self.slowness: dict[str, float] = {}

    def pool(self, arms, *, isolation, log):
        """Takes the place of `Pool`."""
        del isolation, log
        self.pools += 1
        self.starts.append(list(arms))
        return StandInPool(self, arms)

    def noise(self, level):
        return self.random.normal(0.0, SPREAD[level])


class StandInPool:
    """One pair of processes."""

    def __init__(self, machine, arms):
        facts = {"device_kind": "cpu", "device_count": 1, "cpu": "Abacus 2", "platform": "cpu"}
        self._machine = machine
        self._process = {arm: machine.noise("process") for arm in arms}
        self._placed = dict(self._process)
        self.environments = {arm: {**facts, "import_s": 0.1, "pid": 1} for arm in arms}
        self.isolation = Isolation.separate

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self._machine.slowness = {}

    def load(self, arm, progress):
        del arm, progress
        return loaded_facts()

    def load_all(self):
        return {arm: loaded_facts() for arm in self.environments}

    def call_all(self, command, **arguments):
        return {arm: self.call(arm, command, **arguments) for arm in self.environments}

    def call(self, arm, command, progress=None, **arguments):
        del progress  # nothing is said before the answer
        return getattr(self, command)(arm, **arguments)

    def prepare(self, arm, case, **plan):
        del arm, case, plan
        return {"calls": []}

    def outputs(self, arm, case):
        del arm, case
        return {"call_s": 0.05}

    def inject_fault(self, arm, fault):
        self._machine.slowness[arm] = fault.get("slowdown", 0.0)

    def move_to_new_buffers(self, arm):
        self._placed[arm] = self._process[arm] + self._machine.noise("block")

    def trial(self, arm, case, repeats):
        del case
        slowness, events = (
            self._machine.slowness.get(arm, 0.0),
            self._machine.events if arm == "candidate" else 0,
        )
        speed = 100 * np.exp(self._placed[arm] + self._machine.noise("trial")) / (1 + slowness)
        return {
            "metrics": {"tokens_per_s": speed, "latency_s": 1 / speed},
            "compile_events": events,
            "functions": {"step": events} if events else {},
            "answers": [[1]],
            "call_s": [1 / speed] * repeats,
        }
