"""Which programs the first pair of processes leaves, and what the second one makes of them."""

import dataclasses
from collections import defaultdict

import pytest

from jaxgen.errors import ExitCode
from jaxgen.executor.pool import Pool
from jaxgen.experiment.kept_programs import kept_programs
from jaxgen.specs.jit import Strategy
from jaxgen.specs.mesh import Mesh
from support.small_runs import arm, execute_small, trials_of


def test_the_first_pair_leaves_programs_and_the_others_find_them():
    one = arm("candidate")
    with kept_programs(processes=3) as kept:
        folder = kept.folder
        assert folder.is_dir()
        place = str(folder / "candidate")
        assert kept.where(one, process=0) == {"leave_in": place}
        assert kept.where(one, process=1) == kept.where(one, process=2) == {"find_in": place}
    assert not folder.exists()


def test_each_arm_has_a_folder_of_its_own():
    with kept_programs(processes=2) as kept:
        places = [kept.where(arm(name), process=0) for name in ("candidate", "baseline")]
    assert places[0] != places[1]


@pytest.mark.parametrize("processes", [1, 4, 6])
def test_one_pair_alone_and_pairs_that_must_be_independent_leave_nothing(processes):
    with kept_programs(processes=processes) as kept:
        assert kept.folder is None
        assert kept.where(arm("candidate"), process=0) == {}


@pytest.mark.parametrize("what", ["captured", "several processes", "a job"])
def test_what_cannot_be_kept(what):
    one = arm("candidate", jit=Strategy.captured if what == "captured" else Strategy.closure)
    mesh = {"several processes": Mesh(tensor=2, local_processes=2), "a job": Mesh(processes="auto")}
    if what in mesh:
        one = dataclasses.replace(one, run=dataclasses.replace(one.run, mesh=mesh[what]))
    with kept_programs(processes=2) as kept:
        assert kept.where(one, process=0) == {}


@pytest.mark.slow
def test_the_second_pair_finds_what_the_first_compiled_and_trials_compile_as_ever(
    tmp_path, monkeypatch
):
    warm_ups = defaultdict(list)
    call = Pool.call

    def watched(self, arm, command, **arguments):
        answer = call(self, arm, command, **arguments)
        if command == "prepare":
            warm_ups[arm].append(answer["calls"][0])
        return answer

    monkeypatch.setattr(Pool, "call", watched)
    code, result = execute_small(
        tmp_path,
        "baseline=same",
        "baseline.jit=partial",
        "measure.processes=2",
        "measure.blocks=4",
        "measure.trials=1",
    )
    assert code is ExitCode.OK
    for name, (first, second) in warm_ups.items():
        # The first pair compiles as it does without a second one.
        assert (first["persistent_cache_hits"], first["persistent_cache_misses"]) == (0, 0)
        assert first["functions"] == second["functions"]
        compiles = sum(first["functions"].values())
        assert second["persistent_cache_hits"] == compiles, name
        assert second["events"] == first["events"] - compiles
        startup = result["arms"][name]["startup"]
        assert startup["compile_s"] == first["compile_s"]
    events = defaultdict(set)
    for row in trials_of(tmp_path):
        events[row["arm"]].add((row["process"], int(row["compile_events"])))
    assert events["candidate"] == {("0", 0), ("1", 0)}
    # Two programs are traced, lowered and compiled in every trial, in both pairs alike.
    (recompiled,) = {count for _, count in events["baseline"]}
    assert recompiled >= 6
    assert {process for process, _ in events["baseline"]} == {"0", "1"}
