"""Workers without a process: they answer what a test wants, and record what they are asked."""

from collections import Counter

from jaxgen.experiment.trials import Trials
from jaxgen.measure.samples import Samples
from jaxgen.specs.jit import Strategy
from jaxgen.specs.measure import Measure
from support.small_runs import METRICS, two_arms

ANSWERS = {name: [{"tokens": [1, 2]}, {"tokens": [3]}] for name in ("candidate", "baseline")}
WARM = {"candidate": 0.1, "baseline": 0.1}
"""How long one call of each arm takes, in seconds."""


class Workers:
    """Stands in for the pool.

    It records its calls. `events` says, by arm, how much the n-th trial compiles.
    """

    def __init__(self, events=None, *, answers=None, speeds=None):
        self.calls = []
        self.asked = []
        self._events = events or {}
        self._answers = answers or {}
        self._speeds = speeds or (lambda arm, number: {"candidate": 200.0, "baseline": 100.0}[arm])
        self._done = Counter()

    def call(self, arm, command, **arguments):
        self.calls.append((command, arm))
        if command == "move_to_new_buffers":
            return None
        self.asked.append(arguments)
        number = self._done[arm]
        self._done[arm] += 1
        events = self._events.get(arm, lambda number: 0)(number)
        speed = self._speeds(arm, number)
        return {
            "metrics": {"tokens_per_s": speed, "latency_s": 1 / speed},
            "compile_events": events,
            "functions": {"step": 1, "prefill": 1} if events else {},
            "call_s": [1 / speed] * arguments["repeats"],
            "answers": self._answers.get((arm, number), [row["tokens"] for row in ANSWERS[arm]]),
        }

    @property
    def timed(self):
        """The arms in the order of their trials."""
        return [arm for command, arm in self.calls if command == "trial"]


class TrialLog:
    """What the trials report: every row, and (number, pairs) of every block."""

    def __init__(self, samples):
        self.samples = samples
        self.rows = []
        self.blocks = []

    @property
    def comparison(self):
        return self.samples.comparison().get("tokens_per_s")

    def compiled(self, arm):
        return self.samples.summary(arm)["compile"]

    def places(self, *keys):
        return [tuple(row[key] for key in keys) for row in self.rows]


def measure(
    workers=None, *, arms=None, call_s=WARM, jit=Strategy.closure, samples=None, where=None, **plan
):
    """Run trials by the plan; return them, their log and the workers.

    `where` may hold case, process and first_block.
    """
    workers = workers or Workers()
    plan = Measure(**({"trials": 4, "blocks": 5, "target_ci": 1e-6, "processes": 1} | plan))
    arms = arms or two_arms(jit=jit)
    log = TrialLog(samples or Samples(arms, METRICS))
    trials = Trials(
        arms,
        workers,
        log.samples,
        plan=plan,
        **(where or {}),
        on_trial=log.rows.append,
        on_block=lambda number, pairs: log.blocks.append((number, pairs)),
    )
    trials.run(call_s=call_s)
    return trials, log, workers


def noisy(arm, number):
    """Return speeds whose ratio differs from block to block by some ten percent."""
    return 100.0 * (1 + 0.1 * ((number // 4) % 3)) if arm == "candidate" else 100.0
