"""docs/protocol.md says what the code does: sizes and labels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sealora_common.secagg
from sealora_common.secagg import FaultKind, keys
from sealora_common.secagg.bodies import (
    Advertisement,
    CheckStatement,
    Committed,
    Disclosure,
    Given,
    MaskStatement,
    Opening,
    ShareKind,
    ShareStatement,
    Survivors,
)
from sealora_common.secagg.messages import Kind
from sealora_common.secagg.terms import VERSION

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
D = bytes(32)
SITES = (1, 4, 5)
GIVEN = {site: Given(D, D, D) for site in SITES}
BODIES = {
    Kind.ADVERTISE: Advertisement(bytes(keys.PUBLIC_KEY_BYTES), bytes(keys.PUBLIC_KEY_BYTES)),
    Kind.SHARE: ShareStatement(D, D, SITES, (D,) * 3, (Committed(D, D, D),) * 3),
    Kind.CHECK: CheckStatement(D, SITES),
    Kind.DISCLOSE: Disclosure(D, GIVEN),
    Kind.MASK: MaskStatement(D, D),
    Kind.CONFIRM: Survivors(D, SITES),
    Kind.OPEN: Opening(D, D, dict.fromkeys(SITES, (ShareKind.SELF_MASK, D))),
}


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_message_has_the_length_that_the_page_tells(kind):
    (row,) = re.findall(rf"^\| {kind.value} \| {kind.name.lower()} \|.*\| ([^|]+) \|$", PAGE, re.MULTILINE)
    told = sum(int(a) * 3 if letter else int(a) for a, letter in re.findall(r"(\d+) ?([kcsh]?)", row))
    assert len(BODIES[kind].to_bytes()) == told


def test_every_label_of_the_code_is_on_the_page():
    sources = "".join(path.read_text() for path in Path(sealora_common.secagg.__file__).parent.glob("*.py"))
    labels = set(re.findall(r'b"(sealora secagg (?!.* v1)[^"\\]*)', sources))
    labels -= {label for label in labels if label.strip() == "sealora secagg v2"}
    assert len(labels) >= 6
    assert {label for label in labels if label.strip() not in PAGE} == set()
    purposes = set(re.findall(r'terms_digest, b"([a-z ]+)"', sources))
    assert purposes == {"contribution", "pairwise mask", "self mask"}
    assert {purpose for purpose in purposes if f'"{purpose}"' not in PAGE} == set()


def test_versions_sizes_and_kinds_of_fault_are_those_of_the_page():
    assert f"Version {VERSION}." in PAGE
    assert f"`bytes[{keys.PUBLIC_KEY_BYTES}]`" in PAGE
    assert f"({64 + keys.SEALED_BYTES:,} bytes)" in PAGE
    assert f"({32 + keys.SEALED_BYTES:,} bytes)" in PAGE
    faults = PAGE[PAGE.index("## Evidence") :]
    assert re.findall(r"^\| (\d) \|", faults, re.MULTILINE) == [str(kind.value) for kind in FaultKind]
