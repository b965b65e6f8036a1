"""One arm in a worker: where its weights lie, who shares them, and what it says of itself."""

import dataclasses
import gc
import math
import weakref

import pytest

from jaxgen.checkpoints.progress import silent
from jaxgen.engine.ledger import Ledger
from jaxgen.specs.cache import Dynamic, Fixed, NoCache
from jaxgen.specs.dtype import Dtype, Number
from jaxgen.specs.prompts import Synthetic
from jaxgen.worker import diagnostics, requests
from jaxgen.worker.loading import load_arm
from support.small_models import FAMILIES, run


@pytest.fixture(scope="module")
def load():
    """Load an arm beside others; all arms of the tests are counted by one ledger."""
    ledger = Ledger()

    def loaded(*, others=(), prompts=Synthetic(count=2, length=5), **changed):  # noqa: B008 - frozen
        spec = dataclasses.replace(run(**changed), prompts=prompts)
        return load_arm(spec, ledger=ledger, others=dict(enumerate(others)), progress=silent)

    yield loaded
    ledger.close()


def same_buffers(one, other):
    return all(a is b for a, b in zip(one.engine.leaves, other.engine.leaves, strict=True))


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")], ids=" then ".join)
def test_arms_of_equal_weights_share_one_copy_wherever_it_is_moved(order, load):
    first = load()
    arms = {"first": first, "second": load(others=[first], cache=NoCache())}
    before = weakref.ref(first.engine.leaves[0])
    for _ in range(2):
        for name in order:
            arms[name].move_to_new_buffers()
        assert same_buffers(arms["first"], arms["second"])
    assert before() is None


def test_weights_of_another_dtype_are_not_shared(load):
    first = load()
    second = load(others=[first], dtype=Dtype(weights=Number.bfloat16))
    assert not any(a is b for a, b in zip(first.engine.leaves, second.engine.leaves, strict=True))
    assert second.facts()["weights"]["bytes"] * 2 == first.facts()["weights"]["bytes"]


def test_an_arm_holds_its_weights_once(load):
    arm = load()
    before = [weakref.ref(leaf) for leaf in arm.engine.leaves]
    arm.move_to_new_buffers()
    assert [reference() for reference in before] == [None] * len(before)


def expected(slots):
    llama = FAMILIES["llama"]
    return 2 * llama.num_layers * 2 * math.prod((slots, llama.num_kv_heads, llama.head_dim)) * 4


@pytest.mark.parametrize(
    ("cache", "nbytes"),
    [(Fixed(max_len=40), expected(40)), (NoCache(), 0), (Dynamic(), None)],
    ids=repr,
)
def test_a_cache_that_grows_has_no_size_to_tell(cache, nbytes, load):
    assert load(cache=cache).facts()["kv_cache_bytes"] == nbytes


class TestFacts:
    def test_what_is_asked_and_how_it_is_measured(self, load):
        facts = load(depths=(0, 6), batch_size=2).facts()
        assert facts["cases"] == [{"depth": 0}, {"depth": 6}]
        assert [len(tokens) for tokens in facts["questions"]] == [1, 1, 6, 6]
        assert next(iter(facts["metrics"])) == "tpot_s"
        assert (facts["tokenizer"], facts["weights"]["random"]) == (False, True)

    def test_arms_of_one_run_are_asked_the_same(self, load):
        assert load().facts()["questions"] == load(cache=NoCache()).facts()["questions"]


@pytest.fixture(scope="module")
def warmed(load):
    """An arm after its warm-up, and what that said; of one case, few programs."""
    arm = load(cache=Fixed(bucket=0))
    return arm, arm.prepare(0)["calls"]


@pytest.fixture
def warm(warmed):
    """The warm arm, and no fault of one test in the next."""
    yield warmed
    arm, _ = warmed
    arm.inject_fault({})


class TestCalls:
    def test_the_warm_up_tells_what_it_compiled(self, warm):
        _, (call,) = warm
        assert call["events"] > 0
        assert {"prefill", "loop"} <= call["functions"].keys()
        assert all(call[part] > 0 for part in ("trace_s", "lower_s", "compile_s"))
        assert call["seconds"] > call["compile_s"]

    def test_nothing_behind_the_warm_up_compiles(self, warm):
        arm, _ = warm
        again, outputs, trial = arm.precompile(0), arm.outputs(0), arm.trial(0, 1)
        assert (
            again["events"],
            outputs["call"]["events"],
            trial["compile_events"],
        ) == (0, 0, 0)
        assert trial["functions"] == {}

    def test_a_trial_answers_as_the_outputs_do(self, warm):
        arm, _ = warm
        outputs, trial = arm.outputs(0), arm.trial(0, 2)
        assert trial["answers"] == [row["tokens"] for row in outputs["rows"]]
        assert trial["metrics"].keys() == arm.workload.metrics.keys()
        assert (len(outputs["rows"]), outputs["call_s"] > 0) == (2, True)

    def test_the_garbage_collector_rests_in_a_trial_and_works_behind_it(self, warm, monkeypatch):
        arm, _ = warm
        call, seen = arm.workload.call, []

        def watched(case):
            seen.append(gc.isenabled())
            return call(case)

        monkeypatch.setattr(arm.workload, "call", watched)
        arm.trial(0, 3)
        assert (seen, gc.isenabled()) == ([False] * 3, True)

    def test_a_trial_that_fails_leaves_the_garbage_collector_at_work(self, warm, monkeypatch):
        arm, _ = warm
        monkeypatch.setattr(arm.workload, "call", lambda _case: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            arm.trial(0, 1)
        assert gc.isenabled()

    def test_a_fault_may_come_and_go_between_trials(self, warm):
        arm, _ = warm
        good = arm.trial(0, 1)["answers"]
        arm.inject_fault({"wrong_token": True})
        bad = arm.trial(0, 1)["answers"]
        arm.inject_fault({})
        assert arm.trial(0, 1)["answers"] == good
        assert [one != other for one, other in zip(good, bad, strict=True)] == [True, False]
        assert (good[0][:-1], good[0][-1] != bad[0][-1]) == (bad[0][:-1], True)

    def test_a_recompile_in_a_trial_is_seen(self, warm):
        arm, _ = warm
        arm.inject_fault({"recompile": True})
        trial = arm.trial(0, 2)
        assert trial["compile_events"] >= 2
        assert sum(trial["functions"].values()) == 2

    def test_the_log_probabilities_of_candidates_are_those_of_a_distribution(self, warm):
        arm, _ = warm
        logprobs = arm.logprobs([1, 2, 3], list(range(97)))
        assert sum(math.exp(logprob) for logprob in logprobs) == pytest.approx(1.0, abs=1e-5)
        assert arm.logprobs([1, 2, 3], [5]) == [logprobs[5]]


class TestDiagnostics:
    def test_a_comparison_takes_the_room_that_each_prompt_may_have(self, load, tmp_path):
        """60 tokens and the workload's 7 are more than the context of 64; the prompt may get 2."""
        arm = load(prompts=Synthetic(count=1, length=60, new_tokens=2))
        rows, path = arm.outputs(0)["rows"], str(tmp_path / "reference.npy")
        arms = {"candidate": arm}
        write = requests.WriteReferenceLogits(case=0, rows=rows, path=path)
        written = diagnostics.write_reference_logits(arms, "candidate", write)
        compare = requests.CompareLogits(case=0, rows=rows, path=path)
        compared = diagnostics.compare_logits(arms, "candidate", compare)
        assert written["positions_compared"] == compared["positions_compared"] == 2

    def test_the_scale_is_of_the_steps_that_the_answers_took(self, load, monkeypatch):
        monkeypatch.setattr(diagnostics.probes, "probe", lambda *_, **__: {})
        arm = load(cache=NoCache())
        planned = diagnostics.scale(arm, 0)["steps"]["tpot_s"]
        arm.outputs(0)
        assert diagnostics.scale(arm, 0)["steps"]["tpot_s"] == planned  # no text ended early
        arm.outputs_by_case[0] = [
            row | {"tokens": row["tokens"][:2]} for row in arm.outputs_by_case[0]
        ]
        assert diagnostics.scale(arm, 0)["steps"]["tpot_s"]["flops"] < planned["flops"]


def test_a_request_without_calls_makes_none_and_says_when_it_is_done(load, monkeypatch):
    arm, done = load(), []
    monkeypatch.setattr(arm.workload, "call", None)  # a call would fail
    answer = diagnostics.without_calls(arm, 0, 3, on_done=lambda: done.append(gc.isenabled()))
    assert done == [False]
    assert answer["total_s"] > 0
    assert gc.isenabled()


def test_a_trial_says_what_it_took_beside_its_calls_by_the_true_clock(load):
    arm = load()
    arm.prepare(0)
    arm.inject_fault({"clock": 1e6})
    trial = arm.trial(0, 2)
    assert sum(trial["call_s"]) > 100
    assert 0 < trial["beside_s"] < 10
