"""One word, one meaning: no two classes share a name, and the glossary's words are where it says."""

from __future__ import annotations

import ast
import importlib
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("common/sealora_common", "server/sealora_server", "server/sealora", "client/sealora_client")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \| `([\w.]+)` \|$", GLOSSARY, re.MULTILINE)


def test_no_two_classes_share_a_name():
    homes = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes[node.name].append(path.relative_to(ROOT).as_posix())
    shared = {name: paths for name, paths in homes.items() if len(paths) > 1}
    assert shared == {}, "a reader who meets the name must know which is meant"


def test_every_row_of_the_glossary_is_read():
    lines = [line for line in GLOSSARY.splitlines() if line.startswith("| ") and not line.startswith("| word ")]
    assert len(ROWS) == len(lines) > 30


def test_no_word_of_the_glossary_has_two_meanings():
    words = [word for word, _, _ in ROWS]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("place", sorted({place for _, _, place in ROWS}))
def test_the_glossary_s_words_are_where_it_says(place):
    try:
        importlib.import_module(place)
    except ModuleNotFoundError:
        module, _, name = place.rpartition(".")
        assert hasattr(importlib.import_module(module), name)
