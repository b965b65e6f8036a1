"""Two arms in this process, asked as the parent asks its workers, without any process."""

import json
from collections.abc import Sequence

from jaxgen.config.experiment import load_experiment
from jaxgen.engine.engine import Engine
from jaxgen.experiment.output_check import agreement_of
from jaxgen.specs.agreement import AgreementPlan
from jaxgen.specs.arm import Arm
from jaxgen.specs.codec import spec_to_plain
from jaxgen.worker import commands
from jaxgen.worker.server import Server


class ArmsInProcess:
    """Stands in for a pool: the workers' own commands, without a pipe.

    Args:
        arms: by name; loaded here.
    """

    def __init__(self, arms: dict[str, Arm]):
        self.arms = arms
        self.environments = {name: {"platform": "cpu"} for name in arms}
        self._server = Server(lambda _message: None, import_s=0.0)
        self.commands: list[str] = []
        for name, arm in arms.items():
            self._server.load(name, spec_to_plain(arm.run))

    def call(self, arm: str, command: str, **arguments):
        self.commands.append(command)
        message = json.loads(json.dumps({"command": command, "arm": arm, **arguments}))
        return json.loads(json.dumps(commands.answer(self._server, message), allow_nan=False))

    def engine(self, arm: str) -> Engine:
        return self._server.arms[arm].engine

    def put(self, arm: str, engine: Engine) -> None:
        """Have an arm use another engine from now on."""
        self._server.arms[arm].engine = engine
        self._server.arms[arm].workload._engine = engine

    def outputs(self, arm: str) -> list[dict]:
        """Have an arm answer."""
        return self.call(arm, "outputs", case=0)["rows"]

    def agreement(
        self,
        *,
        baseline: list[dict] | None = None,
        plan: AgreementPlan = AgreementPlan(),  # noqa: B008 - frozen
    ) -> dict:
        """Have the arms answer, and compare what they answer.

        Args:
            baseline: its outputs, where they are known.
            plan: how they are compared.
        """
        rows = {"candidate": self.outputs("candidate")}
        rows["baseline"] = baseline or self.outputs("baseline")
        agreed = agreement_of(self.arms, self, rows, case=0, plan=plan)
        assert agreed is not None
        return dict(agreed)

    def close(self) -> None:
        self._server.ledger.close()


def arms_of(overrides: Sequence[str]) -> ArmsInProcess:
    """Return the arms of a command line."""
    return ArmsInProcess(dict(load_experiment(overrides).arms))
