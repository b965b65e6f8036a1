"""One pair of worker processes, from their start to their last trial; every figure goes into the record as it comes."""

import functools
from collections.abc import Mapping

from jaxgen.console.progress import Console
from jaxgen.errors import UserError
from jaxgen.executor.pool import Pool
from jaxgen.experiment import output_check
from jaxgen.experiment.trials import Trials
from jaxgen.measure.case import Facts, Outcome, better
from jaxgen.measure.samples import Samples
from jaxgen.results.record import Record
from jaxgen.results.schema import TrialRow
from jaxgen.specs.arm import Arm, names_of
from jaxgen.specs.measure import Measure
from jaxgen.specs.workload import Generate


class Session:
    """Drives one pool.

    Args:
        arms: by name.
        pool: their workers, started.
        record: of the run.
        console: of the run.
        plan: of the measurement.
        process: the number of this pair of processes; the first one also fills the record's facts about the arms.

    Attributes:
        cases: the parameters of each case, once the arms are loaded.
        peaks: of each arm, the most memory that its process and its device needed in any case.
    """

    def __init__(
        self,
        arms: Mapping[str, Arm],
        pool: Pool,
        record: Record,
        console: Console,
        *,
        plan: Measure,
        process: int = 0,
    ):
        self._arms = arms
        self._pool = pool
        self._record = record
        self._console = console
        self._process = process
        self._metrics: dict[str, dict[str, str]] = {}
        self._plan = plan
        self.cases: list[Facts] = []
        self.peaks: dict[str, Facts] = {arm: {} for arm in arms}

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
                self._record.note(
                    "random weights: speed and memory are those of the true shapes, text means nothing"
                )
            if each["weights"]["random"] and not each["tokenizer"]:
                self._record.note(
                    "random weights have no tokenizer: prompts are UTF-8 bytes, nothing is decoded"
                )

    def outcome(self) -> Outcome:
        """An empty one, for one case."""
        return Outcome(Samples(self._arms, self._metrics, comparable=self._comparable))

    @property
    def _comparable(self) -> tuple[str, ...]:
        """Metrics that mean the same in both arms; empty is all."""
        works = [arm.run.workload for arm in self._arms.values()]
        return (
            ("tokens_per_s",)
            if len({work.batching for work in works if isinstance(work, Generate)}) > 1
            else ()
        )

    def measure(self, outcome: Outcome, *, case: int) -> None:
        """Warm up, answer, compare, and then the trials of one case."""
        self.prepare(case)
        trials = Trials(
            self._arms,
            self._pool,
            outcome.samples,
            plan=self._plan,
            case=case,
            process=self._process,
            first_block=outcome.blocks,
            on_trial=self._after_trial,
            on_block=functools.partial(self._after_block, outcome, case=case),
        )
        if trials.short_warmup:  # an agreement run would warm what is left cold on purpose
            self._pool.call_all("reset_peaks")
            trials.run(call_s=None)
            self._keep_peaks("host_peak_rss_bytes")
            answers = self.answer(outcome, case=case)
        else:
            answers = self.answer(outcome, case=case)
            self._pool.call_all("reset_peaks")
            trials.run(call_s={arm: answer["call_s"] for arm, answer in answers.items()})
            self._keep_peaks("host_peak_rss_bytes")
        self._probe(outcome, case=case)  # again: the machine may have been disturbed before
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
                calls = self._pool.call(
                    arm,
                    "prepare",
                    case=case,
                    warmup=self._plan.warmup,
                    warmup_tokens=self._plan.warmup_tokens,
                )["calls"]
            self._console.compiled(arm, calls)
            if not self._process:
                self._record.warmed(arm, calls)

    def answer(self, outcome: Outcome, *, case: int) -> dict[str, Facts]:
        """Every question once, by each arm; the first processes' answers are compared and kept."""
        answers = {}
        for arm in self._arms:
            with self._console.stage(arm, "answer the questions"):
                answers[arm] = self._pool.call(arm, "outputs", case=case)
        self._keep_peaks(
            "device_peak_bytes"
        )  # before the comparison and the probes, which may need more
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
            outcome.agreed = output_check.agreement_of(self._arms, self._pool, rows, case=case)
            self._record.agreed(outcome.agreed, case=case)
            self._probe(outcome, case=case)
        return answers

    def examine(self, *, case: int) -> dict[str, Facts]:
        """Programs and memory of each arm, after its trials; a profile and the programs' text where asked for."""
        folder, plan = self._record.folder, self._plan
        with self._console.stage("both", "look at the programs"):
            dumps = {
                arm: str(folder / "hlo" / arm) if plan.dump_hlo else None for arm in self._arms
            }
            examined = self._pool.call_all(
                "examine", by_arm={arm: {"dump": dumps[arm]} for arm in dumps}, case=case
            )
        facts = {
            arm: {"peaks": self.peaks[arm], "examined": examined[arm], "profile": None}
            for arm in self._arms
        }
        if plan.profile:
            for arm in self._arms:
                with self._console.stage(arm, "profile one more trial"):
                    where = folder / "profile" / arm
                    told = self._pool.call(arm, "profile", case=case, folder=str(where))
                    facts[arm]["profile"] = told
        return facts

    def _probe(self, outcome: Outcome, *, case: int) -> None:
        """Each arm's work and the device's rates, one arm after the other: two at once would halve each other's."""
        for arm in self._arms:
            told, known = self._pool.call(arm, "scale", case=case), outcome.scale.get(arm)
            outcome.scale[arm] = (
                told if known is None else {**known, "probe": better(known["probe"], told["probe"])}
            )

    def _keep_peaks(self, name: str) -> None:
        """The most until now. A device's account cannot be begun anew: a later case's may be that of earlier probes."""
        for arm, told in self._pool.call_all("peaks").items():
            both = [each for each in (self.peaks[arm].get(name), told[name]) if each is not None]
            self.peaks[arm] |= {
                "device_reason": told["device_reason"],
                name: max(both, default=None),
            }

    def _capture(self, case: int) -> None:
        """Files with the activations of the arms that keep any, from the first processes."""
        if self._process:
            return
        name = f"_{case}" if len(self.cases) > 1 else ""
        for arm in self._arms:
            path = self._record.folder / "activations" / f"{arm}{name}.safetensors"
            kept = self._pool.call(arm, "capture", case=case, path=str(path))
            if kept is not None:
                self._record.arm_section(arm, case=case)["capture"] = kept

    def _after_trial(self, row: TrialRow) -> None:
        self._record.add_trial(row)
        self._console.trial(row)

    def _after_block(self, outcome: Outcome, number: int, pairs: int, *, case: int) -> None:
        self._record.show(outcome.samples.summaries(), outcome.samples.compare(), case=case)
        self._console.block(
            number + 1, pairs=pairs, plan=self._plan, process=self._process, case=case
        )
