"""A composed configuration becomes an experiment: the arms, and how they are measured."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from jaxgen.config import explain
from jaxgen.config.baseline import changed_config
from jaxgen.config.job import typed_overrides
from jaxgen.config.reading import read_arm, read_shared
from jaxgen.config.schema import register
from jaxgen.config.table import GROUPS, conf_dir
from jaxgen.config.typed import find, quoted, split
from jaxgen.errors import UserError
from jaxgen.specs.arm import Arm
from jaxgen.specs.baseline import REPLACEABLE, Baseline, in_the_baseline
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.gate import Regression
from jaxgen.specs.study import Single


def compose_experiment(cfg: DictConfig) -> Experiment:
    """Make the experiment of the job that Hydra is running; for use inside `hydra.main`'s task.

    The baseline is the candidate with whole groups replaced: each as if its option had been
    composed alone, so that nothing said about the candidate's option, on the command line or in an
    experiment's file, leaks into the baseline's. Then come `baseline.overrides`.

    Args:
        cfg: the task's configuration.

    Returns:
        The experiment, with a baseline unless `baseline=off`; its plan is settled.

    Raises:
        UserError: a key, a value or an option is not what it may be; in either arm.
    """
    return _experiment(cfg, HydraConfig.get())


def load_experiment(overrides: Iterable[str]) -> Experiment:
    """Make the experiment of a command line's overrides, without Hydra's application.

    Args:
        overrides: as on the command line, such as `cache=fixed`.

    Returns:
        The same as `compose_experiment`.

    Raises:
        UserError: as `compose_experiment`.
    """
    with _composition(overrides) as (cfg, job):
        return _experiment(cfg, job)


def load_candidate(overrides: Iterable[str]) -> Arm:
    """Make the candidate alone, where nothing is compared and the baseline may be impossible.

    Raises:
        UserError: a key, a value or an option of the candidate is not what it may be.
    """
    with _composition(overrides) as (cfg, job):
        candidate = _candidate(cfg, job)
        # Its plan is read too: a mistake in it is one, whether or not anything is measured.
        return _settled(read_shared(cfg, candidate), candidate).candidate


@contextlib.contextmanager
def _composition(overrides: Iterable[str]) -> Iterator[tuple[DictConfig, Any]]:
    """Compose overrides; yield the configuration, and Hydra's own part of it.

    More can be composed while the context lasts.
    """
    typed = [quoted(override) for override in overrides]
    register()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        try:
            cfg = compose("config", overrides=typed, return_hydra_config=True)
        except explain.CAUGHT as error:
            raise explain.user_error(error, typed) from error
        # Inside Hydra's application a task gets a configuration without this part, and so do we.
        job = cfg.hydra
        with open_dict(cfg):
            del cfg["hydra"]
        yield cfg, job


def _experiment(cfg: DictConfig, job: Any) -> Experiment:
    # The candidate first: what is wrong with it would be reported as the baseline's as well.
    candidate = _candidate(cfg, job)
    alone = _settled(read_shared(cfg, candidate), candidate)
    if isinstance(alone.gate, Regression) and alone.gate.commit:
        return _against_commit(alone, alone.gate.commit, typed=typed_overrides(job))
    if not alone.baseline.enabled:
        _refuse_changes(alone.baseline, typed=typed_overrides(job))
        return alone
    baseline = _baseline_arm(cfg, job, candidate, alone.baseline)
    return dataclasses.replace(alone, arms={"candidate": candidate, "baseline": baseline})


def _candidate(cfg: DictConfig, job: Any) -> Arm:
    composed = job.runtime.choices
    choices = {}
    for group in (*GROUPS, "experiment"):
        if composed.get(group):  # an experiment need not be chosen
            choices[group] = str(composed[group])
    return read_arm("candidate", cfg, choices=choices, typed=typed_overrides(job))


def _baseline_arm(cfg: DictConfig, job: Any, candidate: Arm, baseline: Baseline) -> Arm:
    # A folder of the user's own YAML files has to be searched for the baseline's options too.
    searchpath = []
    for override in job.overrides.hydra:
        if override.startswith("hydra.searchpath="):
            searchpath.append(override)
    changed, replaced = changed_config(
        cfg, baseline, config_name=job.job.config_name, searchpath=searchpath
    )
    choices = candidate.choices | replaced
    try:
        return read_arm("baseline", changed, choices=choices, typed=list(baseline.overrides))
    except UserError as error:
        raise in_the_baseline(error) from error


def _settled(shared: Mapping[str, Any], candidate: Arm) -> Experiment:
    """Make the experiment of the candidate alone; its workload settles the measurement's plan."""
    plan = shared["measure"].for_calls(candidate.run.workload.fixed_calls)
    # A job is joined once, so that it has one start, where the user names no number.
    if candidate.run.mesh.joins and plan.processes is None:
        plan = dataclasses.replace(plan, processes=1)
    return Experiment(arms={"candidate": candidate}, **{**shared, "measure": plan})


def _against_commit(alone: Experiment, commit: str, *, typed: Sequence[str]) -> Experiment:
    """Return the experiment whose baseline is the candidate, to be run by the gate's commit.

    Where the commit's code lies is known when the experiment runs (`experiment.gating`).
    """
    changes = [override for override in typed if split(override)[0].startswith("baseline")]
    if any(override != "baseline=same" for override in changes):
        raise UserError(
            f"gate.commit={commit} measures that commit's code as the baseline: "
            f"leave {', '.join(changes)} out"
        )
    if not isinstance(alone.study, Single):
        raise UserError(f"gate.commit={commit} needs study=single, one measurement")
    # An experiment's file may name another baseline, which is not measured.
    same = Baseline()
    arms = {}
    for name in ("candidate", "baseline"):
        arm = alone.candidate
        resolved = {**arm.resolved, "baseline": dataclasses.asdict(same)}
        choices = {**arm.choices, "baseline": "same"}
        arms[name] = dataclasses.replace(arm, name=name, choices=choices, resolved=resolved)
    return dataclasses.replace(alone, arms=arms, baseline=same)


def _refuse_changes(baseline: Baseline, *, typed: Sequence[str]) -> None:
    """Refuse changes to a baseline that is not measured.

    Typed, `baseline=off` wins over what an experiment's file says of the baseline, and over
    nothing that is typed too.
    """
    for key in (*REPLACEABLE, "overrides"):
        override = find(f"baseline.{key}", typed) or ""
        name, value = split(override)
        typed_off = name == "baseline" and str(value).strip("'\"") == "off"
        if getattr(baseline, key) and not typed_off:
            raise UserError(
                f"baseline=off measures no baseline, so baseline.{key} has nothing to change; "
                "choose baseline=same or leave it out"
            )
