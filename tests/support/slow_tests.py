"""Which tests of slow files stand for their file in the inner loop, `pytest -m "not slow"`.

Every family, cache and strategy is a test of its own that compiles programs of its own. Measured,
the files below take most of the processor time of all that start no process. The inner loop runs of
each what the table names; the whole suite runs everything.
"""

from collections.abc import Mapping, Sequence

import pytest

STALE_PARTS = pytest.StashKey[list[str]]()
"""Where the collection leaves what `stale_parts` finds."""

# For each slow file below tests/, parts of the names of its tests that are not slow.
QUICK_TESTS: dict[str, tuple[str, ...]] = {
    "api/test_load.py": ("refused", "baseline", "imports_no_jax", "unknown_name", "alike"),
    "caches/test_against_none.py": (
        "[llama-fixed]",
        "[llama-paged]",
        "test_the_index",
        "1000",
        "capacity",
    ),
    "command_line/test_main.py": ("gets_its_arms", "TestHelp", "version", "user_error_in_one_job"),
    "command_line/test_mistakes.py": ("fixd", "cahce", "zzz", "layers", "trials", "fault.speed"),
    "caches/test_in_place.py": ("test_a_donated_cache",),
    "caches/test_page_kernels.py": ("auto", "refused"),
    "caches/test_paged.py": ("page", "table", "TestCreate", "overflow"),
    "caches/test_two_regions.py": ("one_slice", "reads_the_prompts", "one_or_two"),
    "caches/test_windows.py": ("gpt2-", "ring", "matters", "narrower", "refused", "fewer_slots"),
    "engine/hlo/test_inspection.py": ("nothing_to_copy", "one_token_each"),
    "engine/scoring/test_likelihood.py": ("[llama", "refused", "traces_nothing"),
    "engine/scoring/test_scorer.py": (
        "s_own_probabilities[gpt2]",
        "widths",
        "padded",
        "traces_nothing",
    ),
    "engine/test_buckets.py": ("refused", "buckets_rise", "fill_a_batch", "making_a_batch"),
    "engine/test_capture.py": ("refused", "off_writes"),
    "engine/test_continuous.py": ("refused", "spec_finds"),
    "engine/test_dtypes.py": ("normalised",),
    "engine/test_engine.py": ("fixed-device", "none-host", "ends_early", "again"),
    "engine/test_golden.py": ("gpt2-fixed-Loop.device",),
    "engine/test_int8.py": ("matrices_and_head", "cache_is_donated"),
    "engine/test_strategies.py": ("closure", "compiles_prefill", "names_each", "placement"),
    "engine/test_teacher_forcing.py": ("[fixed", "refused", "definition", "agrees"),
    "models/test_golden.py": ("[gpt2", "[llama"),
    "models/test_sharding.py": (
        "same_tokens[llama-Mesh(data=2, tensor=2",
        "likelihoods_agree",
        "axes",
        "refused",
        "nobody_knows",
    ),
    "workloads/test_generate.py": ("TestWork", "leaves_nothing", "by_its_spec"),
    "workloads/test_depths.py": ("each_depth", "refused", "without_depths", "repeated"),
    "sweep/test_resume.py": ("the_same_again", "newer_weights", "something_to_do", "is_a_mistake"),
    "workloads/test_score.py": ("told", "refused", "columns_labels", "null", "runs", "counted"),
}

# For each other file, parts of the names of its tests that are slow: they compose many
# configurations, start processes, draw plots or simulate hundreds of runs.
SLOW_TESTS: dict[str, tuple[str, ...]] = {
    "api/test_run.py": ("nobody_imports_jax",),
    "checkpoints/test_convert.py": (
        "an_older_tokenizer",
        "tokenizer that is none",
        "shards",
        "variants",
    ),
    "checkpoints/test_restore.py": ("verified_and_unverified", "rounded_from", "shardings"),
    "console/test_sweep_board.py": ("TestCommand",),
    "config/test_config.py": ("every_option", "every_experiment", "true_ones"),
    "experiment/test_selftest.py": ("95_times_in_100",),
    "house/test_documents.py": ("a_run_of_a_document_composes",),
    "house/test_floors.py": ("strictly_downward",),
    "house/test_style.py": ("whole_package",),
    "measure/test_drift.py": ("steady_trend",),
    "measure/test_rates.py": ("TestErrorRates", "far_too_often", "and favour", "busy"),
    "report/test_command.py": ("names_the_files",),
    "report/test_damage.py": ("no_damage_breaks",),
    "report/test_report.py": (
        "same_files",
        "no_network",
        "invalid_result",
        "very_many",
        "can_be_heard",
        "settings_that_vary",
        "matplotlib",
    ),
    "report/test_wandb_report.py": ("two_projects",),
    "report/test_steps.py": ("without_one", "very_different", "of_a_tenth"),
    "specs/test_codec.py": ("survives_json[model", "survives_json[cache", "survives_json[mesh"),
    "specs/test_mesh.py": ("impossible_meshes",),
    "specs/test_tracker.py": ("would_refuse",),
    "sweep/test_jobs.py": ("hydra_s_own", "submits_nothing"),
    "sweep/test_table.py": ("leaves_its_record",),
}


def is_slow(path: str, name: str) -> bool:
    """Whether a test is left out of the inner loop.

    Args:
        path: of its file, below tests/.
        name: of its class, of itself and of its parameters, as pytest shows it.
    """
    quick_names = QUICK_TESTS.get(path)
    if quick_names is not None:
        return not any(quick_name in name for quick_name in quick_names)
    return any(slow_name in name for slow_name in SLOW_TESTS.get(path, ()))


def stale_parts(names_of: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what the tables name and no test has: it was renamed.

    Args:
        names_of: of each file that was collected, below tests/, the names of its tests.
    """
    stale = []
    for path, names in names_of.items():
        for part in QUICK_TESTS.get(path, ()) + SLOW_TESTS.get(path, ()):
            if not any(part in name for name in names):
                stale.append(f"{path}: {part}")
    return stale
