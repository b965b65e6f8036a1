"""Startup: fresh processes over an empty and a filled cache folder, and a second precompile."""

from pathlib import Path

import pytest

from jaxgen.console.progress import Console
from jaxgen.errors import ExitCode
from jaxgen.experiment import startup
from jaxgen.experiment.startup import startups
from jaxgen.specs.measure import Startup
from support.small_runs import ALONE, execute_small, experiment_of, two_arms, warm_call

NOTHING = {"trace_s": 0.0, "lower_s": 0.0, "compile_s": 0.0, "events": 0}
CACHED = {
    "compile_s": 0.0,
    "trace_s": 0.125,
    "lower_s": 0.0,
    "persistent_cache_hits": 2,
    "persistent_cache_misses": 0,
}


class Pools:
    """Take the place of `Pool`: each process finds whatever an earlier one left in its folder."""

    def __init__(self, second=NOTHING):
        self.started = []
        self._second = second

    def __call__(self, arms, *, log, environment):
        del log
        self.started.append((list(arms), environment["JAX_COMPILATION_CACHE_DIR"], environment))
        return _Process(
            Path(environment["JAX_COMPILATION_CACHE_DIR"]), list(arms), second=self._second
        )


class _Process:
    def __init__(self, folder, arms, *, second):
        assert folder.is_dir()
        filled = bool(list(folder.iterdir()))
        (folder / "program").touch()
        self._calls = iter([warm_call(**(CACHED if filled else {})), warm_call(**second)])
        self.environments = {arm: {"import_s": 0.5} for arm in arms}

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        pass

    def load(self, arm, progress):
        del arm
        progress("restore", 1, 1)
        return {"load_s": 1.5}

    def call(self, arm, command, case):
        assert (arm in self.environments, command, case) == (True, "precompile", 0)
        return next(self._calls)


def started(monkeypatch, tmp_path, asked, **second):
    pools, arms = Pools(**second), two_arms()
    monkeypatch.setattr(startup, "Pool", pools)
    return startups(
        arms, asked, log=tmp_path / "log", console=Console(experiment_of(arms), tmp_path)
    ), pools


def test_each_arm_starts_alone_twice_over_a_folder_of_its_own(tmp_path, monkeypatch):
    told, pools = started(monkeypatch, tmp_path, Startup.both)
    assert [arms for arms, _, _ in pools.started] == [["candidate"]] * 2 + [["baseline"]] * 2
    folders = [folder for _, folder, _ in pools.started]
    assert folders[0] == folders[1] != folders[2] == folders[3]
    assert not any(Path(folder).exists() for folder in folders)  # nothing is left behind
    cold, warm = told["candidate"]["cold"], told["candidate"]["warm"]
    assert cold == {
        "import_s": 0.5,
        "load_s": 1.5,
        "first_call": warm_call(),
        "second_call": warm_call(**NOTHING),
    }
    assert (
        cold["first_call"]["persistent_cache_hits"],
        warm["first_call"]["persistent_cache_hits"],
    ) == (0, 2)


def test_even_the_smallest_program_is_kept(tmp_path, monkeypatch):
    _, pools = started(monkeypatch, tmp_path, Startup.cold)
    environment = pools.started[0][2]
    assert environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "0"
    assert environment["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] == "-1"


def test_the_ratio_is_that_of_what_compiling_takes(tmp_path, monkeypatch):
    told, _ = started(monkeypatch, tmp_path, Startup.both)
    assert told["baseline"]["precompile_ratio"] == (0.5 + 0.25 + 0.125) / 0.125


@pytest.mark.parametrize(
    ("asked", "cold", "warm", "starts"), [("cold", True, False, 2), ("warm", False, True, 4)]
)
def test_only_what_was_asked_for_is_reported(tmp_path, monkeypatch, asked, cold, warm, starts):
    told, pools = started(monkeypatch, tmp_path, Startup(asked))
    assert (told["candidate"]["cold"] is not None, told["candidate"]["warm"] is not None) == (
        cold,
        warm,
    )
    assert (told["candidate"]["precompile_ratio"] is not None) == warm
    assert len(pools.started) == starts


def test_a_second_precompile_that_compiles_nothing_has_no_ratio(tmp_path, monkeypatch):
    told, _ = started(monkeypatch, tmp_path, Startup.cold)
    assert told["candidate"]["second_precompile"] == {"events": 0, "ratio": None}


def test_a_second_precompile_that_compiles_again_is_told_by_its_ratio(tmp_path, monkeypatch):
    told, _ = started(monkeypatch, tmp_path, Startup.cold, second={"events": 3})
    assert told["candidate"]["second_precompile"] == {"events": 3, "ratio": 1.0}


@pytest.mark.slow
def test_a_filled_folder_and_a_second_precompile_save_the_compiles_of_every_bucket(tmp_path):
    buckets = ("workload.token_buckets=[4,8]", "workload.batch_buckets=[1,4]")
    code, result = execute_small(
        tmp_path, *ALONE, *buckets, "measure.startup=both", "measure.blocks=1"
    )
    assert code is ExitCode.OK
    facts = result["arms"]["candidate"]["startup"]
    cold, warm = facts["cold"], facts["warm"]
    assert (
        cold["first_call"]["functions"]["prefill"]
        == warm["first_call"]["functions"]["prefill"]
        == 4
    )
    assert (
        cold["first_call"]["persistent_cache_hits"]
        == warm["first_call"]["persistent_cache_misses"]
        == 0
    )
    assert (
        warm["first_call"]["persistent_cache_hits"]
        == cold["first_call"]["persistent_cache_misses"]
        > 0
    )
    # Which start was quicker is the machine's matter; that both were timed is ours.
    assert facts["precompile_ratio"] > 0
    for start in (cold, warm):
        assert start["second_call"]["events"] == 0
        assert min(start["import_s"], start["load_s"]) > 0
    assert facts["second_precompile"] == {"events": 0, "ratio": None}
