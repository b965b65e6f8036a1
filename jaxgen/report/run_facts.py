"""Facts of runs as names and values: what was measured, when, where, how, and by which command."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from jaxgen.report.lookup import number_at, value_at
from jaxgen.results import formatting
from jaxgen.results.collection import StoredRun
from jaxgen.results.schema import Comparison

OVERRIDES = ".hydra/overrides.yaml"
_MOST_VALUES = 4
"""How many values of one fact are named where runs differ; the others are counted."""

Fact = tuple[str, str]
"""A name, and a value that may be empty."""


def model_of(run: StoredRun) -> str:
    """Return the name of the candidate's model, and whether its weights are random."""
    candidate = run.result["arms"]["candidate"]
    option = value_at(candidate, "choices", "model")
    configured = value_at(candidate, "config", "model", "name")
    name = str(option or configured or "unknown model")
    # Speed of random weights is true, their outputs mean nothing: it is said everywhere.
    if value_at(candidate, "weights", "random"):
        return f"{name}, random weights"
    return name


def date_of(run: StoredRun) -> str:
    """Return when a run started, to the minute; the zone is UTC."""
    started_at = run.result.get("started_at")
    if not started_at:
        return "unknown date"
    return started_at.replace("T", " ")[:16]


def command_of(run: StoredRun) -> str:
    """Return the command that measures a run again; of a point of a sweep, this point alone."""
    # Results of older versions may have no command.
    command = str(run.result.get("command") or "unknown")
    # Hydra writes what was typed for this job alone.
    path = run.folder / OVERRIDES
    try:
        overrides = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return command
    # A sweep's points stand in numbered folders, and the command of all of them is the sweep's.
    if not run.folder.name.isdigit():
        return command
    if not isinstance(overrides, list):
        return command
    words = ["python", "-m", "jaxgen"]
    words += [str(override) for override in overrides]
    return shlex.join(words)


def commit_of(run: StoredRun) -> str | None:
    """Return the commit of the code, and whether it had changes that were not committed."""
    git = value_at(run.result.get("environment"), "git")
    commit = value_at(git, "commit")
    if not commit:
        return None
    if value_at(git, "dirty"):
        return f"{commit}, with changes that were not committed"
    return str(commit)


def measurement_facts(run: StoredRun) -> Iterator[Fact]:
    """Yield how a run was measured."""
    result = run.result
    comparisons = result.get("comparison") or {}
    # All metrics are of the same trials, so that any of them has the counts.
    comparison = next(iter(comparisons.values()), None)
    if comparison:
        yield "pairs", _counts_of(comparison)
        yield from _interval_facts(comparison)
    measurement = result.get("measurement") or {}
    # A margin that the user chose says more of what the verdict is for.
    margin = number_at(measurement, "margin")
    if margin is not None:
        source = measurement.get("margin_source") or "source unknown"
        yield "margin", f"{formatting.percent(margin)}, {source}"
    isolation = measurement.get("isolation")
    if isolation:
        yield "isolation", str(isolation)
    reasons = measurement.get("stopped_because")
    # One reason for each process; older results have a text.
    if isinstance(reasons, list):
        reasons = ", ".join(map(str, reasons))
    if reasons:
        yield "stopped by", str(reasons)
    yield "started", str(result.get("started_at") or "")
    yield "finished", str(result.get("finished_at") or "")
    yield "run id", str(result.get("run_id") or "")


def environment_facts(runs: Sequence[StoredRun]) -> Iterator[Fact]:
    """Yield where runs were measured; where they differ, every value."""
    values_of: dict[str, list[str]] = {}
    for run in runs:
        # Every run yields the same names, also for what it does not know: so the values of one fact
        # meet under one name.
        environment = run.result.get("environment") or {}
        for name, value in _environment(environment):
            # Runs of one sweep have one environment, which is then told once.
            values = values_of.setdefault(name, [])
            if value not in values:
                values.append(value)
    for name, values in values_of.items():
        more = len(values) - _MOST_VALUES
        shown = values[:_MOST_VALUES]
        if more > 0:
            shown.append(f"and {more} more")
        yield name, "; ".join(shown)


def _interval_facts(comparison: Comparison) -> Iterator[Fact]:
    """Yield what the interval of the first metric took for starts, and its robust counterpart."""
    start = comparison.get("start_spread")
    if start:
        spread = formatting.percent(start["deviation"])
        known_by = f"{start['freedom']} degrees of freedom, {start['source']}"
        yield "starts differ by", f"{spread}, known by {known_by}"
    trimmed = comparison.get("trimmed")
    if trimmed:
        yield "ratio, trimmed mean over blocks", formatting.ratio_and_interval(trimmed)


def _counts_of(comparison: Comparison) -> str:
    """Write how much was compared: `18 in 3 blocks in 2 processes`."""
    counts = f"{comparison['pairs']} in {comparison['blocks']} blocks"
    processes = comparison.get("processes") or 1
    if processes > 1:
        return f"{counts} in {processes} processes"
    return counts


def _environment(environment: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield the facts of one run's environment, always of the same names."""
    yield "device", _device(environment)
    yield "host", _host(environment)
    yield "processor settings", _processor(environment)
    yield "system", str(environment.get("system") or "")
    yield "packages", _packages(environment)
    yield "XLA flags", str(environment.get("xla_flags") or "none")
    yield "jax settings", _jax_settings(environment)
    yield "code", _code(environment)
    for when in ("before", "after"):
        loads = environment.get(f"load_average_{when}") or []
        known = []
        for load in loads:
            if load is not None:
                known.append(f"{load:.2f}")
        yield f"load average {when}", ", ".join(known)
    share = number_at(environment, "foreign_cpu_share")
    percent = ""
    if share is not None:
        percent = formatting.percent(share)
    yield "CPU used by other programs", percent


def _device(environment: Mapping[str, Any]) -> str:
    """Write the devices with their platform and its version: `8 x NVIDIA H100 (gpu, 12.4)`."""
    kind = environment.get("device_kind")
    if not kind:
        return ""
    beside = []
    for key in ("platform", "backend_version"):
        value = environment.get(key)
        # On a CPU all three are `cpu`, which is said once.
        if value is not None and value != kind:
            beside.append(str(value))
    count = environment.get("device_count")
    if not beside:
        return f"{count} x {kind}"
    return f"{count} x {kind} ({', '.join(beside)})"


def _host(environment: Mapping[str, Any]) -> str:
    cpu = environment.get("cpu")
    if not cpu:
        return ""
    parts = [str(cpu)]
    parts.append(f"{environment.get('cores')} cores")
    memory_bytes = number_at(environment, "memory_bytes")
    if memory_bytes is not None:
        parts.append(formatting.size(int(memory_bytes)))
    return ", ".join(parts)


def _processor(environment: Mapping[str, Any]) -> str:
    """Write how the processor is set up, as far as it is known."""
    processor = environment.get("processor") or {}
    shown = []
    for key in ("governor", "turbo", "smt", "transparent_huge_pages", "cpu_limit"):
        value = processor.get(key)
        if value is not None:
            name = key.replace("_", " ")
            shown.append(f"{name} {value}")
    for name, nbytes in (processor.get("cache_bytes") or {}).items():
        shown.append(f"{name} {nbytes // 1024} KiB")
    return ", ".join(shown)


def _packages(environment: Mapping[str, Any]) -> str:
    """Write the versions of Python and of the packages that are installed."""
    packages = environment.get("packages") or {}
    python = environment.get("python")
    installed = [f"Python {python}"]
    # A package that is not installed has no version and is left out.
    for name, version in packages.items():
        if version:
            installed.append(f"{name} {version}")
    return ", ".join(installed)


def _jax_settings(environment: Mapping[str, Any]) -> str:
    """Write what was set by JAX_* variables and by jax.config, the latter where both say it."""
    settings: dict[str, Any] = {}
    settings.update(environment.get("jax_environment") or {})
    # Behind the variables: jax reads those at its start; the configuration is what was in force.
    settings.update(environment.get("jax_config") or {})
    shown = []
    for key, value in settings.items():
        if value is None:
            continue
        text = json.dumps(value)
        shown.append(f"{key}={text}")
    return ", ".join(shown)


def _code(environment: Mapping[str, Any]) -> str:
    """Write the commit, and whether the tree had changes beside it."""
    git = environment.get("git")
    commit = value_at(git, "commit")
    if not commit:
        return ""
    if value_at(git, "dirty"):
        return f"{commit} (dirty)"
    return str(commit)
