"""The page about Python and the notebook, as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_block_of_the_pages(tmp_path, monkeypatch):
    # What the page writes stays out of the repository.
    for name in ["examples", "experiments"]:
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    pages = [ROOT / "docs/python.md", ROOT / "README.md"]
    blocks = [block for page in pages for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S)]
    assert len(blocks) == 7
    names = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, "a block", "exec"), names)
    assert (tmp_path / "figure.svg").exists() and (tmp_path / "pushdown.jsonl").exists()


def test_the_notebook():
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = nbformat.read(ROOT / "python/examples/first-figure.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": os.getcwd()}}).execute()
    pictures = [output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    text = [output["data"]["text/plain"] for output in notebook.cells[-2].outputs]
    assert 0.4 < float(text[0]) <= 1.0, "where the drive's advantage ends"


def test_the_live_example_runs(tmp_path):
    """Without a drive: it waits for one, and ends when its window is closed, here at once."""
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    command = [sys.executable, "-W", "ignore", ROOT / "python/examples/live.py", "NOSUCHDRIVE"]
    output = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert output.returncode == 0, output.stderr
    assert (tmp_path / "live.npz").exists()
