"""The table, the YAML files and the specs agree; the baseline differs as asked, and no more."""

import ast
import dataclasses
import math
from pathlib import Path

import pytest

import jaxgen
from jaxgen.config.experiment import load_experiment
from jaxgen.config.table import GROUPS, OPTIONS, conf_dir, schema_name
from jaxgen.errors import UserError
from jaxgen.models.structure import structure_of
from jaxgen.specs.agreement import AgreementPlan
from jaxgen.specs.architecture import Architecture, RopeScaling
from jaxgen.specs.baseline import REPLACEABLE, Baseline
from jaxgen.specs.cache import Dynamic, Fixed, NoCache
from jaxgen.specs.console import ConsolePlan
from jaxgen.specs.experiment import SHARED_SLOTS, SLOTS
from jaxgen.specs.fault import Fault
from jaxgen.specs.jit import Strategy
from jaxgen.specs.run import Process
from jaxgen.specs.sweep import SweepPlan

NEEDED = {
    ("model", "hf"): ["model.source=somewhere"],
    ("prompts", "text"): ["prompts.text=hello"],
    ("prompts", "jsonl"): ["prompts.path=prompts.jsonl"],
    ("prompts", "arc"): ["prompts.path=tasks"],
    ("gate", "regression"): ["gate.against=result.json"],
}
"""What the options that cannot stand alone need."""

PARAMETERS = {
    "tiny": 2_558_784,
    "gpt2": 124_439_808,
    "gpt2_medium": 354_823_168,
    "llama3_2_1b": 1_235_814_400,
    "qwen2_5_0_5b": 494_032_768,
    "qwen3_0_6b": 596_049_920,
}
"""As published for each model, embeddings counted once."""


def experiment_of(*overrides):
    """An experiment without a baseline, unless the overrides are about one."""
    off = [] if any(override.startswith("baseline") for override in overrides) else ["baseline=off"]
    return load_experiment([*overrides, *off])


def candidate(*overrides):
    return experiment_of(*overrides).candidate


def baseline(*overrides):
    return load_experiment(overrides).arms["baseline"]


class TestTable:
    @pytest.mark.parametrize(
        ("group", "option", "spec"), OPTIONS, ids=lambda value: getattr(value, "__name__", value)
    )
    def test_every_option_composes_alone(self, group, option, spec):
        experiment = experiment_of(f"{group}={option}", *NEEDED.get((group, option), []))
        holder = experiment if group in SHARED_SLOTS else experiment.candidate.run
        assert type(getattr(holder, group)) is spec
        assert experiment.candidate.choices[group] == option

    def test_every_experiment_composes(self):
        for path in (conf_dir() / "experiment").glob("*.yaml"):
            needed = ["prompts.path=tasks"] if path.stem == "arc" else []
            experiment = load_experiment([f"experiment={path.stem}", *needed])
            assert experiment.candidate.choices["experiment"] == path.stem

    def test_every_file_is_an_option_and_every_option_a_file(self):
        files = {(path.parent.name, path.stem) for path in conf_dir().glob("*/*.yaml")}
        assert {file for file in files if file[0] != "experiment"} == {
            (group, name) for group, name, _ in OPTIONS
        }

    @pytest.mark.parametrize(
        "path",
        sorted(conf_dir().rglob("*.yaml")),
        ids=lambda path: f"{path.parent.name}-{path.stem}",
    )
    def test_every_file_opens_with_what_it_is_for(self, path):
        assert path.read_text().startswith("# ")

    def test_every_file_begins_with_its_schema(self):
        for group, option, spec in OPTIONS:
            text = (conf_dir() / group / f"{option}.yaml").read_text()
            assert f"defaults:\n  - /schema/{group}/{schema_name(spec)}@_here_\n" in text, (
                group,
                option,
            )

    def test_the_first_option_of_a_group_is_its_default(self):
        assert candidate("baseline=nocache").choices == {
            group: options[0] for group, options in GROUPS.items()
        }

    def test_the_slots_of_a_run_hold_what_the_table_offers(self):
        offered = {
            group: {spec for other, _, spec in OPTIONS if other == group} for group in GROUPS
        }
        assert {slot: set(specs) for slot, specs in SLOTS.items()} == offered | {
            "process": {Process},
            "fault": {Fault},
            "agreement": {AgreementPlan},
            "sweep": {SweepPlan},
            "console": {ConsolePlan},
        }

    @pytest.mark.parametrize("model", PARAMETERS)
    def test_the_shapes_of_a_model_are_the_true_ones(self, model):
        shapes = candidate(f"model={model}", "model.weights=random").run.model.shapes
        assert sum(math.prod(shape) for shape in structure_of(shapes).shapes) == PARAMETERS[model]


def reads(tree):
    """The names of all attributes that code reads, but for specs that check their own values."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef) and child.name == "__post_init__":
            continue
        if isinstance(child, ast.Attribute):
            yield child.attr
        if isinstance(child, ast.MatchClass):
            yield from child.kwd_attrs
        yield from reads(child)


def test_a_knob_exists_only_if_some_line_reads_it():
    read = {
        name
        for path in Path(jaxgen.__file__).parent.rglob("*.py")
        for name in reads(ast.parse(path.read_text()))
    }
    specs = {spec for specs in SLOTS.values() for spec in specs} | {Architecture, RopeScaling}
    fields = {(spec, field.name) for spec in specs for field in dataclasses.fields(spec)}
    fields -= {
        (Baseline, group) for group in REPLACEABLE
    }  # `config.baseline` reads these by name, as groups
    assert {f"{spec.__name__}.{name}" for spec, name in fields if name not in read} == set()


class TestBaseline:
    def test_by_default_it_is_the_candidate_without_a_cache(self):
        arms = load_experiment(["jit=aot", "workload.max_new_tokens=5"]).arms
        assert list(arms) == ["candidate", "baseline"]
        assert arms["baseline"].run == dataclasses.replace(arms["candidate"].run, cache=NoCache())
        assert arms["baseline"].choices == arms["candidate"].choices | {"cache": "none"}
        assert arms["baseline"].resolved["cache"] == {"pad": False, "window": None}

    def test_same_alone_is_a_against_a(self):
        arms = load_experiment(["baseline=same", "cache.max_len=99"]).arms
        assert arms["baseline"].run == arms["candidate"].run

    def test_same_with_one_change_changes_one_variable(self):
        arms = load_experiment(["baseline=same", "baseline.jit=partial"]).arms
        assert arms["baseline"].run.jit.strategy is Strategy.partial
        assert (
            dataclasses.replace(arms["baseline"].run, jit=arms["candidate"].run.jit)
            == arms["candidate"].run
        )

    def test_off_leaves_the_candidate_alone(self):
        assert list(load_experiment(["baseline=off"]).arms) == ["candidate"]

    def test_off_wins_over_what_an_experiment_says_of_the_baseline(self):
        experiment = load_experiment(["experiment=paged_cache", "baseline=off"])
        assert list(experiment.arms) == ["candidate"]
        with pytest.raises(UserError, match=r"baseline\.cache has nothing to change"):
            load_experiment(["experiment=paged_cache", "baseline=off", "baseline.cache=none"])

    def test_one_way_to_read_pages_can_be_held_against_another(self):
        """As the experiment's comment says."""
        own = "baseline.overrides=['cache.kernel=reference']"
        arms = load_experiment(["experiment=paged_cache", "baseline.cache=paged", own]).arms
        assert [arm.run.cache.kernel.name for arm in arms.values()] == ["auto", "reference"]

    def test_null_keeps_the_candidate_s_option(self):
        assert baseline("baseline.cache=null", "cache=dynamic").run.cache == Dynamic()

    def test_dotted_keys_do_not_leak_below_a_replaced_group(self):
        arms = load_experiment(["cache.max_len=77", "cache.bucket=0", "baseline.cache=fixed"]).arms
        assert arms["candidate"].run.cache == Fixed(max_len=77, bucket=0)
        assert arms["baseline"].run.cache == Fixed()

    def test_dotted_keys_outside_a_replaced_group_are_shared(self):
        assert baseline("model.seed=3", "model.weights=random").run.model.seed == 3

    def test_overrides_come_on_top(self):
        changed = "['cache=fixed','cache.max_len=5','workload.loop=host']"
        run = baseline("cache.bucket=0", f"baseline.overrides={changed}").run
        assert run.cache == Fixed(max_len=5)
        assert run.workload.loop.name == "host"

    def test_overrides_win_over_the_group_s_own_key(self):
        arm = baseline("baseline.cache=none", "baseline.overrides=['cache=dynamic']")
        assert (arm.run.cache, arm.choices["cache"]) == (Dynamic(), "dynamic")

    def test_overrides_take_flags_with_equals_signs(self):
        arms = load_experiment(
            ["baseline=same", "baseline.overrides=['process.xla_flags=--xla_a=true --xla_b=2']"]
        ).arms
        assert arms["baseline"].run.process.xla_flags == "--xla_a=true --xla_b=2"
        assert arms["candidate"].run.process.xla_flags is None

    def test_its_own_errors_say_whose_they_are(self):
        with pytest.raises(
            UserError, match=r"^in the baseline: model=hf has no weights.*baseline\.overrides"
        ):
            load_experiment(["baseline.model=hf"])


class TestExperiment:
    """An experiment of a user's own, in a folder of the user's own."""

    @pytest.fixture
    def search(self, tmp_path):
        (tmp_path / "experiment").mkdir()
        (tmp_path / "cache").mkdir()
        (tmp_path / "experiment" / "question.yaml").write_text(
            "# @package _global_\ndefaults:\n  - override /cache: fixed\n  - override /jit: aot\n"
            "cache: {max_len: 64}\nmeasure: {trials: 3}\n"
        )
        (tmp_path / "cache" / "mine.yaml").write_text("defaults: [fixed, _self_]\nbucket: 32\n")
        return f"hydra.searchpath=['{tmp_path}']"

    def test_its_values_reach_the_candidate(self, search):
        experiment = load_experiment([search, "experiment=question", "baseline=off"])
        arm = experiment.candidate
        assert arm.run.cache == Fixed(max_len=64)
        assert experiment.measure.trials == 3
        assert arm.choices["experiment"] == "question"

    def test_its_values_do_not_leak_below_a_replaced_group(self, search):
        assert baseline(search, "experiment=question", "baseline.cache=fixed").run.cache == Fixed()

    def test_the_baseline_may_be_an_option_of_the_user_s_own(self, search):
        arm = baseline(search, "experiment=question", "baseline.cache=mine")
        assert (arm.run.cache, arm.run.jit.strategy) == (Fixed(bucket=32), Strategy.aot)


class TestValues:
    def test_an_interpolation_that_leads_nowhere_is_a_mistake_of_its_key(self):
        with pytest.raises(UserError, match=r"^cache\.max_len=\$\{x\.y\}: Interpolation key"):
            load_experiment(["cache.max_len=${x.y}"])

    def test_environment_variables_need_no_plus(self):
        run = candidate("process.env.B=2", "+process.env.A=x=1").run
        assert run.process.env == (("A", "x=1"), ("B", "2"))

    def test_a_sum_is_a_prompt(self):
        assert candidate("prompts=text", "prompts.text=6 + 3 =").run.prompts.text == ("6 + 3 =",)

    def test_shapes_can_be_changed_key_by_key(self):
        shapes = candidate(
            "model=tiny", "model.weights=random", "model.shapes.num_layers=2"
        ).run.model.shapes
        assert (shapes.num_layers, shapes.hidden_size) == (2, 192)

    def test_a_run_is_hashable_and_equal_to_its_twin(self):
        overrides = ["model=llama3_2_1b", "process.env={A: '1'}"]
        assert hash(candidate(*overrides).run) == hash(candidate(*overrides).run)
