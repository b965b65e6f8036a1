"""The one table of what can be chosen on the command line, and where its YAML files lie.

A new option is one row here, one YAML file in `conf/` and, if it is of a new kind, one spec class
and its place in the annotation of its slot, in `jaxgen.specs.run.Run` or
`jaxgen.specs.experiment.Experiment`.
"""

from pathlib import Path

from jaxgen.specs.agreement import AgreementPlan
from jaxgen.specs.baseline import Baseline
from jaxgen.specs.cache import Dynamic, Fixed, NoCache, Paged
from jaxgen.specs.console import ConsolePlan
from jaxgen.specs.dtype import Dtype
from jaxgen.specs.fault import Fault
from jaxgen.specs.gate import NoGate, Regression
from jaxgen.specs.jit import Jit
from jaxgen.specs.measure import Measure
from jaxgen.specs.mesh import Mesh, OneDevice
from jaxgen.specs.model import Model
from jaxgen.specs.prompts import Arc, Builtin, Jsonl, Synthetic, Text
from jaxgen.specs.run import Process
from jaxgen.specs.score import Score
from jaxgen.specs.study import Calibrate, Selftest, Single
from jaxgen.specs.sweep import SweepPlan
from jaxgen.specs.tracker import NoTracker, Wandb
from jaxgen.specs.workload import Generate

OPTIONS: tuple[tuple[str, str, type], ...] = (
    ("model", "tiny", Model),
    ("model", "gpt2", Model),
    ("model", "gpt2_medium", Model),
    ("model", "llama3_2_1b", Model),
    ("model", "qwen2_5_0_5b", Model),
    ("model", "qwen3_0_6b", Model),
    ("model", "hf", Model),
    ("cache", "fixed", Fixed),
    ("cache", "none", NoCache),
    ("cache", "dynamic", Dynamic),
    ("cache", "paged", Paged),
    ("jit", "closure", Jit),
    ("jit", "partial", Jit),
    ("jit", "partial_kept", Jit),
    ("jit", "captured", Jit),
    ("jit", "aot", Jit),
    ("jit", "eager", Jit),
    ("dtype", "float32", Dtype),
    ("dtype", "bfloat16", Dtype),
    ("dtype", "float16", Dtype),
    ("dtype", "int8", Dtype),
    ("mesh", "single", OneDevice),
    ("mesh", "data", Mesh),
    ("mesh", "tensor", Mesh),
    ("workload", "generate", Generate),
    ("workload", "score", Score),
    ("prompts", "builtin", Builtin),
    ("prompts", "text", Text),
    ("prompts", "jsonl", Jsonl),
    ("prompts", "synthetic", Synthetic),
    ("prompts", "arc", Arc),
    ("measure", "default", Measure),
    ("measure", "quick", Measure),
    ("measure", "thorough", Measure),
    ("baseline", "nocache", Baseline),
    ("baseline", "same", Baseline),
    ("baseline", "off", Baseline),
    ("gate", "off", NoGate),
    ("gate", "regression", Regression),
    ("tracker", "none", NoTracker),
    ("tracker", "wandb", Wandb),
    ("study", "single", Single),
    ("study", "calibrate", Calibrate),
    ("study", "selftest", Selftest),
)
"""(group, option, spec class); the first option of a group is its default."""


def _groups() -> dict[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    for group, name, _ in OPTIONS:
        earlier = groups.get(group, ())
        groups[group] = (*earlier, name)
    return groups


GROUPS = _groups()
"""The options of each group, in the table's order."""

PLAIN_SLOTS: dict[str, type] = {
    "process": Process,
    "fault": Fault,
    "agreement": AgreementPlan,
    "sweep": SweepPlan,
    "console": ConsolePlan,
}
"""Slots without options to choose from: their keys alone are set."""


def schema_name(spec: type) -> str:
    """Return what a YAML file calls a spec class: `NoCache` is `/schema/cache/nocache@_here_`."""
    return spec.__name__.lower()


def conf_dir() -> Path:
    """Return the folder of YAML files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    # A wheel installs nothing beside the package, so that it carries the files inside.
    inside = package / "conf"
    if inside.is_dir():
        return inside
    return package.parent / "conf"
