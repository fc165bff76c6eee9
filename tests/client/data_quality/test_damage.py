from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_client.data_quality.damage import damages, is_mojibake, without_mojibake
from sealora_client.data_quality.missing import MissingLibraryError


@pytest.mark.parametrize("text", ["Größe: 1,80 m\n\tGewicht: 80 kg", "naïve café", "می‌خواهم", "👩‍⚕️", "Ωμέγα", "½ ≤ µg"])
def test_what_is_well_is_well(text):
    assert damages(text) == set()
    assert not is_mojibake(text)
    assert without_mojibake(text) == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Gr\ufffd\ufffde", "replacement characters"),
        ("a\x00b", "control characters"),
        ("a\x85b", "control characters"),
        ("zero\u200bwidth", "invisible characters"),
        ("\ufeffmark", "invisible characters"),
        ("private \ue123", "invisible characters"),
        (unicodedata.normalize("NFD", "Größe"), "not in NFC"),
    ],
)
def test_damage_is_told(text, kind):
    assert damages(text) == {kind}


@pytest.mark.parametrize(
    ("word", "encoding"),
    [
        ("Müßiggang überall", "latin-1"),
        ("Müßiggang überall", "cp1252"),
        ("déjà vu chez Émile", "cp1252"),
        ("“quoted” — text", "latin-1"),
        ("naïve Ärzte", "cp1252"),
    ],
)
def test_mojibake_is_told_and_mended(word, encoding):
    broken = word.encode().decode(encoding)
    assert is_mojibake(broken)
    assert without_mojibake(broken) == word


@given(st.text(max_size=60))
def test_mending_never_fails(text):
    without_mojibake(text)
    if is_mojibake(text):
        assert without_mojibake(text) != text


def test_without_the_library_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(MissingLibraryError, match=r"^telling mojibake needs the package ftfy, which is not"):
        is_mojibake("a")
    assert damages("a\x00") == {"control characters"}
