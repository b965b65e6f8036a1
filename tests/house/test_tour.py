"""The notebook `runs/reference/tour.ipynb` runs from its first cell to its last."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "runs" / "reference" / "tour.ipynb"


@pytest.mark.slow
def test_the_cells_of_the_tour_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert "cache=fixd" in capsys.readouterr().out
    assert names["result"].ratio > 0
    assert set(names["points"]) == {"dynamic", "paged"}
    assert names["axes"].get_xlabel().startswith("speed of the fixed cache")
