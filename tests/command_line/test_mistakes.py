"""Every mistake on the command line or in a file is one line that names it, and leaves nothing.

Those that only a worker can reveal stand in test_bad_inputs.py.
"""

import pytest

from jaxgen.__main__ import main
from jaxgen.errors import ExitCode

MISTAKES = [
    (
        ["cache=fixd"],
        ["cache=fixd is not an option", "fixed, none, dynamic", "did you mean cache=fixed?"],
    ),
    (["cache=null"], ["cache=null is not an option", "fixed, none, dynamic"]),
    (["cache="], ["cache= is not an option", "fixed, none, dynamic"]),
    (["measure=5"], ["measure=5 is not an option", "default, quick, thorough"]),
    (["experiment=nope"], ["experiment=nope is not an option"]),
    (["cache=[fixed,none]"], ["cache takes one of fixed, none, dynamic", "-m cache=fixed,none"]),
    (
        ["cahce=fixed"],
        ["cahce=fixed: there is no cahce", "model, cache, jit", "did you mean cache?"],
    ),
    (
        ["cache.lenght=3"],
        ["cache.lenght=3: cache=fixed has no key lenght", "it has max_len, bucket"],
    ),
    (
        ["measure.trails=3"],
        ["measure.trails=3: measure has no key trails", "did you mean measure.trials?"],
    ),
    (["model.shapes.layers=3"], ["model.shapes.layers=3", "num_layers"]),
    (
        ["cache=dynamic", "cache.max_len=3"],
        ["cache=dynamic has no key max_len", "cache=fixed has it"],
    ),
    (["prompts.text=hi"], ["prompts=builtin has no key text; it has count", "prompts=text has it"]),
    (["+cache.zzz=2"], ["+cache.zzz=2: cache=fixed has no key zzz"]),
    (["++foo=1"], ["++foo=1: there is no foo"]),
    (["measure.trials=abc"], ["measure.trials=abc is impossible", "a whole number (default 1)"]),
    (["measure.trials=2.5"], ["measure.trials=2.5 is impossible", "a whole number"]),
    (["measure.trials=null"], ["measure.trials=null is impossible", "a whole number"]),
    (
        ["cache.max_len=x"],
        ["cache.max_len=x is impossible", "a whole number or null (default null)"],
    ),
    (["measure.margin=wide"], ["measure.margin=wide is impossible", "a number or null"]),
    (
        ["workload.ignore_eos=perhaps"],
        ["workload.ignore_eos=perhaps", "true or false (default false)"],
    ),
    (["dtype.kv=int3"], ["dtype.kv=int3 is impossible", "one of float32, bfloat16, float16"]),
    (["measure.isolation=Shared"], ["one of auto, shared, separate (default auto)"]),
    (["measure={trialz: 3}"], ["measure has no key trialz", "did you mean measure.trials?"]),
    (["process=5"], ["process=5 is impossible", "xla_flags, env, python"]),
    (
        ["measure.trials=0", "measure.blocks=0"],
        ["measure.trials=0 must be 1 or more; measure.blocks=0"],
    ),
    (["process.env.A=1", "measure.isolation=shared"], ["use measure.isolation=separate or auto"]),
    (
        ["workload.max_new_tokens=???"],
        ["workload.max_new_tokens is missing", "set workload.max_new_tokens=..."],
    ),
    (
        ["workload.max_new_tokens=${foo}"],
        ["workload.max_new_tokens=${foo}: Interpolation key 'foo' not found"],
    ),
    (["model=hf"], ["model=hf has no weights", "model.source=DIR_OR_HUB_ID"]),
    (["model=hf", "model.weights=random"], ["model.weights=random needs the shapes", "qwen3_0_6b"]),
    (
        ["model=hf", "model.shapes.num_layers=2"],
        ["model.shapes.num_layers=2", "give all of it at once"],
    ),
    (["prompts=text"], ["prompts=text has no prompt", "prompts.path=FILE"]),
    (
        ["prompts=text", "prompts.text=7"],
        ["prompts.text[0]=7 is not a prompt", "quotes of its own"],
    ),
    (["prompts=jsonl"], ["prompts=jsonl has no file", "prompts.path=FILE"]),
    (["cache"], ["cache is not an override", "write cache=... with one of fixed, none, dynamic"]),
    (["=3"], ["=3 has no key"]),
    (["cache..x=3"], ["cache..x is no key", "KEY=VALUE"]),
    (["prompts.text='a"], ["prompts.text='a cannot be read", "not closed"]),
    (["cache=fixed,none"], ["cache=fixed,none has several values", "add -m"]),
    (["~cache"], ["~cache: nothing can be taken out", "cache=..."]),
    (["+cache=none"], ["+cache=none would add a second cache", "write cache=none"]),
    (["baseline=[cache=none]"], ["baseline.cache=none", "\"baseline.overrides=['cache=none']\""]),
    (["baseline.overrides=[cache=none]"], ["\"baseline.overrides=['cache=none']\""]),
    (["baseline.cache=fixd"], ["baseline.cache=fixd is not an option", "fixed, none, dynamic"]),
    (["baseline.cahce=fixed"], ["baseline has no key cahce", "did you mean baseline.cache?"]),
    (["baseline=off", "baseline.jit=aot"], ["baseline.jit has nothing to change", "baseline=same"]),
    (["baseline.overrides=['cache=fixd']"], ["baseline.overrides: cache=fixd is not an option"]),
    (
        ["baseline.overrides=['cache.len=3']"],
        ["baseline.overrides: cache.len=3: cache=none has no key len"],
    ),
    (
        ["baseline.overrides=['model.seed=x']"],
        ["baseline.overrides: model.seed=x is impossible", "a whole number"],
    ),
    (
        ["baseline.overrides=['measure.trials=3']"],
        ["measure.trials=3 cannot be set for the baseline alone"],
    ),
    (
        ["baseline.overrides=['gate=off']"],
        ["measure, baseline, agreement, gate, tracker, study, sweep, console are the same"],
    ),
    (["baseline.overrides=['+model.x=3']"], ["+model.x=3", "only key=value and group=option"]),
    (["baseline.overrides=['~cache']"], ["~cache", "only key=value and group=option"]),
    (
        ["baseline.overrides=['jit=aot,eager']"],
        ["one value only", "-m \"baseline.overrides=['K=1'],['K=2']\""],
    ),
    (["baseline.overrides=['nope.x=3']"], ["there is no nope to change"]),
    (
        ["baseline.overrides=['study=selftest']"],
        ["study=selftest cannot be set for the baseline alone"],
    ),
    (["gate=regression"], ["gate=regression has nothing to compare with", "gate.against=PATH"]),
    (["gate.against=r"], ["gate=off has no keys at all", "gate=regression has it"]),
    (
        ["gate=regression", "gate.against=r", "gate.threshold=1"],
        ["gate.threshold=1.0 must be 0 or more and below 1"],
    ),
    (["workload.depths=[8,1]"], ["workload.depths=[8, 1] must be rising numbers of 0 or more"]),
    (
        ["workload.depths=[8]", "workload.max_new_tokens=1"],
        ["needs workload.max_new_tokens=2 or more"],
    ),
    (["workload.depths=[8]", "workload.token_buckets=[8]"], ["cannot be given together"]),
    (
        ["workload.batch_buckets=[1,2]"],
        ["workload.batch_size=4 is more than the largest of workload.batch_buckets, 2"],
    ),
    (
        ["measure.startup=hot"],
        ["measure.startup=hot is impossible", "one of cold, warm, both or null (default null)"],
    ),
    (["measure.processes=0"], ["measure.processes=0 must be 1 or more"]),
    (
        ["fault.clock=0", "fault.slowdown=11"],
        ["fault.slowdown=11.0 must be", "fault.clock=0.0 must be a positive"],
    ),
    (["fault.speed=2"], ["fault.speed=2: fault has no key speed", "slowdown, recompile"]),
    (["study=selftest", "study.slowdown=0"], ["study.slowdown=0.0 must be above 0"]),
    (["study=calibrate", "study.processes=1"], ["study.processes=1 cannot show how starts"]),
    (["--foo"], ["there is no flag --foo", "KEY=VALUE, without dashes", "--help"]),
    (["--cfg", "jobs"], ["--cfg: invalid choice: 'jobs'"]),
    (["-m", "--cfg", "job"], ["Only one of --run, --multirun, --cfg"]),
    (["-m", "cache=none,fixd"], ["cache=fixd is not an option"]),
    (["--config-dir", "nowhere"], ["nowhere' not found"]),
    (["hydra.searchpath=[nowhere]"], ["nowhere is not available"]),
    (["hydra.run.dir=/dev/null/x"], ["cannot write the run folder", "hydra.run.dir=DIR"]),
]


@pytest.mark.usefixtures("place")
class TestMistakes:
    @pytest.mark.parametrize(
        ("argv", "fragments"), MISTAKES, ids=lambda value: " ".join(value)[:50]
    )
    def test_a_mistake_is_one_line_and_leaves_nothing_behind(
        self, argv, fragments, place, executed, capsys
    ):
        assert main(argv) == ExitCode.USER_ERROR
        line = capsys.readouterr().err
        assert line.startswith("error: ")
        assert line.count("\n") == 1
        for fragment in fragments:
            assert fragment in line
        assert executed.calls == []
        assert list(place.iterdir()) == []

    @pytest.mark.parametrize(
        ("text", "fragment"),
        [
            (
                "defaults: [fixed, _self_]\nlenght: 3\n",
                "cache/mine.yaml: cache=fixed has no key lenght",
            ),
            (
                "defaults: [fixed, _self_]\nmax_len: x\n",
                "cache/mine.yaml: cache.max_len=x is impossible",
            ),
            ("max_len: 3\n", "cache was composed without a schema"),
            ("defaults: [/schema/jit/jit@_here_]\n", "or with another slot's"),
            ("defaults: [fixed\n", "mine.yaml"),
        ],
    )
    def test_a_mistake_in_a_file_names_the_file(self, text, fragment, place, executed, capsys):
        (place / "own" / "cache").mkdir(parents=True)
        (place / "own" / "cache" / "mine.yaml").write_text(text)
        assert main(["--config-dir", "own", "cache=mine"]) == ExitCode.USER_ERROR
        assert fragment in capsys.readouterr().err
        assert not (place / "runs").exists()
