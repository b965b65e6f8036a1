"""Which tests of slow files stand for their file in the inner loop, `pytest -m "not slow"`.

Every family, cache and strategy is a test of its own that compiles programs of its own. Measured,
the files below take most of the processor time of all that start no process. The inner loop runs of
each what the table names; the whole suite runs everything.
"""

# Of each file, below tests/, parts of the names of the tests that are not slow.
QUICK_TESTS: dict[str, tuple[str, ...]] = {
    "api/test_load.py": ("refused", "baseline", "imports_no_jax", "unknown_name", "alike"),
    "caches/test_against_none.py": ("[llama-", "test_the_index", "test_keys", "1000", "capacity"),
    "caches/test_in_place.py": ("test_a_donated_cache",),
    "caches/test_page_kernels.py": ("auto", "refused"),
    "caches/test_paged.py": ("page", "table", "TestCreate", "overflow"),
    "caches/test_two_regions.py": ("one_slice", "reads_the_prompts", "one_or_two"),
    "caches/test_windows.py": ("gpt2-", "ring", "matters", "narrower", "refused", "fewer_slots"),
    "engine/hlo/test_inspection.py": ("another_cache", "nothing_to_copy", "one_token_each"),
    "engine/scoring/test_likelihood.py": ("[llama", "refused", "traces_nothing"),
    "engine/scoring/test_scorer.py": ("engine_s_own", "widths", "padded", "traces_nothing"),
    "engine/test_buckets.py": ("refused", "buckets_rise", "fill_a_batch", "making_a_batch"),
    "engine/test_capture.py": ("refused", "off_writes", "changes_no_token"),
    "engine/test_continuous.py": ("first_token", "refused", "spec_finds", "add_up"),
    "engine/test_dtypes.py": ("normalised",),
    "engine/test_engine.py": ("fixed-device", "paged-device", "none-host", "ends_early", "again"),
    "engine/test_golden.py": ("gpt2-fixed-Loop.device",),
    "engine/test_int8.py": ("matrices_and_head", "cache_is_donated"),
    "engine/test_strategies.py": ("closure", "compiles_prefill", "names_each", "placement"),
    "engine/test_teacher_forcing.py": ("[fixed", "refused", "definition", "rounding", "agrees"),
    "models/test_golden.py": ("[gpt2", "[llama"),
    "models/test_sharding.py": ("[llama-2", "axes", "refused", "nobody_knows", "six_places"),
    "workloads/test_generate.py": ("TestWork", "leaves_nothing", "by_its_spec"),
    "workloads/test_depths.py": ("each_depth", "refused", "without_depths", "repeated"),
    "workloads/test_score.py": ("told", "refused", "columns_labels", "null", "runs", "counted"),
}


def is_slow(path: str, name: str) -> bool:
    """Whether a test is left out of the inner loop.

    Args:
        path: of its file, below tests/.
        name: of its class, of itself and of its parameters, as pytest shows it.
    """
    quick_names = QUICK_TESTS.get(path)
    if quick_names is None:
        return False
    return not any(quick_name in name for quick_name in quick_names)
