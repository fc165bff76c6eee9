"""docs/python.md and the notebooks: what they tell a person to type runs, and the names are those that there are."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

import sealora
from sealora.reference import _ORDER, _TITLE, reference

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
KERNEL = """
import ast, json, sys
space = {"__name__": "__main__"}
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    if cell["cell_type"] != "code":
        continue
    tree = ast.parse("".join(cell["source"]))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), space)
    if last is not None:
        shown = eval(compile(ast.Expression(last.value), "cell", "eval"), space)
        print(shown._repr_html_() if hasattr(shown, "_repr_html_") else repr(shown))
"""


def child(place: Path, *words: object) -> str:
    """What a Python process of its own prints, as a kernel would run it."""
    command = [sys.executable, *map(str, words)]
    own = os.environ | {"FORCE_COLOR": "1"}  # as notebooks' kernels have it
    done = subprocess.run(command, cwd=place, env=own, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    return done.stdout


def test_the_names_are_told_as_they_are():
    assert PAGE[PAGE.index(_TITLE) :] == reference(), "run `make reference`"
    assert {*_ORDER, "Recipe", "SealoraError", "__version__"} == set(sealora.__all__)


@pytest.mark.slow
def test_the_ten_lines_run(tmp_path, tiny_base):
    block = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL).group(1)
    assert len([line for line in block.splitlines() if line.strip()]) == 10
    recipe = sealora.load_recipe(
        ROOT / "configs" / "triage.yaml",
        {
            "model": {"base": str(tiny_base()), "quantization": "none", "compute_dtype": "float32"},
            "data.heldout_limit": 4,
            "privacy.delta": 1e-3,
            "privacy.mechanism": "local",
            "privacy.spare_rounds": 0,
            "training.micro_batch_size": 4,
        },
    )
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "triage.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    rows = [
        {"hospital": hospital, "text": f"complaint {number}", "department": ("heart", "skin")[number % 2]}
        for hospital in ("north", "south", "west")
        for number in range(60)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "complaints.csv", index=False)
    said = child(tmp_path, "-c", block)
    assert (tmp_path / "runs" / "triage-1" / "report.html").exists()
    assert "<sealora.Run 'runs/triage-1'" in said


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_no_output_and_is_python(notebook):
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    trees = [ast.parse("".join(cell["source"])) for cell in cells]
    asked = {
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sealora"
    }
    assert asked
    assert asked <= set(sealora.__all__)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, tmp_path):
    said = child(tmp_path, "-c", KERNEL, notebook)
    assert "<b>departments: 2 of 2 rounds" in said or "of the way, %" in said


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_names_what_is_there(notebook):
    text = "".join(line for cell in json.loads(notebook.read_text())["cells"] for line in cell["source"])
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links
    assert all((notebook.parent / link).exists() for link in links)
    assert all((ROOT / name).exists() for name in re.findall(r"configs/[\w-]+\.yaml", text))


def test_the_page_names_both_notebooks():
    assert {path.name for path in NOTEBOOKS} == {"own-data.ipynb", "privacy-cost.ipynb"}
    assert all(f"(notebooks/{path.name})" in PAGE for path in NOTEBOOKS)
