"""The tutorial's second part, line by line as it stands: a tiny model and tiny data take the place of the demo's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
HOSPITALS = ("heart-and-lung", "mind-and-senses", "womens-and-family")
LONGEST_SECONDS = 900


@pytest.fixture(scope="module")
def done(tiny_base, tmp_path_factory) -> Path:
    """The directory in which the tutorial was done."""
    directory = tmp_path_factory.mktemp("tutorial")
    data = directory / ".cache" / "departments"
    data.mkdir(parents=True)
    for number, name in enumerate(HOSPITALS):
        records = [
            {
                "text": f"{name} finding {place}",
                "department": ("ward", "clinic")[(place + number) % 2],
                "split": "heldout" if place % 10 == 0 else "train",
            }
            for place in range(60)
        ]
        (data / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    script = "set -euo pipefail\n" + "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.M | re.S))
    script, changed = re.subn(r"base: smollm2-135m-instruct", f"base: {tiny_base()}", script)
    assert changed == 1, "the page no longer names its base model"
    commands = directory / "bin"
    commands.mkdir()
    for name, module in (("sealora", "sealora_server"), ("sealora-site", "sealora_client")):
        (commands / name).write_text(f"#!{sys.executable}\nfrom {module}.cli import main\nmain()\n")
        (commands / name).chmod(0o755)
    (commands / "python").symlink_to(sys.executable)
    said = subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert said.returncode == 0, said.stdout[-4000:]
    (directory / "output").write_text(said.stdout)
    return directory


@pytest.mark.slow
def test_each_part_of_it_leaves_what_the_page_says(done: Path) -> None:
    for name, epsilon in (("own", 8.0), ("own-4", 4.0)):
        summary = json.loads((done / "runs" / name / "summary.json").read_text())
        assert (summary["status"], summary["rounds_finished"], summary["epsilon"]) == ("finished", 3, epsilon)
        assert [site["records"] for site in summary["sites"]] == [54, 54, 54]
    assert (done / "runs" / "own" / "adapter" / "adapter_model.safetensors").exists()
    report = (done / "runs" / "own" / "report.html").read_text()
    assert 'data-head="Alone"' in report  # what `compare --into` put there
    assert "Who would see what" in report
    assert 'data-head="Alone"' not in (done / "runs" / "own-4" / "report.html").read_text()
    said = (done / "output").read_text()
    assert "; answers are greedy" in said
    assert re.search(r"^entry +charged", said, re.MULTILINE)
