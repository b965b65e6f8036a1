"""One pair of worker processes, from their start to their last trial; every figure goes into the record as it comes."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from jaxgen import comparison
from jaxgen.console import Console
from jaxgen.errors import UserError
from jaxgen.measure import roofline
from jaxgen.pool import Pool
from jaxgen.record import Record
from jaxgen.samples import Samples
from jaxgen.spec.arm import Arm
from jaxgen.spec.workload import Generate
from jaxgen.trials import Trials, names_of

Facts = dict[str, Any]

DISTURBED = 2.0
"""How far beyond the probed rates a time must lie to be called impossible, as a share: on a machine that others use, a
probe a second away from the trials was seen to reach 40 % of what the decode did."""


@dataclasses.dataclass
class Outcome:
    """What is known of one case; several pairs of processes add to it.

    Attributes:
        samples: all trials.
        answers: rows of each arm, from the first processes.
        agreed: the block `agreement`; null with one arm alone.
        dirty: what spoils the measurement.
        blocks: measured so far.
        stopped_because: why each pair of processes measured no further block.
        repeats: calls in a trial.
        scale: of each arm, work and probed rates.
    """

    samples: Samples
    answers: dict[str, list[dict]] = dataclasses.field(default_factory=dict)
    agreed: Facts | None = None
    dirty: list[str] = dataclasses.field(default_factory=list)
    blocks: int = 0
    stopped_because: list[str] = dataclasses.field(default_factory=list)
    repeats: int = 1
    scale: dict[str, Facts] = dataclasses.field(default_factory=dict)


class Session:
    """Drives one pool.

    Args:
        arms: by name.
        pool: their workers, started.
        record: of the run.
        console: of the run.
        process: the number of this pair of processes; the first one also fills the record's facts about the arms.

    Attributes:
        cases: the parameters of each case, once the arms are loaded.
    """

    def __init__(self, arms: Mapping[str, Arm], pool: Pool, record: Record, console: Console, *, process: int = 0):
        self._arms = arms
        self._pool = pool
        self._record = record
        self._console = console
        self._process = process
        self._metrics: dict[str, dict[str, str]] = {}
        self._plan = arms["candidate"].run.plan
        self.cases: list[Facts] = []

    def load(self) -> None:
        """Load every arm, and see that they are asked the same.

        Raises:
            UserError: they are not, or an arm found something that the user can mend.
        """
        facts = {}
        for arm in self._arms:
            with self._console.stage(arm, "load") as progress:
                facts[arm] = self._pool.load(arm, progress)
        if any(other["questions"] != facts["candidate"]["questions"] for other in facts.values()):
            raise UserError(
                "the arms would answer different questions: their prompts, items or tokenizers differ; compare arms of "
                "one tokenizer, or give token ids: prompts=synthetic, prompts=jsonl, workload.item_tokens"
            )
        if self._comparable:
            self._record.note(
                f"{', '.join(self._comparable)} alone is compared: latency, ttft and tpot are a batch's in one arm, "
                "and a prompt's, its wait for a row included, in the other"
            )
        self.cases, self._metrics = facts["candidate"]["cases"], facts["candidate"]["metrics"]
        if self._process:
            return
        for arm, each in facts.items():
            self._record.loaded(arm, each)
            for reason in (each["mesh"] or {}).get("reasons", []):
                self._record.note(f"{names_of(self._arms)[arm]}: {reason}")
            if each["weights"]["random"]:
                self._record.note("random weights: speed and memory are those of the true shapes, text means nothing")
            if each["weights"]["random"] and not each["tokenizer"]:
                self._record.note("random weights have no tokenizer: prompts are UTF-8 bytes, nothing is decoded")

    def outcome(self) -> Outcome:
        """An empty one, for one case."""
        return Outcome(Samples(self._arms, self._metrics, comparable=self._comparable))

    @property
    def _comparable(self) -> tuple[str, ...]:
        """Metrics that mean the same in both arms; empty is all."""
        works = [arm.run.workload for arm in self._arms.values()]
        return ("tokens_per_s",) if len({work.batching for work in works if isinstance(work, Generate)}) > 1 else ()

    def measure(self, outcome: Outcome, *, case: int) -> None:
        """Warm up, answer, compare, and then the trials of one case."""
        self.prepare(case)
        trials = Trials(
            self._arms,
            self._pool,
            outcome.samples,
            case=case,
            process=self._process,
            first_block=outcome.blocks,
            on_trial=self._after_trial,
            on_block=functools.partial(self._after_block, outcome, case=case),
        )
        if trials.short_warmup:  # an agreement run would warm what is left cold on purpose
            trials.run(call_s=None)
            answers = self.answer(outcome, case=case)
        else:
            answers = self.answer(outcome, case=case)
            self._pool.each("reset_peaks")
            trials.run(call_s={arm: answer["call_s"] for arm, answer in answers.items()})
        for arm, again in self._pool.each("scale", case=case).items():  # the machine may have been disturbed before
            outcome.scale.setdefault(arm, again)["probe"] = _better(outcome.scale[arm]["probe"], again["probe"])
        self._capture(case)
        outcome.dirty += [*trials.dirty, *trials.changed_outputs(outcome.answers)]
        outcome.blocks += trials.blocks
        outcome.repeats = trials.repeats
        outcome.stopped_because.append(str(trials.stopped_because))
        for note in trials.notes:
            self._record.note(note)

    def prepare(self, case: int) -> None:
        """Compile and warm up, one arm after the other, so that neither disturbs the other's clock."""
        for arm in self._arms:
            with self._console.stage(arm, "compile and warm up"):
                calls = self._pool.call(arm, "prepare", case=case)["calls"]
            self._console.compiled(arm, calls)
            if not self._process:
                self._record.warmed(arm, calls)

    def answer(self, outcome: Outcome, *, case: int) -> dict[str, Facts]:
        """Every question once, by each arm; the first processes' answers are compared and kept."""
        answers = {}
        for arm in self._arms:
            with self._console.stage(arm, "answer the questions"):
                answers[arm] = self._pool.call(arm, "outputs", case=case)
        rows = {arm: answer["rows"] for arm, answer in answers.items()}
        if self._process:
            names = names_of(self._arms)
            outcome.dirty += [
                f"{names[arm]} wrote other outputs in process pair {self._process + 1} than in the first"
                for arm in rows
                if rows[arm] != outcome.answers[arm]
            ]
            return answers
        for arm, answer in answers.items():
            self._record.answered(arm, answer["call"], facts=answer["facts"], case=case)
        outcome.answers = rows
        with self._console.stage("both", "compare the outputs"):
            outcome.agreed = comparison.agreement_of(self._arms, self._pool, rows, case=case)
            # One after the other: two probes at once would halve each other's rates.
            outcome.scale = {arm: self._pool.call(arm, "scale", case=case) for arm in self._arms}
        return answers

    def examine(self, *, case: int) -> dict[str, Facts]:
        """Programs and peaks of each arm, after its trials; a profile and the programs' text where asked for."""
        folder, plan = self._record.folder, self._plan
        with self._console.stage("both", "look at the programs"):
            peaks = self._pool.each("peaks")
            dumps = {arm: str(folder / "hlo" / arm) if plan.dump_hlo else None for arm in self._arms}
            examined = self._pool.each("examine", by_arm={arm: {"dump": dumps[arm]} for arm in dumps}, case=case)
        facts = {arm: {"peaks": peaks[arm], "examined": examined[arm], "profile": None} for arm in self._arms}
        if plan.profile:
            for arm in self._arms:
                with self._console.stage(arm, "profile one more trial"):
                    where = folder / "profile" / arm
                    told = self._pool.call(arm, "profile", case=case, folder=str(where))
                    facts[arm]["profile"] = told
        return facts

    def _capture(self, case: int) -> None:
        """Files with the activations of the arms that keep any, from the first processes."""
        if self._process:
            return
        name = f"_{case}" if len(self.cases) > 1 else ""
        for arm in self._arms:
            path = self._record.folder / "activations" / f"{arm}{name}.safetensors"
            kept = self._pool.call(arm, "capture", case=case, path=str(path))
            if kept is not None:
                self._record.block(case)["arms"][arm]["capture"] = kept

    def _after_trial(self, row: Facts) -> None:
        self._record.add_trial(row)
        self._console.trial(row)

    def _after_block(self, outcome: Outcome, number: int, pairs: int, *, case: int) -> None:
        if not self._process:
            self._record.show(outcome.samples, case=case)
        self._console.block(number + 1, pairs=pairs, plan=self._plan, process=self._process, case=case)


def _better(one: Facts | None, other: Facts | None) -> Facts | None:
    """The probes of two moments as one; null where there was nothing to probe."""
    return roofline.best_probe([one, other]) if one and other else one or other


def rooflines(outcome: Outcome, arm: str) -> tuple[Facts, str | None]:
    """An arm's place on the absolute scale, and what is impossible about it, if anything."""
    scale, metrics = outcome.scale.get(arm), outcome.samples.summary(arm)["metrics"]
    if scale is None or scale["probe"] is None:
        return {}, None
    probe, used, impossible = scale["probe"], {}, None
    rates = {key: probe[key] for key in ("bandwidth_bytes_per_s", "peak_flops_per_s")}
    for metric, plain in scale["steps"].items():
        step = roofline.Step(nbytes=plain["bytes"], flops=plain["flops"]) if plain else None
        used[metric] = roofline.utilisation(step, metrics[metric]["median"], **rates)
        impossible = impossible or roofline.too_fast(
            used[metric],
            mbu_tolerance=max(DISTURBED, roofline.tolerance(probe["bandwidth_samples"])),
            mfu_tolerance=max(DISTURBED, roofline.tolerance(probe["flops_samples"])),
        )
    *first, last = scale["steps"]
    step = scale["steps"][last] or {"bytes": None, "flops": None}
    facts = {"bytes_per_step": step["bytes"], "flops_per_step": step["flops"], **rates, **used[last]}
    facts |= {"of": last, "working_set_bytes": probe["working_set_bytes"], "bandwidth_form": probe["bandwidth_form"]}
    if first:
        prefill = scale["steps"][first[0]] or {"bytes": None, "flops": None}
        facts["prefill"] = {"bytes": prefill["bytes"], "flops": prefill["flops"], **used[first[0]]}
    return facts, impossible
