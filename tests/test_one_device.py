"""One module says where a site computes; whoever asks torch for a GPU by itself fails here. The source is read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("common/sealora_common", "server/sealora_server", "server/sealora", "client/sealora_client")
HOME = "client/sealora_client/model/device.py"

DEVICE = re.compile(r"^(cuda|mps|xpu|hip)(:\d+)?$")
"""A device as torch spells it. Sentences may speak of CUDA."""


def devices(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Lines that name a device or its library, and how."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if DEVICE.match(text):
                yield node.lineno, text
            case ast.Attribute(attr=name) | ast.Name(id=name) if DEVICE.match(name) or name == "is_cuda":
                yield node.lineno, name
            case ast.Import(names=names) if any("cuda" in alias.name.split(".") for alias in names):
                yield node.lineno, "import"
            case ast.ImportFrom(module=module, names=names):
                if "cuda" in (module or "").split(".") or any(alias.name == "cuda" for alias in names):
                    yield node.lineno, "import"


def test_one_module_names_the_device() -> None:
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            found += [(name, line) for line, _ in devices(ast.parse(path.read_text(encoding="utf-8")))]
    elsewhere = [f"{name}:{line}: use sealora_client.model.device" for name, line in found if name != HOME]
    assert elsewhere == []
    assert found, f"{HOME} names none: the rule looks for nothing"


@pytest.mark.parametrize(
    "source",
    [
        "torch.cuda.is_available()",
        "from torch import cuda",
        "from torch.cuda import synchronize",
        "import torch.cuda",
        "device = torch.device('cuda')",
        "model.to('cuda:1')",
        "if tensor.device.type == 'cuda': ...",
        "torch.tensor([1], device='mps')",
        "if tensor.is_cuda: ...",
    ],
)
def test_a_second_one_is_seen(source: str) -> None:
    assert list(devices(ast.parse(source)))


@pytest.mark.parametrize("source", ["log.warning('needs CUDA: using adamw')", "name = 'torch-cuda'", "x.is_cuda_like"])
def test_what_only_speaks_of_one_is_left_alone(source: str) -> None:
    assert list(devices(ast.parse(source))) == []
