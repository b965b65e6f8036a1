"""What composing the baseline's options costs, and that reusing one composition changes nothing."""

import pytest

from jaxgen.config import baseline
from jaxgen.config.experiment import load_experiment
from jaxgen.specs.cache import Fixed


@pytest.fixture
def composed(monkeypatch):
    """The overrides of each composition for a baseline; none is remembered from other tests."""
    overrides_of = []
    compose = baseline.compose

    def counted(config_name, *, overrides):
        overrides_of.append(overrides)
        return compose(config_name, overrides=overrides)

    monkeypatch.setattr(baseline, "compose", counted)
    baseline._composed_before.cache_clear()
    return overrides_of


def test_the_points_of_a_sweep_compose_their_baseline_once(composed):
    for max_len in (64, 96):
        load_experiment([f"cache.max_len={max_len}", "baseline.cache=dynamic"])
    assert composed == [["cache=dynamic"]]


def test_a_file_that_was_written_again_is_read_again(composed, monkeypatch):
    load_experiment(["baseline.cache=dynamic"])
    monkeypatch.setattr(baseline, "_own_files", lambda: (1,))
    load_experiment(["baseline.cache=dynamic"])
    assert len(composed) == 2


def test_no_arm_changes_what_the_next_one_starts_from():
    windowed = load_experiment(["cache.window=7", "baseline.cache=fixed"])
    changed = load_experiment(["baseline.cache=fixed", "baseline.overrides=['cache.max_len=99']"])
    plain = load_experiment(["cache.max_len=50", "baseline.cache=fixed"])
    caches = [experiment.arms["baseline"].run.cache for experiment in (windowed, changed, plain)]
    assert caches == [Fixed(window=7), Fixed(max_len=99), Fixed()]


def test_an_option_of_the_user_s_own_is_always_read_anew(tmp_path):
    (tmp_path / "cache").mkdir()
    option = tmp_path / "cache" / "mine.yaml"
    overrides = [f"hydra.searchpath=['{tmp_path}']", "baseline.cache=mine"]
    buckets = []
    for bucket in (32, 64):
        option.write_text(f"defaults: [fixed, _self_]\nbucket: {bucket}\n")
        buckets.append(load_experiment(overrides).arms["baseline"].run.cache.bucket)
    assert buckets == [32, 64]
