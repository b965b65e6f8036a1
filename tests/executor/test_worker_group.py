"""Several processes that are one arm write what one process writes, or the run ends."""

import os
import threading
import time

import numpy as np
import pytest

from jaxgen.config.experiment import load_experiment
from jaxgen.errors import ExitCode
from jaxgen.executor.pool import ArmFailed, Pool
from jaxgen.executor.worker_group import local_rendezvous
from jaxgen.experiment.execute import execute
from jaxgen.worker.peer import PEER_TIMEOUT_S
from support.small_runs import SCORING, read_result, workers_of

pytestmark = pytest.mark.slow

GENERATING = (
    "model=tiny",
    "prompts=synthetic",
    "prompts.length=5",
    "prompts.count=4",
    "workload.max_new_tokens=6",
)
TWO = ("mesh=tensor", "mesh.tensor=2", "mesh.local_processes=2")
FOUR = ("mesh=tensor", "mesh.tensor=2", "mesh.data=2", "mesh.local_processes=4")
SIX_PLACES = 1e-6


def pooled(folder, *overrides):
    """A pool of the candidate alone."""
    experiment = load_experiment([*overrides, "baseline=off"])
    isolation = experiment.measure.isolation
    return Pool(experiment.arms, isolation=isolation, log=folder / "log")


def answers(folder, *overrides):
    """What the candidate says, and how many workers said it."""
    before = workers_of(os.getpid())
    with pooled(folder, *overrides) as pool:
        pool.load("candidate", lambda *_progress: None)
        rows = pool.call("candidate", "outputs", case=0)["rows"]
        count = len(workers_of(os.getpid(), besides=before))
    assert not workers_of(os.getpid(), besides=before)
    return rows, count


def test_several_processes_write_the_tokens_of_one(tmp_path):
    one, _ = answers(tmp_path, *GENERATING)
    several, count = answers(tmp_path, *GENERATING, *FOUR)
    assert [row["tokens"] for row in several] == [row["tokens"] for row in one]
    assert count == 4


def test_several_processes_give_the_scores_of_one(tmp_path):
    one, several = (answers(tmp_path, *SCORING, *mesh)[0] for mesh in ((), TWO))
    np.testing.assert_allclose(
        [row["scores"] for row in several], [row["scores"] for row in one], rtol=0, atol=SIX_PLACES
    )


def test_a_process_that_dies_ends_the_command_and_is_named(tmp_path):
    before = workers_of(os.getpid())
    with pooled(tmp_path, *GENERATING, *TWO, "workload.max_new_tokens=200") as pool:
        pool.load("candidate", lambda *_progress: None)
        pool.call("candidate", "prepare", case=0, warmup=1, warmup_tokens=None)
        first = pool.environments["candidate"]["pid"]
        (other,) = [each for each in workers_of(os.getpid(), besides=before) if each.pid != first]
        threading.Timer(1.0, other.kill).start()
        began = time.monotonic()
        with pytest.raises(
            ArmFailed, match="process 1 of 2: the worker was killed by SIGKILL during 'trial'"
        ):
            pool.call("candidate", "trial", case=0, repeats=10_000)
        assert time.monotonic() - began < PEER_TIMEOUT_S
    assert not workers_of(os.getpid(), besides=before)


JOINED = (
    *GENERATING,
    "measure=quick",
    "measure.max_seconds=1",
    "measure.max_foreign_load=1",
    "baseline=off",
    "mesh=tensor",
    "mesh.num_processes=2",
)


def test_process_0_alone_writes_in_a_job_that_is_joined(tmp_path):
    port = local_rendezvous(1)[0]["coordinator_address"].rpartition(":")[2]
    folders, codes = [tmp_path / "0", tmp_path / "1"], {}
    by_hand = [
        (f"mesh.coordinator=127.0.0.1:{port}", f"mesh.process_id={number}") for number in (0, 1)
    ]
    processes = [load_experiment([*JOINED, *each]) for each in by_hand]

    def one(number):
        folders[number].mkdir()
        codes[number] = execute(processes[number], folders[number], pages=False)

    other = threading.Thread(target=one, args=(1,))
    other.start()
    one(0)
    other.join(timeout=PEER_TIMEOUT_S)
    assert codes == {0: ExitCode.OK, 1: ExitCode.OK}
    assert {path.name for path in folders[0].iterdir()} >= {
        "result.json",
        "trials.csv",
        "outputs.jsonl",
    }
    assert list(folders[1].iterdir()) == []


def test_a_process_that_dies_in_a_job_that_is_joined_ends_the_run_and_is_named(tmp_path):
    before = workers_of(os.getpid())
    port = local_rendezvous(1)[0]["coordinator_address"].rpartition(":")[2]
    endless = ("measure.max_seconds=300", "measure.blocks=1000", "measure.target_ci=0.000001")
    by_hand = [
        (f"mesh.coordinator=127.0.0.1:{port}", f"mesh.process_id={number}") for number in (0, 1)
    ]
    processes, codes = [load_experiment([*JOINED, *endless, *each]) for each in by_hand], {}
    for number in (0, 1):
        (tmp_path / str(number)).mkdir()

    def one(number):
        codes[number] = execute(processes[number], tmp_path / str(number), pages=False)

    threads = {number: threading.Thread(target=one, args=(number,)) for number in (1, 0)}
    threads[1].start()
    (victim,) = _until(lambda: workers_of(os.getpid(), besides=before))
    threads[0].start()
    _until((tmp_path / "0" / "trials.csv").exists)
    victim.kill()
    for thread in threads.values():
        thread.join(timeout=2 * PEER_TIMEOUT_S)
    assert codes == {0: ExitCode.ARM_FAILED, 1: ExitCode.ARM_FAILED}
    failure = read_result(tmp_path / "0")["arms"]["candidate"]["failure"]
    assert "process 1 of 2" in failure["message"]


def _until(found, *, patience_s=60):
    end = time.monotonic() + patience_s
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return value
