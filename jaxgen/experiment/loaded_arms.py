"""Arms are loaded, and what their workers say of them is checked, and noted in the record."""

from collections.abc import Mapping

from jaxgen.console.progress import Console
from jaxgen.errors import UserError
from jaxgen.executor.pool import Pool
from jaxgen.measure.case import Facts
from jaxgen.results.record import Record
from jaxgen.specs.arm import Arm, names_of


def load_arms(
    arms: Mapping[str, Arm], pool: Pool, console: Console, *, at_once: bool
) -> dict[str, Facts]:
    """Have the workers load their arms; return what they say of them.

    Args:
        arms: by name, in the order in which they load.
        pool: their workers.
        console: shows the progress.
        at_once: arms with a process each load at the same time. One after the other takes longer,
            but is the way to learn how long each of them takes.
    """
    if at_once:
        with console.stage("both", "load"):
            return pool.load_all()
    facts = {}
    for arm in arms:
        with console.stage(arm, "load") as progress:
            facts[arm] = pool.load(arm, progress)
    return facts


def check_equal_inputs(facts: Mapping[str, Facts]) -> None:
    """Refuse arms that would get different prompts or items.

    A ratio of two different amounts of work would mean nothing.

    Args:
        facts: of each arm, as `LoadedArm.facts` has them.

    Raises:
        UserError: the inputs differ.
    """
    # Token ids, not texts: two tokenizers may cut one text into different amounts of work.
    expected = facts["candidate"]["questions"]
    if any(other["questions"] != expected for other in facts.values()):
        raise UserError(
            "the arms would answer different questions: their prompts, items or tokenizers differ; "
            "compare arms of one tokenizer, or give token ids: prompts=synthetic, prompts=jsonl, "
            "workload.item_tokens"
        )


def comparable_metrics(arms: Mapping[str, Arm]) -> tuple[str, ...]:
    """Return the metrics that mean the same in all arms; empty where every one does."""
    # Throughput alone is the same thing in both: with continuous batching a prompt has a latency of
    # its own, else a batch has one for all of its rows.
    times_are_of_a_prompt = {arm.run.workload.times_are_of_a_prompt for arm in arms.values()}
    return ("tokens_per_s",) if len(times_are_of_a_prompt) > 1 else ()


def note_comparable_metrics(record: Record, arms: Mapping[str, Arm]) -> None:
    """Say which metrics are left out of the comparison, if any are."""
    comparable = comparable_metrics(arms)
    if comparable:
        record.note(
            f"{', '.join(comparable)} alone is compared: latency, ttft and tpot are a batch's in "
            "one arm, and a prompt's, its wait for a row included, in the other"
        )


def note_loaded(record: Record, arms: Mapping[str, Arm], facts: Mapping[str, Facts]) -> None:
    """Put the facts of the loaded arms into the record.

    Args:
        record: of the run.
        arms: by name.
        facts: of each arm, as `LoadedArm.facts` has them.
    """
    names = names_of(arms)
    for arm, loaded in facts.items():
        record.loaded(arm, loaded)
        for reason in (loaded["mesh"] or {}).get("reasons", []):
            record.note(f"{names[arm]}: {reason}")
        # Said in the notes, since random weights give the true speed and so look like a real run.
        if not loaded["weights"]["random"]:
            continue
        record.note(
            "random weights: speed and memory are those of the true shapes, text means nothing"
        )
        if not loaded["tokenizer"]:
            record.note(
                "random weights have no tokenizer: prompts are UTF-8 bytes, nothing is decoded"
            )
