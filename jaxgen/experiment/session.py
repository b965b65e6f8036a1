"""One pair of worker processes, from loading to the last trial; figures go to disk as they come."""

import contextlib
import functools
from collections.abc import Mapping
from typing import Any

from jaxgen.console.progress import Console
from jaxgen.errors import UserError
from jaxgen.executor.pool import Pool
from jaxgen.experiment import loaded_arms, machine_load, output_check, peaks, programs, second_clock
from jaxgen.experiment.kept_programs import KeptPrograms
from jaxgen.experiment.start_noise import note_old_file, spread_for
from jaxgen.experiment.trials import Trials
from jaxgen.measure.case import Facts, Outcome, better
from jaxgen.measure.samples import Samples
from jaxgen.measure.schedule import share_of
from jaxgen.results.record import Record
from jaxgen.results.schema import Comparison, TrialRow
from jaxgen.specs.agreement import AgreementPlan
from jaxgen.specs.arm import Arm, names_of
from jaxgen.specs.measure import Measure


class Session:
    """Drives the workers of one pool through the steps of a measurement.

    Args:
        arms: by name, in the order in which they load and warm up.
        pool: their workers, started.
        record: of the run.
        console: of the run.
        plan: of the measurement.
        process: the number of this pair of processes in the run. The first one also fills the
            record's facts about the arms.
        kept: what the first pair compiles, for the further ones.
        agreement: how the outputs are compared.

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
        kept: KeptPrograms = KeptPrograms(),  # noqa: B008 - frozen
        agreement: AgreementPlan = AgreementPlan(),  # noqa: B008 - frozen
    ):
        self._arms = arms
        self._pool = pool
        self._record = record
        self._console = console
        self._plan = plan
        self._agreement_plan = agreement
        self._process = process
        self._kept = kept
        self._names = names_of(arms)
        self._metrics: dict[str, dict[str, Any]] = {}
        self._comparison: dict[str, Comparison] = {}
        self.cases: list[Facts] = []
        self.peaks: dict[str, Facts] = {arm: {} for arm in arms}

    def load(self) -> None:
        """Load every arm, and check that all get the same inputs.

        Raises:
            UserError: they do not, or an arm found something that the user can mend.
        """
        # How long it takes was measured in the first processes, one after the other.
        at_once = self._process > 0
        facts = loaded_arms.load_arms(self._arms, self._pool, self._console, at_once=at_once)
        loaded_arms.check_equal_inputs(facts)
        self.cases = facts["candidate"]["cases"]
        self._metrics = facts["candidate"]["metrics"]
        loaded_arms.note_comparable_metrics(self._record, self._arms)
        if self._process == 0:
            loaded_arms.note_loaded(self._record, self._arms, facts)

    def new_outcomes(self) -> list[Outcome]:
        """Return an empty outcome for each case."""
        note_old_file(self._record, self._plan)
        return [self.outcome() for _ in self.cases]

    def outcome(self) -> Outcome:
        """Return an empty outcome, for one case.

        Raises:
            UserError: the user's file of start spreads cannot be read.
        """
        comparable = loaded_arms.comparable_metrics(self._arms)
        start = spread_for(self._arms["candidate"], self._record.result["environment"])
        return Outcome(Samples(self._arms, self._metrics, comparable=comparable, start=start))

    def warm_up(self, case: int) -> None:
        """Compile and warm up, one arm after the other: two at once would share the clock."""
        plan = {"warmup": self._plan.warmup, "warmup_tokens": self._plan.warmup_tokens}
        for arm in self._arms:
            where: dict[str, Any] = self._kept.where(self._arms[arm], process=self._process)
            with self._console.stage(arm, "compile and warm up"):
                calls = self._pool.call(arm, "prepare", case=case, **plan, **where)["calls"]
            self._console.compiled(arm, calls)
            if self._process == 0:
                self._record.warmed(arm, calls)

    def compare_outputs(self, outcome: Outcome, *, case: int) -> dict[str, float]:
        """Have each arm answer every prompt or item once; compare the arms' outputs.

        Only those of the first processes are compared; those of later ones must equal them.

        Args:
            outcome: of the case; gets the outputs and the agreement.
            case: the number of the case.

        Returns:
            Of each arm, what one call takes, in seconds.
        """
        answers = {}
        for arm in self._arms:
            with self._console.stage(arm, "answer the questions"):
                answers[arm] = self._pool.call(arm, "outputs", case=case)
        # Looked at before the comparison and the probes, which may need more memory.
        peaks.keep(self.peaks, self._pool, "device_peak_bytes")
        if self._process:
            # Another start must not change what is written: each pair of processes is one.
            outputs = {arm: answer["rows"] for arm, answer in answers.items()}
            outcome.dirty += output_check.changed_between_processes(
                self._names, outputs, outcome.answers, process=self._process
            )
        else:
            self._record_outputs(outcome, answers, case=case)
        return {arm: answer["call_s"] for arm, answer in answers.items()}

    def run_trials(
        self, outcome: Outcome, *, case: int, call_s: Mapping[str, float] | None
    ) -> Trials:
        """Make the trials of a case; return them, finished.

        Args:
            outcome: of the case; its samples get every trial.
            case: the number of the case.
            call_s: what one call of each arm takes, in seconds; null where the arms are not warm.
        """
        trials = Trials(
            self._arms,
            self._pool,
            outcome.samples,
            plan=self._plan,
            case=case,
            process=self._process,
            first_block=outcome.blocks,
            share=share_of(self._plan, self._process),
            on_trial=self._after_trial,
            on_block=functools.partial(self._after_block, outcome, case=case),
        )
        if case == 0:  # looking takes a second: a grid need not pay that for each case
            machine_load.wait_until_quiet(self._plan, self._record, self._console)
        # The account of the process's memory is begun anew: it is to be that of the trials alone.
        self._pool.call_all("reset_peaks")
        try:
            trials.run(call_s=call_s)
        except BaseException:
            with contextlib.suppress(UserError):  # a full disk must not hide the first error
                # The judge will not come: what was measured until now is compared here.
                self._show(outcome, case=case, is_compared=True)
            raise
        peaks.keep(self.peaks, self._pool, "host_peak_rss_bytes")
        second_clock.note(self._record, trials.clocks, case=case)
        return trials

    def add_trials(self, outcome: Outcome, trials: Trials) -> None:
        """Add to a case's outcome what its trials in this pair of processes were like."""
        outcome.dirty += [*trials.dirty, *trials.changed_outputs(outcome.answers)]
        outcome.blocks += trials.blocks
        outcome.repeats = trials.repeats
        outcome.stopped_because.append(str(trials.stopped_because))
        for note in trials.notes:
            self._record.note(note)

    def probe(self, outcome: Outcome, *, case: int) -> None:
        """Measure the device's rates, for one arm after the other: two would halve each other's.

        The first processes do: the rates are the machine's, and not those of a start.
        """
        if self._process:
            return
        for arm in self._arms:
            scale = self._pool.call(arm, "scale", case=case)
            earlier = outcome.scale.get(arm)
            if earlier is not None:
                # The best of both times: a probe can be disturbed, but not too fast.
                scale = {**earlier, "probe": better(earlier["probe"], scale["probe"])}
            outcome.scale[arm] = scale

    def capture(self, case: int) -> None:
        """Have the first processes write the activations of the arms that keep any."""
        if self._process:
            return
        suffix = f"_{case}" if len(self.cases) > 1 else ""
        programs.capture(self._arms, self._pool, self._record, case=case, suffix=suffix)

    def examine(self, *, case: int) -> dict[str, Facts]:
        """Examine each arm's programs; profile one more call of each where the plan says so.

        Returns:
            Of each arm `{peaks, examined, profile}`.
        """
        return programs.examine(
            self._arms,
            self._pool,
            self._console,
            folder=self._record.folder,
            plan=self._plan,
            peaks=self.peaks,
            case=case,
        )

    def _record_outputs(self, outcome: Outcome, answers: Mapping[str, Facts], *, case: int) -> None:
        """Keep the outputs of the first processes, and compare them."""
        for arm, answer in answers.items():
            self._record.answered(arm, answer["call"], facts=answer["facts"], case=case)
        outcome.answers = outputs = {arm: answer["rows"] for arm, answer in answers.items()}
        with self._console.stage("both", "compare the outputs"):
            outcome.agreed = output_check.agreement_of(
                self._arms, self._pool, outputs, case=case, plan=self._agreement_plan
            )
            # On disk before the trials: it is known whatever becomes of them.
            self._record.agreed(outcome.agreed, case=case)
            self.probe(outcome, case=case)

    def _after_trial(self, row: TrialRow) -> None:
        self._record.add_trial(row)
        self._console.trial(row)

    def _after_block(self, outcome: Outcome, number: int, pairs: int, *, case: int) -> None:
        blocks = number + 1  # compared after 1, 2, 4, 8 and so on; the judge compares all
        self._show(outcome, case=case, is_compared=blocks.bit_count() == 1)
        self._console.block(blocks, pairs=pairs, plan=self._plan, process=self._process, case=case)

    def _show(self, outcome: Outcome, *, case: int, is_compared: bool) -> None:
        """Put the figures of a case into the record; compared anew, or as at the last time."""
        if is_compared:
            self._comparison = outcome.samples.comparison()
        self._record.show(outcome.samples.summaries(), self._comparison, case=case)
