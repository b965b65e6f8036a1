"""How a process of a job hears what process 0 does; the store is a dictionary, not jax's."""

import json
import time

import pytest
from jax._src import distributed

from jaxgen.worker import peer as peers
from jaxgen.worker.peer import Peer


class Store:
    """Has the methods of jax.distributed's client that a peer uses."""

    def __init__(self):
        self.values = {}

    def key_value_set(self, key, value, allow_overwrite=False):
        assert allow_overwrite or key not in self.values
        self.values[key] = value

    def blocking_key_value_get(self, key, timeout_in_ms):
        if key not in self.values:
            raise RuntimeError(f"DEADLINE_EXCEEDED: {timeout_in_ms} ms")
        return self.values[key]

    def key_value_try_get(self, key):
        return self.values[key]


def peer(store, process_id, *, num_processes=2):
    return Peer(store, process_id=process_id, num_processes=num_processes)


@pytest.fixture
def pair():
    """Process 0 and process 1."""
    store = Store()
    return peer(store, 0), peer(store, 1)


def test_commands_arrive_in_their_order_until_the_end(pair):
    leader, follower = pair
    messages = [{"command": "trial", "arm": "candidate", "case": case} for case in range(3)]
    for message in [*messages, {"command": "end"}]:
        leader.publish(message)
    assert list(follower.commands()) == messages


def test_a_long_command_goes_in_pieces(monkeypatch):
    monkeypatch.setattr(peers, "_PIECE", 7)
    store = Store()
    leader, follower = peer(store, 0), peer(store, 1)
    leader.publish({"command": "compare_logits", "rows": list(range(20))})
    assert max(map(len, store.values.values())) <= 7
    assert json.dumps(next(follower.commands())["rows"]) == json.dumps(list(range(20)))


def test_a_process_that_gives_no_sign_is_named(monkeypatch):
    monkeypatch.setattr(peers, "NAMES_AFTER_S", 0.0)
    store = Store()
    leader = peer(store, 0, num_processes=4)
    store.values |= {f"jaxgen/beats/{number}": "1" for number in (1, 2)}  # the third never began
    monkeypatch.setattr(time, "sleep", lambda _s: store.values.update({"jaxgen/beats/2": "2"}))
    assert leader.silent() == [1, 3]
    assert leader.name_of([1, 3]) == "process 1, process 3 of 4"


def test_silence_is_death_only_after_a_while(monkeypatch):
    store, now = Store(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda s: now.__setitem__(0, now[0] + 20))
    store.values["jaxgen/beats/1"] = "1"
    watch = peer(store, 0).watch()
    assert [next(watch) for _ in range(3)] == [[], [], [1]]  # at 0, 20 and 40 seconds


@pytest.mark.parametrize(
    ("environment", "visible"),
    [
        ({"SLURM_NTASKS": "2"}, None),  # a process a node
        ({"SLURM_NTASKS": "16", "SLURM_LOCALID": "3"}, "3"),  # a process a GPU
        ({"SLURM_NTASKS": "2", "JAX_LOCAL_DEVICE_IDS": "4,5"}, "4,5"),
    ],
)
def test_the_only_process_of_a_slurm_node_has_all_its_gpus(environment, visible, monkeypatch):
    """Up to the point where jax chooses the devices; nothing is connected to."""
    place = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "node[1-2]", "SLURM_STEP_NUM_NODES": "2"}
    for name, value in ({"SLURM_PROCID": "1", "SLURM_LOCALID": "0"} | place | environment).items():
        monkeypatch.setenv(name, value)
    chosen = {}
    monkeypatch.setattr(distributed.config, "update", chosen.__setitem__)

    def refuse(address, process_id, **_options):
        chosen["where"] = (address, process_id)
        raise ConnectionError

    monkeypatch.setattr(distributed._jax, "get_distributed_runtime_client", refuse)
    monkeypatch.setattr(distributed, "global_state", distributed.State())
    monkeypatch.setattr(
        distributed.xla_bridge, "backends_are_initialized", lambda: False
    )  # by other tests
    with pytest.raises(ConnectionError):
        peers.join({})
    address, process_id = chosen["where"]
    assert (address.partition(":")[0], process_id) == ("node1", 1)
    assert chosen.get("jax_cuda_visible_devices") == visible
