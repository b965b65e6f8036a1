"""The notebook `runs/reference/tour.ipynb` runs from its first cell to its last."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

# Its runs are made small: that the cells run is the claim, and not what they measure.
AS_WRITTEN = '"measure.blocks=2"'
SMALL = (
    '"model.weights=random", "model.shapes.num_layers=1", "measure.isolation=shared", '
    '"measure.blocks=2", "measure.trials=1"'
)

NOTEBOOK = Path(__file__).resolve().parents[2] / "runs" / "reference" / "tour.ipynb"


@pytest.mark.slow
def test_the_cells_of_the_tour_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    text = NOTEBOOK.read_text(encoding="utf-8")
    small = json.dumps(SMALL)[1:-1]
    as_written = json.dumps(AS_WRITTEN)[1:-1]
    assert as_written in text
    cells = json.loads(text.replace(as_written, small))["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert "cache=fixd" in capsys.readouterr().out
    assert names["result"].ratio > 0
    assert set(names["points"]) == {"dynamic", "paged"}
    assert names["axes"].get_xlabel().startswith("speed of the fixed cache")
