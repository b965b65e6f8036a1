"""Floor 7: the whole story of a run, from two composed arms to a result on disk and an exit code. No jax here."""

import contextlib
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxgen.console import Console
from jaxgen.errors import ExitCode, UserError
from jaxgen.measure import agreement, load
from jaxgen.measure.verdict import verdict
from jaxgen.pool import ArmFailed, Pool
from jaxgen.record import LOG, Record
from jaxgen.spec.arm import Arm
from jaxgen.trials import Trials

DEFAULT_MARGIN = 0.02
"""Half the width of `equivalent` where no noise floor is known for the machine."""


def execute(arms: Mapping[str, Arm], folder: Path) -> ExitCode:
    """Measure the arms and write everything into `folder`.

    Args:
        arms: `candidate` first, and perhaps `baseline`.
        folder: the run folder, made by Hydra.

    Returns:
        The exit code: what was measured is on disk whatever it is.

    Raises:
        UserError: found by a worker, such as a checkpoint that is missing; noted in the result first.
    """
    record = Record(arms, folder)
    console = Console(arms, folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_terminated_like_interrupted())
        stack.enter_context(console)
        try:
            code = _measured(arms, record, console)
        except UserError as error:
            record.note(str(error))
            record.finish("failed")
            raise
        except ArmFailed as failure:
            record.result["arms"][failure.arm]["failure"] = failure.record
            record.note(f"the {failure.arm} arm failed: {failure.record['message']}")
            record.finish("failed")
            code = ExitCode.ARM_FAILED
        except KeyboardInterrupt:
            record.note("interrupted: what was measured until then is kept")
            record.finish("failed")
            code = ExitCode.INTERRUPTED
        except BaseException:
            record.finish("failed")
            raise
    console.summary(record.result)
    return code


def _measured(arms: Mapping[str, Arm], record: Record, console: Console) -> ExitCode:
    with Pool(arms, log=record.folder / LOG) as pool:
        _describe(pool, record)
        facts = {arm: _loaded(arm, pool, record, console) for arm in arms}
        _check_same_questions(facts)
        before = load.snapshot()
        for arm in arms:
            with console.stage(arm, "compile and warm up"):
                record.warmed(arm, pool.call(arm, "prepare"))
        trials = Trials(arms, pool, record, console)
        if trials.short_warmup:  # an agreement run would warm what is left cold on purpose
            trials.run(call_s=None)
            answers = _answers(arms, pool, record, console)
        else:
            answers = _answers(arms, pool, record, console)
            trials.run(call_s={arm: answer["call_s"] for arm, answer in answers.items()})
        agreed = _agreement(arms, pool, answers)
        _note_load(record, before)
    return _judge(record, trials, agreed, answers)


def _describe(pool: Pool, record: Record) -> None:
    environments = {
        arm: {key: value for key, value in each.items() if key not in ("import_s", "pid")}
        for arm, each in pool.environments.items()
    }
    first = next(iter(environments.values()))
    record.result["environment"] = first | {"load_average_before": load.snapshot()["load_average"]}
    for arm, environment in environments.items():
        if environment != first:
            record.result["arms"][arm]["environment"] = environment
        record.result["arms"][arm]["startup"]["import_s"] = pool.environments[arm]["import_s"]
    record.result["measurement"]["isolation"] = pool.isolation.value


def _loaded(arm: str, pool: Pool, record: Record, console: Console) -> dict[str, Any]:
    with console.stage(arm, "load") as progress:
        facts = pool.load(arm, progress)
    record.loaded(arm, facts)
    if facts["weights"]["random"]:
        record.note("random weights: speed and memory are those of the true shapes, the text means nothing")
    if facts["weights"]["random"] and not facts["tokenizer"]:
        record.note("no tokenizer comes with random weights: text prompts are fed as UTF-8 bytes, nothing is decoded")
    return facts


def _check_same_questions(facts: Mapping[str, dict]) -> None:
    prompts = [each["prompts"] for each in facts.values()]
    if any(other != prompts[0] for other in prompts[1:]):
        raise UserError(
            "the arms would answer different prompts: their prompts or tokenizers differ; "
            "compare arms of one tokenizer, or use prompts=synthetic or prompts=jsonl with token ids"
        )


def _answers(arms: Mapping[str, Arm], pool: Pool, record: Record, console: Console) -> dict[str, dict]:
    answers = {}
    for arm in arms:
        with console.stage(arm, "answer the prompts"):
            answers[arm] = pool.call(arm, "outputs")
    record.write_outputs({arm: answer["rows"] for arm, answer in answers.items()})
    return answers


def _agreement(arms: Mapping[str, Arm], pool: Pool, answers: Mapping[str, dict]) -> dict[str, Any] | None:
    if len(arms) < 2:
        return None
    dtypes = [getattr(arm.run.dtype, knob).value for arm in arms.values() for knob in ("weights", "activations", "kv")]

    def logprobs(arm: str, tokens: list[int], candidates: list[int]) -> list[float]:
        return pool.call(arm, "logprobs", tokens=tokens, candidates=candidates)

    return agreement.compare(
        answers["candidate"]["rows"],
        answers["baseline"]["rows"],
        dtypes=dtypes,
        greedy=all(arm.run.workload.sampling.greedy for arm in arms.values()),
        logprobs=logprobs,
    )


def _note_load(record: Record, before: dict[str, Any]) -> None:
    after = load.snapshot()
    share = load.foreign_cpu_share(before, after)
    record.result["environment"]["load_average_after"] = after["load_average"]
    record.result["environment"]["foreign_cpu_share"] = share
    if share is not None and share > 0.05:
        record.note(f"other programs used {share:.0%} of the processor during the run: the figures are noisier for it")


def _judge(record: Record, trials: Trials, agreed: dict[str, Any] | None, answers: Mapping[str, dict]) -> ExitCode:
    """The verdict, by the rules, into the result."""
    result = record.result
    result["agreement"] = agreed
    dirty = [*trials.dirty, *trials.changed_outputs({arm: answer["rows"] for arm, answer in answers.items()})]
    margin = trials.plan.margin if trials.plan.margin is not None else DEFAULT_MARGIN
    result["measurement"] |= {"margin": margin, "stopped_because": trials.stopped_because, "repeats": trials.repeats}
    if len(answers) == 2:
        names = trials.names
        result["verdict"], result["verdict_reason"] = verdict(
            record.compare(),
            margin=margin,
            agreement=agreed["status"] if agreed else None,
            dirty=dirty,
            candidate=names["candidate"],
            baseline=names["baseline"],
        )
    elif dirty:
        result["verdict"], result["verdict_reason"] = "invalid", f"the measurement is invalid: {'; '.join(dirty)}"
    if result["verdict"] == "invalid":
        result["comparison"] = {}
    record.finish("completed")
    return ExitCode.INVALID if result["verdict"] == "invalid" else ExitCode.OK


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: workers end, and what was measured is kept."""

    def interrupt(*_signal):
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread: somebody else handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
