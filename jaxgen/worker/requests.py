"""The arguments of every command that a worker understands.

Messages on the pipe are plain JSON; here they get their types. A field that is marked as a path
names a file or a folder: processes that follow another one must write somewhere else than that one.
"""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

Request = TypeVar("Request")

PROTOCOL = 1
"""Raised when a command or an answer changes its meaning and keeps its name. A parent drives a
worker of another commit only with the same number; `executor.source` reads it from that source."""

_DIRECTION = "path"
_INPUT = {_DIRECTION: "input"}  # metadata of a field: the command reads there
_OUTPUT = {_DIRECTION: "output"}  # metadata of a field: the command writes there


@dataclasses.dataclass(frozen=True)
class NoArguments:
    """For `hello`, `follow`, `move_to_new_buffers`, `reset_peaks` and `peaks`."""


@dataclasses.dataclass(frozen=True)
class Join:
    """For `join`.

    Attributes:
        rendezvous: what `jax.distributed.initialize` takes; empty to ask the cluster.
    """

    rendezvous: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class OfRun:
    """For `load`, `convert` and `is_converted`.

    Attributes:
        run: the arm's spec as plain data.
    """

    run: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class OfCase:
    """For `precompile`, `outputs` and `scale`.

    Attributes:
        case: the number of the case.
    """

    case: int


@dataclasses.dataclass(frozen=True)
class Prepare:
    """For `prepare`.

    Attributes:
        case: the number of the case.
        warmup: how many warm-up calls.
        warmup_tokens: new tokens of such a call; null takes the trials' own lengths.
        leave_in: a folder for the programs, where another process is to find them; null keeps none.
        find_in: a folder in which an earlier process has left them; null compiles all.
    """

    case: int
    warmup: int
    warmup_tokens: int | None
    leave_in: str | None = dataclasses.field(default=None, metadata=_OUTPUT)
    find_in: str | None = dataclasses.field(default=None, metadata=_INPUT)


@dataclasses.dataclass(frozen=True)
class Trial:
    """For `trial` and `without_calls`.

    Attributes:
        case: the number of the case.
        repeats: calls in the trial.
    """

    case: int
    repeats: int


@dataclasses.dataclass(frozen=True)
class InjectFault:
    """For `inject_fault`.

    Attributes:
        fault: fields of `specs.fault.Fault`; empty takes the fault away.
    """

    fault: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Logprobs:
    """For `logprobs`.

    Attributes:
        tokens: the ids that the model reads.
        candidates: the ids whose log-probabilities are wanted.
    """

    tokens: list[int]
    candidates: list[int]


@dataclasses.dataclass(frozen=True)
class Reader:
    """Which engine of an arm reads given outputs; the arm's own unless something else is said.

    Attributes:
        in_float32: its float32 shadow.
        is_reordered: the same function, with its sums in another order.
        weights_of: the run whose weights the shadow has, as plain data; null is the arm's own.
    """

    in_float32: bool = False
    is_reordered: bool = False
    weights_of: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class WriteReferenceLogits:
    """For `write_reference_logits`.

    Attributes:
        case: the number of the case.
        rows: prompts and answers, `{prompt_tokens, tokens}` each.
        path: the file to write.
        reader: fields of `Reader`.
    """

    case: int
    rows: list[dict[str, Any]]
    path: str = dataclasses.field(metadata=_OUTPUT)
    reader: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class CompareLogits:
    """For `compare_logits`.

    Attributes:
        case: the number of the case.
        rows: prompts and answers, as the file was written from.
        path: the file that `write_reference_logits` wrote.
        divergences: where the arms part, `{row, position, tokens}` each: both arms'
            log-probabilities of the tokens there are wanted too.
        reader: fields of `Reader`.
    """

    case: int
    rows: list[dict[str, Any]]
    path: str = dataclasses.field(metadata=_INPUT)
    divergences: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    reader: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ScoreAgain:
    """For `score_again`.

    Attributes:
        case: the number of the case.
        reader: fields of `Reader`.
    """

    case: int
    reader: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Examine:
    """For `examine`.

    Attributes:
        case: the number of the case.
        dump: a folder for the programs' text; null writes none.
    """

    case: int
    dump: str | None = dataclasses.field(metadata=_OUTPUT)


@dataclasses.dataclass(frozen=True)
class Profile:
    """For `profile`.

    Attributes:
        case: the number of the case.
        folder: where jax.profiler writes.
    """

    case: int
    folder: str = dataclasses.field(metadata=_OUTPUT)


@dataclasses.dataclass(frozen=True)
class Capture:
    """For `capture`.

    Attributes:
        case: the number of the case.
        path: the file for the activations.
    """

    case: int
    path: str = dataclasses.field(metadata=_OUTPUT)


def with_paths_in(folder: Path, request: Request) -> Request:
    """Return a request whose paths lie in another folder.

    Args:
        folder: belongs to one process that follows another.
        request: as that other process got it.

    Returns:
        The request with every output moved into `folder`. An input is read from there where an
        earlier command has written it; it stays where it is otherwise.
    """
    moved = {}
    for field in dataclasses.fields(request):  # type: ignore[arg-type]  # every request is one
        direction = field.metadata.get(_DIRECTION)
        path = getattr(request, field.name)
        if direction is None or path is None:
            continue
        # Where one job holds both arms, each process has a reference logits file of its own. Where
        # each arm has its own processes, only the baseline's have one, and the given path is it.
        own_path = folder / Path(path).name
        if direction == "output" or own_path.exists():
            moved[field.name] = str(own_path)
    return dataclasses.replace(request, **moved)  # type: ignore[type-var]
