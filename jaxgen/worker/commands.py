"""The table of a worker's commands: the name of each, what it takes, and what carries it out."""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic

from jaxgen.worker import diagnostics, requests
from jaxgen.worker.arm import LoadedArm
from jaxgen.worker.requests import Request
from jaxgen.worker.server import Server


@dataclasses.dataclass(frozen=True)
class Command(Generic[Request]):
    """One row of the table.

    Attributes:
        request: the class of the arguments.
        handle: carries the command out, given the server, the arm's name and the arguments; it
            returns JSON values.
    """

    request: type[Request]
    handle: Callable[[Server, str, Request], Any]


def _of_process(
    request: type[Request], handle: Callable[[Server, Request], Any]
) -> Command[Request]:
    """Make the row of a command that is about the whole process."""
    return Command(request, lambda server, _arm, asked: handle(server, asked))


def _of_arm(
    request: type[Request], handle: Callable[[LoadedArm, Request], Any]
) -> Command[Request]:
    """Make the row of a command that is about a loaded arm."""
    return Command(request, lambda server, arm, asked: handle(server.arms[arm], asked))


def _among_arms(
    request: type[Request], handle: Callable[[Mapping[str, LoadedArm], str, Request], Any]
) -> Command[Request]:
    """Make the row of a command that may look at the other arms of the process too."""
    return Command(request, lambda server, arm, asked: handle(server.arms, arm, asked))


COMMANDS: dict[str, Command[Any]] = {
    # Of the process. The first three come before a job is joined, which must precede all else.
    "is_converted": _of_process(
        requests.OfRun, lambda server, asked: server.is_converted(asked.run)
    ),
    "convert": _of_process(requests.OfRun, lambda server, asked: server.convert(asked.run)),
    "join": _of_process(requests.Join, lambda server, asked: server.join(asked.rendezvous)),
    "follow": _of_process(requests.NoArguments, lambda server, _: follow(server)),
    "hello": _of_process(requests.NoArguments, lambda server, _: server.hello()),
    "load": Command(requests.OfRun, lambda server, arm, asked: server.load(arm, asked.run)),
    # Of an arm, in the order of a run.
    "prepare": _of_arm(
        requests.Prepare,
        lambda arm, asked: arm.prepare(
            asked.case,
            warmup=asked.warmup,
            warmup_tokens=asked.warmup_tokens,
            leave_in=asked.leave_in,
            find_in=asked.find_in,
        ),
    ),
    "precompile": _of_arm(requests.OfCase, lambda arm, asked: arm.precompile(asked.case)),
    "outputs": _of_arm(requests.OfCase, lambda arm, asked: arm.outputs(asked.case)),
    "move_to_new_buffers": _of_arm(requests.NoArguments, lambda arm, _: arm.move_to_new_buffers()),
    "inject_fault": _of_arm(requests.InjectFault, lambda arm, asked: arm.inject_fault(asked.fault)),
    "trial": Command(
        requests.Trial,
        lambda server, arm, asked: server.arms[arm].trial(
            asked.case, asked.repeats, on_done=server.calls_done
        ),
    ),
    "without_calls": Command(
        requests.Trial,
        lambda server, arm, asked: diagnostics.without_calls(
            server.arms[arm], asked.case, asked.repeats, on_done=server.calls_done
        ),
    ),
    # Of an arm, beside the trials.
    "logprobs": _of_arm(
        requests.Logprobs, lambda arm, asked: arm.logprobs(asked.tokens, asked.candidates)
    ),
    "write_reference_logits": _among_arms(
        requests.WriteReferenceLogits, diagnostics.write_reference_logits
    ),
    "compare_logits": _among_arms(requests.CompareLogits, diagnostics.compare_logits),
    "score_again": _among_arms(requests.ScoreAgain, diagnostics.score_again),
    "scale": _of_arm(requests.OfCase, lambda arm, asked: diagnostics.scale(arm, asked.case)),
    "examine": _of_arm(
        requests.Examine,
        lambda arm, asked: diagnostics.examine(arm, asked.case, dump=asked.dump),
    ),
    "profile": _of_arm(
        requests.Profile,
        lambda arm, asked: diagnostics.profile(arm, asked.case, folder=asked.folder),
    ),
    "capture": _of_arm(
        requests.Capture,
        lambda arm, asked: diagnostics.capture(arm, asked.case, path=asked.path),
    ),
    "reset_peaks": _of_arm(requests.NoArguments, lambda _arm, _: diagnostics.reset_peaks()),
    "peaks": _of_arm(requests.NoArguments, lambda _arm, _: diagnostics.peaks()),
}
"""Every command by its name."""


def answer(server: Server, message: dict[str, Any]) -> Any:
    """Carry out one command.

    Args:
        server: of this process.
        message: `{command, arm, ...}`, where the rest are the fields of the command's request.

    Returns:
        JSON values.
    """
    entry, arm, request = _parsed(message)
    if server.peer is not None and server.peer.leads:
        # A collective needs every process, so the others must begin with the command as well.
        server.peer.publish(message)
    return entry.handle(server, arm, request)


def follow(server: Server) -> None:
    """Do what process 0 of the job does, in silence, until it ends."""
    assert server.peer is not None, "only a process that has joined can follow"
    server.send_nothing()
    with tempfile.TemporaryDirectory(prefix="jaxgen-follower-") as folder:
        for message in server.peer.commands():
            entry, arm, request = _parsed(message)
            # Process 0 writes the files of the run; what this one writes must not overwrite them.
            entry.handle(server, arm, requests.with_paths_in(Path(folder), request))
    server.peer.leave()


def _parsed(message: dict[str, Any]) -> tuple[Command[Any], str, Any]:
    """Return the command's row of the table, the arm's name and the typed request."""
    arguments = dict(message)
    # An unknown command, or an argument too many, is an error here, before other processes begin
    # with it.
    entry = COMMANDS[arguments.pop("command")]
    arm = arguments.pop("arm")
    return entry, arm, entry.request(**arguments)
