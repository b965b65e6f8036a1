"""Facts of runs as names and values."""

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
