"""Who else hears of a finished result (`tracker=`)."""

import dataclasses
import enum

from jaxgen.errors import UserError

# In characters, as the server has it; less for a name, which is followed by the arm's.
_LONGEST = {
    "project": 128,
    "entity": 128,
    "group": 128,
    "name": 100,
}
_LONGEST_TAG = 64
# The server would refuse such names only once everything has been measured.
_NOT_IN_A_PROJECT = "/\\#?%:"
_DAY_S = 86400


class Mode(enum.Enum):
    """Whether what is logged to wandb leaves this machine."""

    offline = "offline"
    online = "online"


@dataclasses.dataclass(frozen=True)
class NoTracker:
    """None: the run folder alone is written."""


@dataclasses.dataclass(frozen=True)
class Wandb:
    """A wandb run for each arm, logged when all numbers are on disk.

    Attributes:
        mode: `offline` writes files below the run folder; `online` then sends them.
        project: of the wandb runs.
        entity: the user or team they belong to; null is the account's own.
        group: what holds the arms together; null is the name of the run's folder, or of the
            sweep's.
        tags: of every wandb run.
        name: shown for the wandb runs, followed by the arm; null is the name of the run's folder.
        init_timeout_s: with `online`, how long the server may take to answer at all; then the files
            wait.
        finish_timeout_s: with `online`, how long the sending may take.
    """

    mode: Mode = Mode.offline
    project: str = "jaxgen"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    name: str | None = None
    init_timeout_s: float = 15.0
    finish_timeout_s: float = 30.0

    def __post_init__(self):
        # Each tag once, in the order in which they were typed.
        tags = dict.fromkeys(str(tag) for tag in self.tags)
        object.__setattr__(self, "tags", tuple(tags))
        problems = [*self._impossible_names(), *self._impossible_times()]
        if problems:
            raise UserError("; ".join(problems))

    def _impossible_names(self) -> list[str]:
        problems = []
        for key, longest in _LONGEST.items():
            text = getattr(self, key)
            if text is not None and not 0 < len(text) <= longest:
                problems.append(
                    f"tracker.{key}={text} must have 1 to {longest} characters, not {len(text)}"
                )
        wrong = []
        for letter in _NOT_IN_A_PROJECT:
            if letter in self.project:
                wrong.append(letter)
        if wrong:
            problems.append(
                f"tracker.project={self.project} has {' '.join(wrong)} in it; "
                f"none of {' '.join(_NOT_IN_A_PROJECT)} may stand in a project's name: try dashes"
            )
        for tag in self.tags:
            if not 0 < len(tag) <= _LONGEST_TAG:
                problems.append(
                    f"tracker.tags: {tag!r} must have 1 to {_LONGEST_TAG} characters, "
                    f"not {len(tag)}"
                )
        return problems

    def _impossible_times(self) -> list[str]:
        problems = []
        for key in ("init_timeout_s", "finish_timeout_s"):
            seconds = getattr(self, key)
            if not 0 < seconds <= _DAY_S:
                problems.append(
                    f"tracker.{key}={seconds} must be above 0 and at most {_DAY_S} seconds"
                )
        return problems


TrackerSpec = NoTracker | Wandb
