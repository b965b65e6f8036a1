"""`jaxgen.run`: what the command line measures, from Python, in worker processes here too."""

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path

from jaxgen.config.experiment import load_experiment
from jaxgen.config.run_folder import remove_unused, short_name
from jaxgen.errors import ExitCode, UserError
from jaxgen.experiment.execute import execute
from jaxgen.results import schema
from jaxgen.results.files import RESULT, writing
from jaxgen.results.reading import read_result


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run left, read back from its folder.

    Attributes:
        folder: the run folder.
        exit_code: as of the command line: 0, 10 (the gate), 20 (invalid), 30 (an arm failed), 130
            (interrupted).
        data: the contents of result.json.
    """

    folder: Path
    exit_code: ExitCode
    data: schema.Result

    @property
    def verdict(self) -> str | None:
        """`faster`, `slower`, `equivalent`, `inconclusive` or `invalid`.

        Null where nothing was compared.
        """
        return self.data["verdict"]

    @property
    def reason(self) -> str | None:
        """The reason of the verdict, in words."""
        return self.data["verdict_reason"]

    @property
    def metric(self) -> str | None:
        """The metric that the verdict is about.

        Null where there is none, or every case has its own.
        """
        # The first metric is the one of the verdict; the others are shown beside it.
        return next(iter(self.data["comparison"]), None)

    @property
    def ratio(self) -> float | None:
        """The candidate's figure over the baseline's, above 1 where the candidate is better.

        Null where nothing was compared.
        """
        if self.metric is None:
            return None
        return self.data["comparison"][self.metric]["ratio"]

    @property
    def ci95(self) -> tuple[float, float] | None:
        """The 95 % interval of the ratio; null below two blocks."""
        if self.metric is None:
            return None
        ends = self.data["comparison"][self.metric]["ci95"]
        if ends is None:
            return None
        return (ends[0], ends[1])

    def metrics(self, arm: str = "candidate") -> dict[str, schema.Metric]:
        """Return the measured values of an arm, by metric: unit, samples, median and so on."""
        return self.data["arms"][arm]["metrics"]

    def report(self) -> Path:
        """Write report.md, report.html and plots/ into the run folder.

        Returns:
            The path of report.html.

        Raises:
            UserError: the result cannot be shown.
        """
        # Imported late: who only measures need not wait for the plots' libraries.
        from jaxgen.report.writing import write_report

        return write_report([self.folder]).html


def run(*overrides: str, folder: str | Path | None = None, report: bool = False) -> Result:
    """Measure a candidate against its baseline, as `python -m jaxgen OVERRIDES` does.

    Args:
        overrides: as on the command line: `"cache=fixed"`, `"measure=quick"`.
        folder: the run folder; null makes one below `runs/` of the working directory.
        report: write the pages and plots at once; `Result.report` does so later.

    Returns:
        The result, read back from the folder.

    Raises:
        UserError: a mistake in the overrides, a missing checkpoint, prompts that do not fit.

    Example:
        >>> jaxgen.run("cache=fixed", "measure=quick").verdict  # takes a minute  # doctest: +SKIP
        'faster'
    """
    # Without Hydra's application such a key would be read by nobody.
    if any(override.startswith("hydra.") for override in overrides):
        raise UserError(
            "hydra.* is of the command line; give the run folder as run(..., folder=FOLDER)"
        )
    # Composed before the folder is made, so that a mistake leaves none.
    experiment = load_experiment(overrides)
    run_folder = _new_folder(overrides) if folder is None else Path(folder)
    with writing(run_folder):
        run_folder.mkdir(parents=True, exist_ok=True)
    try:
        code = execute(experiment, run_folder, pages=report)
    except UserError:
        # A mistake that a worker found leaves no folder without a measurement behind.
        remove_unused(run_folder)
        raise
    # Read back from disk: what Python sees is what a later reader sees.
    return Result(run_folder, code, read_result(run_folder / RESULT))


def _new_folder(overrides: Sequence[str]) -> Path:
    """Return the path of a run folder as the command line names it, to the microsecond."""
    now = datetime.datetime.now()
    # As `hydra.run.dir` of conf/config.yaml has it, whose resolvers only Hydra's jobs use.
    name = f"{now:%H-%M-%S-%f}_{short_name(','.join(overrides))}"
    return Path("runs", f"{now:%Y-%m-%d}", name)
