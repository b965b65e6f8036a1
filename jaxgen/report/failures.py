"""Which arms of a run failed, and what they left behind."""

from jaxgen.results.collection import StoredRun
from jaxgen.results.schema import ArmResult, Result


def failed_arms(result: Result) -> dict[str, ArmResult]:
    """Return the arms that failed, by name."""
    failed = {}
    for name, arm in result["arms"].items():
        failure = arm.get("failure")
        if isinstance(failure, dict):
            failed[name] = arm
    return failed


def failure_of(arm: ArmResult) -> str | None:
    """Return the kind of a failure and the first line of its message; None where there is none."""
    failure = arm.get("failure")
    if not isinstance(failure, dict):
        return None
    parts = []
    kind = failure.get("kind")
    if kind:
        parts.append(str(kind))
    message = str(failure.get("message") or "").strip()
    if message:
        # XLA's messages run over many lines; the whole of them stands with the traceback.
        parts.append(message.splitlines()[0])
    return ": ".join(parts)


def tracebacks(run: StoredRun) -> list[tuple[str, str]]:
    """Return each failed arm's name with its traceback, or what else it left behind."""
    texts = []
    for name, arm in failed_arms(run.result).items():
        failure = arm["failure"]
        if failure is None:
            continue
        # A process that was killed has no traceback, and its message says the signal.
        text = failure.get("traceback") or failure.get("message")
        text = text or failure.get("kind")
        texts.append((name, str(text)))
    return texts
