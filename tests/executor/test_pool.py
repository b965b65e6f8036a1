"""Which process holds which arm, and whose failure a failure is, with stand-ins for the workers."""

import contextlib
import dataclasses
import threading

import pytest

from jaxgen.errors import UserError
from jaxgen.executor.padding import VARIABLE
from jaxgen.executor.pool import ArmFailed, Pool, start_order
from jaxgen.executor.worker_process import WorkerFailure
from jaxgen.specs.measure import Isolation
from jaxgen.specs.mesh import Mesh
from jaxgen.specs.run import Process
from support.small_runs import two_arms

PATIENCE_S = 20
DEAD = {"kind": "killed", "message": "it was killed", "traceback": None, "signal": "SIGKILL"}


class StandInWorker:
    """Keeps what it is started with and every call."""

    def __init__(self, stand_ins, process, *, shares_device):
        self.stand_ins, self.process, self.shares_device = stand_ins, process, shares_device
        self.pid = 100 + len(stand_ins.workers)
        self.closed = False
        stand_ins.workers.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def close(self, *, timeout_s=0.5):
        del timeout_s
        self.closed = True

    def call(self, command, *, progress=None, arm, **arguments):
        self.stand_ins.calls.append((self.pid, command, arm, arguments))
        if command == "hello":
            return {"platform": self.stand_ins.platform, "pid": self.pid}
        return self.stand_ins.answer(command, arm)


class StandIns:
    """All workers of one test; `answer` is a function of the command and the arm."""

    def __init__(self):
        self.workers, self.calls, self.platform = [], [], "cpu"
        self.answer = lambda command, arm: f"{command} of {arm}"


@pytest.fixture
def stand_ins(monkeypatch):
    created = StandIns()

    def worker(process, *, log, shares_device):
        del log
        return StandInWorker(created, process, shares_device=shares_device)

    monkeypatch.setattr("jaxgen.executor.pool.Worker", worker)
    return created


def arms_of(**processes):
    """Two arms; `processes` are the settings of the arm's own process."""
    arms = two_arms()
    for name, process in processes.items():
        arms[name] = dataclasses.replace(
            arms[name], run=dataclasses.replace(arms[name].run, process=process)
        )
    return arms


def on_mesh(mesh, process=Process()):  # noqa: B008 - frozen
    """Two arms, the candidate on a mesh."""
    arms = arms_of()
    run = dataclasses.replace(arms["candidate"].run, mesh=mesh, process=process)
    return arms | {"candidate": dataclasses.replace(arms["candidate"], run=run)}


@pytest.fixture
def start_pool(tmp_path, stand_ins):
    """Start a pool; it is closed with the test."""
    with contextlib.ExitStack() as stack:

        def start(arms=None, isolation=Isolation.auto, **settings):
            pool = Pool(arms or arms_of(), isolation=isolation, log=tmp_path / "log", **settings)
            return stack.enter_context(pool)

        yield start


class TestIsolation:
    FLAGS = Process(xla_flags="--xla")

    @pytest.mark.parametrize(
        ("wanted", "platform", "settings", "isolation"),
        [
            (Isolation.auto, "cpu", {}, Isolation.separate),
            (Isolation.auto, "gpu", {}, Isolation.shared),
            (Isolation.auto, "gpu", {"baseline": FLAGS}, Isolation.separate),
            (Isolation.auto, "gpu", {"baseline": FLAGS, "candidate": FLAGS}, Isolation.shared),
            (Isolation.shared, "cpu", {}, Isolation.shared),
            (Isolation.separate, "gpu", {}, Isolation.separate),
        ],
    )
    def test_how_many_processes_hold_the_arms(
        self, wanted, platform, settings, isolation, stand_ins, start_pool
    ):
        stand_ins.platform = platform
        pool = start_pool(arms_of(**settings), wanted)
        assert pool.isolation is isolation
        running = [worker for worker in stand_ins.workers if not worker.closed]
        assert len(running) == (2 if isolation is Isolation.separate else 1)
        pids = {environment["pid"] for environment in pool.environments.values()}
        assert pids == {worker.pid for worker in running}
        assert pool.environments.keys() == {"candidate", "baseline"}

    @pytest.mark.parametrize("order", [("candidate", "baseline"), ("baseline", "candidate")])
    def test_all_processes_run_before_one_is_asked_anything(self, order, stand_ins, start_pool):
        running = []

        def hello(self, command, **_arguments):
            running.append([worker.pid for worker in self.stand_ins.workers])
            return {"platform": "cpu", "pid": self.pid}

        flags = Process(xla_flags="--xla")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(StandInWorker, "call", hello)
            arms = arms_of(baseline=flags)
            start_pool({name: arms[name] for name in order})
        assert running == [[100, 101]] * 2
        flags_of = [worker.process.xla_flags for worker in stand_ins.workers]
        assert flags_of == [flags.xla_flags if name == "baseline" else None for name in order]

    def test_a_process_too_many_is_never_asked_and_gone(self, stand_ins, start_pool):
        stand_ins.platform = "gpu"
        start_pool()
        assert [worker.closed for worker in stand_ins.workers] == [False, True]
        assert {pid for pid, *_ in stand_ins.calls} == {100}

    def test_arms_that_are_told_to_share_start_one_process(self, stand_ins, start_pool):
        start_pool(isolation=Isolation.shared)
        assert len(stand_ins.workers) == 1

    def test_an_arm_s_settings_reach_its_own_process(self, stand_ins, start_pool):
        start_pool(arms_of(baseline=self.FLAGS))
        assert [worker.process.xla_flags for worker in stand_ins.workers] == [None, "--xla"]

    def test_what_every_worker_is_given_comes_on_top_of_the_arm_s_own(self, stand_ins, start_pool):
        own = Process(env=(("A", "1"), ("B", "1")))
        start_pool(arms_of(candidate=own), environment={"B": "2"})
        first, second = (dict(worker.process.env) for worker in stand_ins.workers)
        assert (first, second) == ({"A": "1", "B": "2"}, {"B": "2"})

    @pytest.mark.parametrize(
        ("settings", "host_devices"),
        [
            (Process(), ["4", None]),
            (Process(env=(("JAX_NUM_CPU_DEVICES", "8"),)), ["8", None]),
        ],
    )
    def test_a_process_gets_as_many_host_devices_as_its_mesh_has(
        self, settings, host_devices, stand_ins, start_pool, monkeypatch
    ):
        monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
        stand_ins.platform = "gpu"
        pool = start_pool(on_mesh(Mesh(tensor=4), process=settings))
        environments = [dict(worker.process.env) for worker in stand_ins.workers]
        found = [environment.get("JAX_NUM_CPU_DEVICES") for environment in environments]
        assert found == host_devices
        assert pool.isolation is Isolation.separate

    def test_one_process_cannot_have_two_numbers_of_devices(self, stand_ins, start_pool):
        arms = on_mesh(Mesh(tensor=2))
        with pytest.raises(
            UserError,
            match=r"measure\.isolation=shared.*2 for the candidate and 1 for the baseline",
        ):
            start_pool(arms, Isolation.shared)
        assert not stand_ins.workers

    def test_one_arm_alone_shares_its_device_with_nobody(self, stand_ins, start_pool):
        start_pool({"candidate": arms_of()["candidate"]})
        assert [worker.shares_device for worker in stand_ins.workers] == [False]

    def test_two_processes_share_the_device(self, stand_ins, start_pool):
        start_pool()
        assert [worker.shares_device for worker in stand_ins.workers] == [True, True]


class TestCallAll:
    def test_in_processes_of_their_own_the_arms_work_at_the_same_time(self, stand_ins, start_pool):
        together = threading.Barrier(2, timeout=PATIENCE_S)

        def answer(command, arm):
            together.wait()  # breaks if one is asked after the other
            return arm

        pool = start_pool(isolation=Isolation.separate)
        stand_ins.answer = answer
        assert pool.call_all("scale") == {"candidate": "candidate", "baseline": "baseline"}

    def test_in_one_process_they_take_turns(self, stand_ins, start_pool):
        busy = []

        def answer(command, arm):
            busy.append(arm)
            assert threading.current_thread() is threading.main_thread()
            return arm

        pool = start_pool(isolation=Isolation.shared)
        stand_ins.answer = answer
        assert pool.call_all("scale") == {"candidate": "candidate", "baseline": "baseline"}
        assert busy == ["candidate", "baseline"]

    @pytest.mark.parametrize("isolation", [Isolation.shared, Isolation.separate])
    def test_arguments_of_all_and_of_each_reach_the_arm(self, isolation, stand_ins, start_pool):
        pool = start_pool(isolation=isolation)
        stand_ins.calls.clear()
        pool.call_all("examine", by_arm={"baseline": {"dump": "there"}}, case=2)
        arguments_of = {arm: arguments for _, _, arm, arguments in stand_ins.calls}
        assert arguments_of == {"candidate": {"case": 2}, "baseline": {"case": 2, "dump": "there"}}

    @pytest.mark.parametrize("failing", ["candidate", "baseline"])
    def test_a_failure_waits_for_the_other_arm_and_names_its_own(
        self, failing, stand_ins, start_pool
    ):
        ended, failed = [], threading.Event()

        def answer(command, arm):
            if arm == failing:
                failed.set()
                raise WorkerFailure(DEAD)
            assert failed.wait(PATIENCE_S)
            ended.append(arm)
            return arm

        pool = start_pool(isolation=Isolation.separate)
        stand_ins.answer = answer
        with pytest.raises(ArmFailed) as raised:
            pool.call_all("scale")
        assert (raised.value.arm, raised.value.record) == (failing, DEAD)
        assert len(ended) == 1


class TestCalls:
    def test_a_failure_is_that_of_the_arm_that_was_served(self, stand_ins, start_pool):
        def answer(command, arm):
            raise WorkerFailure(DEAD)

        pool = start_pool(isolation=Isolation.shared)
        stand_ins.answer = answer
        with pytest.raises(ArmFailed, match=r"^baseline: it was killed$") as raised:
            pool.call("baseline", "trial", case=0, repeats=1)
        assert (raised.value.arm, raised.value.record) == ("baseline", DEAD)

    def test_a_worker_loads_its_arm_from_plain_data(self, stand_ins, start_pool):
        pool = start_pool()
        assert pool.load("baseline", lambda *_progress: None) == "load of baseline"
        _, command, arm, arguments = stand_ins.calls[-1]
        assert (command, arm, arguments["run"]["cache"]["class"]) == ("load", "baseline", "Fixed")

    def test_workers_end_with_the_pool(self, tmp_path, stand_ins):
        with Pool(arms_of(), isolation=Isolation.auto, log=tmp_path / "log"):
            assert [worker.closed for worker in stand_ins.workers] == [False, False]
        assert [worker.closed for worker in stand_ins.workers] == [True, True]

    def test_a_start_that_fails_ends_the_workers_that_run_already(
        self, tmp_path, stand_ins, monkeypatch
    ):
        def hello(self, command, **_arguments):
            if self is self.stand_ins.workers[1]:
                raise WorkerFailure(DEAD)
            return {"platform": "cpu", "pid": self.pid}

        monkeypatch.setattr(StandInWorker, "call", hello)
        pool = Pool(arms_of(), isolation=Isolation.auto, log=tmp_path / "log")
        with pytest.raises(ArmFailed) as raised, pool:
            pass
        assert raised.value.arm == "baseline"
        assert [worker.closed for worker in stand_ins.workers] == [True, True]

    @pytest.mark.parametrize("failing", ["convert", "join"])
    def test_an_arm_of_several_processes_that_cannot_begin_ends_them_all(
        self, failing, tmp_path, stand_ins, monkeypatch
    ):
        def fail(*_arguments, **_settings):
            raise WorkerFailure(DEAD) if failing == "join" else UserError("no such model")

        where = {"convert": "convert_before_joining", "join": "WorkerGroup"}
        monkeypatch.setattr("jaxgen.executor.pool.convert_before_joining", lambda *_a, **_s: None)
        monkeypatch.setattr(f"jaxgen.executor.pool.{where[failing]}", fail)
        arms = on_mesh(Mesh(tensor=2, local_processes=2))
        pool = Pool(arms, isolation=Isolation.separate, log=tmp_path / "log")
        with pytest.raises((ArmFailed, UserError)), pool:
            pass
        assert [worker.closed for worker in stand_ins.workers] == [True, True, True]

    def test_a_process_that_cannot_start_ends_the_one_before_it(
        self, tmp_path, stand_ins, monkeypatch
    ):
        def second_fails(process, *, log, shares_device):
            if stand_ins.workers:
                raise UserError("process.python=nothing cannot be started")
            return StandInWorker(stand_ins, process, shares_device=shares_device)

        monkeypatch.setattr("jaxgen.executor.pool.Worker", second_fails)
        with pytest.raises(UserError), Pool(arms_of(), log=tmp_path / "log"):
            pass
        assert [worker.closed for worker in stand_ins.workers] == [True]


class TestStartOrder:
    @pytest.mark.parametrize("seed", range(4))
    def test_who_starts_first_alternates_from_pair_to_pair(self, seed):
        first = [next(iter(start_order(two_arms(), pair, seed=seed))) for pair in range(4)]
        assert first[0] != first[1]
        assert first == first[:2] * 2

    def test_who_starts_first_in_the_first_pair_is_the_seed_s_draw(self):
        firsts = [next(iter(start_order(two_arms(), 0, seed=seed))) for seed in range(64)]
        again = [next(iter(start_order(two_arms(), 0, seed=seed))) for seed in range(64)]
        assert firsts == again
        # A fair coin lies outside 16 to 48 of 64 once in 20,000 times; the seeds are fixed.
        assert 16 <= firsts.count("candidate") <= 48

    def test_one_arm_alone_is_itself(self):
        arms = {"candidate": two_arms()["candidate"]}
        assert start_order(arms, 1, seed=0) == arms


class TestPadding:
    def test_each_arm_s_process_has_a_variable_of_its_own_length(self, stand_ins, tmp_path):
        padding = {"candidate": 100, "baseline": 7}
        with Pool(two_arms(), log=tmp_path / "log", padding=padding):
            lengths = [len(dict(worker.process.env)[VARIABLE]) for worker in stand_ins.workers]
        assert lengths == [100, 7]

    def test_it_does_not_keep_arms_apart_that_may_share_a_process(self, stand_ins, tmp_path):
        stand_ins.platform = "gpu"
        padding = {"candidate": 100, "baseline": 7}
        with Pool(two_arms(), log=tmp_path / "log", padding=padding) as pool:
            assert pool.isolation is Isolation.shared
            # Both began to import; the one that is not needed has ended by now.
            assert [worker.closed for worker in stand_ins.workers] == [False, True]

    def test_without_one_there_is_no_variable(self, stand_ins, tmp_path):
        with Pool(two_arms(), log=tmp_path / "log"):
            pass
        assert all(VARIABLE not in dict(worker.process.env) for worker in stand_ins.workers)
