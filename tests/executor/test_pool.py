"""Which process holds which arm, and whose failure a failure is, with stand-ins for the workers."""

import dataclasses
import threading

import pytest

from jaxgen.errors import UserError
from jaxgen.executor.pool import ArmFailed, Pool
from jaxgen.executor.worker_process import WorkerFailure
from jaxgen.specs.measure import Isolation
from jaxgen.specs.mesh import Mesh
from jaxgen.specs.run import Process
from support.small_runs import two_arms

PATIENCE_S = 20
DEAD = {"kind": "killed", "message": "it was killed", "traceback": None, "signal": "SIGKILL"}


class StandIn:
    """Notes what it is started with and asked; `answers` are functions of the arm by command."""

    def __init__(self, house, process, *, shares_device):
        self.house, self.process, self.shares_device = house, process, shares_device
        self.pid = 100 + len(house.workers)
        self.closed = False
        house.workers.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.closed = True

    def call(self, command, *, progress=None, arm, **arguments):
        self.house.calls.append((self.pid, command, arm, arguments))
        if command == "hello":
            return {"platform": self.house.platform, "pid": self.pid}
        return self.house.answer(command, arm)


class House:
    """All the stand-ins of one test."""

    def __init__(self):
        self.workers, self.calls, self.platform = [], [], "cpu"
        self.answer = lambda command, arm: f"{command} of {arm}"


@pytest.fixture
def house(monkeypatch):
    made = House()
    monkeypatch.setattr(
        "jaxgen.executor.pool.Worker",
        lambda process, log, shares_device: StandIn(made, process, shares_device=shares_device),
    )
    return made


def arms_of(**processes):
    """Two arms; `processes` are the settings of the arm's own process."""
    arms = two_arms()
    for name, process in processes.items():
        arms[name] = dataclasses.replace(
            arms[name], run=dataclasses.replace(arms[name].run, process=process)
        )
    return arms


def on_mesh(mesh, process=Process()):  # noqa: B008 - frozen
    """The same, the candidate on a mesh."""
    arms = arms_of()
    run = dataclasses.replace(arms["candidate"].run, mesh=mesh, process=process)
    return arms | {"candidate": dataclasses.replace(arms["candidate"], run=run)}


@pytest.fixture
def pool(tmp_path, house):
    """Starts a pool; it is closed with the test."""
    started = []

    def start(arms=None, **settings):
        made = Pool(arms or arms_of(), log=tmp_path / "log", **settings)
        started.append(made)
        return made.__enter__()

    yield start
    for each in started:
        each.__exit__()


class TestIsolation:
    FLAGS = Process(xla_flags="--xla")

    @pytest.mark.parametrize(
        ("asked", "platform", "settings", "found"),
        [
            (Isolation.auto, "cpu", {}, Isolation.separate),
            (Isolation.auto, "gpu", {}, Isolation.shared),
            (Isolation.auto, "gpu", {"baseline": FLAGS}, Isolation.separate),
            (Isolation.auto, "gpu", {"baseline": FLAGS, "candidate": FLAGS}, Isolation.shared),
            (Isolation.shared, "cpu", {}, Isolation.shared),
            (Isolation.separate, "gpu", {}, Isolation.separate),
        ],
    )
    def test_how_many_processes_hold_the_arms(self, asked, platform, settings, found, house, pool):
        house.platform = platform
        made = pool(arms_of(**settings), isolation=asked)
        assert made.isolation is found
        assert len(house.workers) == (2 if found is Isolation.separate else 1)
        assert len(set(made.pids.values())) == len(house.workers)
        assert made.environments.keys() == {"candidate", "baseline"}

    def test_an_arm_s_settings_reach_its_own_process(self, house, pool):
        pool(arms_of(baseline=self.FLAGS))
        assert [worker.process.xla_flags for worker in house.workers] == [None, "--xla"]

    def test_what_every_worker_is_given_comes_on_top_of_the_arm_s_own(self, house, pool):
        own = Process(env=(("A", "1"), ("B", "1")))
        pool(arms_of(candidate=own), environment={"B": "2"})
        first, second = (dict(worker.process.env) for worker in house.workers)
        assert (first, second) == ({"A": "1", "B": "2"}, {"B": "2"})

    @pytest.mark.parametrize(
        ("settings", "found"),
        [
            (Process(), ["4", None]),
            (Process(env=(("JAX_NUM_CPU_DEVICES", "8"),)), ["8", None]),
        ],
    )
    def test_a_process_gets_as_many_host_devices_as_its_mesh_has(
        self, settings, found, house, pool, monkeypatch
    ):
        monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
        house.platform = "gpu"
        made = pool(on_mesh(Mesh(tensor=4), process=settings))
        assert [
            dict(worker.process.env).get("JAX_NUM_CPU_DEVICES") for worker in house.workers
        ] == found
        assert made.isolation is Isolation.separate

    def test_one_process_cannot_have_two_numbers_of_devices(self, house, pool):
        arms = on_mesh(Mesh(tensor=2))
        with pytest.raises(
            UserError,
            match=r"measure\.isolation=shared.*2 for the candidate and 1 for the baseline",
        ):
            pool(arms, isolation=Isolation.shared)
        assert not house.workers

    def test_one_arm_alone_shares_its_device_with_nobody(self, house, pool):
        pool({"candidate": arms_of()["candidate"]})
        assert [worker.shares_device for worker in house.workers] == [False]

    def test_two_processes_share_the_device(self, house, pool):
        pool()
        assert [worker.shares_device for worker in house.workers] == [True, True]


class TestEach:
    def test_in_processes_of_their_own_the_arms_work_at_the_same_time(self, house, pool):
        together = threading.Barrier(2, timeout=PATIENCE_S)

        def answer(command, arm):
            together.wait()  # breaks if one is asked after the other
            return arm

        made = pool(isolation=Isolation.separate)
        house.answer = answer
        assert made.each("scale") == {"candidate": "candidate", "baseline": "baseline"}

    def test_in_one_process_they_take_turns(self, house, pool):
        busy = []

        def answer(command, arm):
            busy.append(arm)
            assert threading.current_thread() is threading.main_thread()
            return arm

        made = pool(isolation=Isolation.shared)
        house.answer = answer
        assert made.each("scale") == {"candidate": "candidate", "baseline": "baseline"}
        assert busy == ["candidate", "baseline"]

    @pytest.mark.parametrize("isolation", [Isolation.shared, Isolation.separate])
    def test_arguments_of_all_and_of_each_reach_the_arm(self, isolation, house, pool):
        made = pool(isolation=isolation)
        house.calls.clear()
        made.each("examine", by_arm={"baseline": {"dump": "there"}}, case=2)
        asked = {arm: arguments for _, _, arm, arguments in house.calls}
        assert asked == {"candidate": {"case": 2}, "baseline": {"case": 2, "dump": "there"}}

    @pytest.mark.parametrize("failing", ["candidate", "baseline"])
    def test_a_failure_waits_for_the_other_arm_and_names_its_own(self, failing, house, pool):
        ended, failed = [], threading.Event()

        def answer(command, arm):
            if arm == failing:
                failed.set()
                raise WorkerFailure(DEAD)
            assert failed.wait(PATIENCE_S)
            ended.append(arm)
            return arm

        made = pool(isolation=Isolation.separate)
        house.answer = answer
        with pytest.raises(ArmFailed) as raised:
            made.each("scale")
        assert (raised.value.arm, raised.value.record) == (failing, DEAD)
        assert len(ended) == 1


class TestCalls:
    def test_a_failure_is_that_of_the_arm_that_was_served(self, house, pool):
        def answer(command, arm):
            raise WorkerFailure(DEAD)

        made = pool(isolation=Isolation.shared)
        house.answer = answer
        with pytest.raises(ArmFailed, match=r"^baseline: it was killed$") as raised:
            made.call("baseline", "trial", case=0, repeats=1)
        assert (raised.value.arm, raised.value.record) == ("baseline", DEAD)

    def test_a_worker_loads_its_arm_from_plain_data(self, house, pool):
        made = pool()
        assert made.load("baseline", lambda *_progress: None) == "load of baseline"
        _, command, arm, arguments = house.calls[-1]
        assert (command, arm, arguments["run"]["cache"]["class"]) == ("load", "baseline", "Fixed")

    def test_workers_end_with_the_pool(self, tmp_path, house):
        with Pool(arms_of(), log=tmp_path / "log"):
            assert [worker.closed for worker in house.workers] == [False, False]
        assert [worker.closed for worker in house.workers] == [True, True]

    def test_a_start_that_fails_ends_the_workers_that_run_already(
        self, tmp_path, house, monkeypatch
    ):
        def hello(self, command, **_arguments):
            if len(self.house.workers) == 2:
                raise WorkerFailure(DEAD)
            return {"platform": "cpu", "pid": self.pid}

        monkeypatch.setattr(StandIn, "call", hello)
        with pytest.raises(ArmFailed) as raised, Pool(arms_of(), log=tmp_path / "log"):
            pass
        assert raised.value.arm == "baseline"
        assert [worker.closed for worker in house.workers] == [True, True]
