"""Facts of runs as names and values."""

from jaxgen.measure.start_spread import SHIPPED
from jaxgen.report import run_facts
from jaxgen.results.collection import collect
from support import stored_runs
from support.stored_runs import result, write


def test_the_environment_names_what_differs_between_runs(tmp_path):
    for number, cpu in enumerate(("EPYC", "Xeon")):
        environment = stored_runs.ENVIRONMENT | {"cpu": cpu}
        write(tmp_path / str(number), result(environment=environment))
    runs = collect([tmp_path]).runs
    facts = dict(run_facts.environment_facts(runs))
    assert facts["host"] == "EPYC, 2 cores, 25.00 GB; Xeon, 2 cores, 25.00 GB"
    assert facts["device"] == "1 x cpu"


def test_how_a_run_was_measured_says_what_the_interval_took_for_starts(tmp_path):
    compared = {
        "ratio": 2.0,
        "ci95": [1.9, 2.1],
        "blocks": 12,
        "pairs": 12,
        "processes": 2,
        "start_spread": {"deviation": 0.0072, "freedom": 13, "source": SHIPPED.source},
        "trimmed": {"ratio": 1.98, "ci95": [1.9, 2.06]},
    }
    run = result(comparison={"tokens_per_s": compared})
    write(tmp_path / "run", run)
    facts = dict(run_facts.measurement_facts(collect([tmp_path / "run"]).runs[0]))
    assert facts["pairs"] == "12 in 12 blocks in 2 processes"
    assert facts["starts differ by"].startswith("0.72 %, known by 13 degrees of freedom, the value")
    assert facts["ratio, trimmed mean over blocks"] == "1.98 [1.90, 2.06]"
