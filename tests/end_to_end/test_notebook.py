"""The example notebook runs from top to bottom."""

import nbformat
from commands import EXAMPLES
from nbclient import NotebookClient


def test_the_example_notebook_runs():
    notebook = nbformat.read(EXAMPLES / "penguins.ipynb", as_version=4)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error"]
    pages = [output["data"].get("text/html", "") for output in shown if "data" in output]
    assert any("classifier" in page for page in pages)
    assert any("predicts" in page for page in pages)
