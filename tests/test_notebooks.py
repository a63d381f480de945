"""The notebooks: kept without outputs, and running from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from support.processes import ENVIRONMENT

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_is_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    for cell in code:
        assert (cell.outputs, cell.execution_count) == ([], None)
        compile(cell.source, path.name, "exec")
    assert set(notebook.metadata) == {"kernelspec", "language_info"}  # nothing of a machine


@pytest.mark.slow  # it trains
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, as_version=4)
    there = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=there).execute()
    said = [
        output.data["text/plain"] for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output
    ]
    assert "(('ground', 'cell'), 0.5)" in said
    assert "((256, 320), dtype('uint8'), array([0, 1], dtype=uint8))" in said
    assert float(said[-1].strip("'").split()[1]) > 0.6
