from __future__ import annotations

import sys

import pytest

from sealora_client.data_quality import language
from sealora_client.data_quality.language import UNCLEAR, language_of
from sealora_client.data_quality.missing import MissingLibraryError

TEXTS = {
    "de": "Der Patient klagt seit gestern Abend über starke Schmerzen in der Brust.",
    "en": "The patient has been complaining of strong chest pain since last night.",
    "fr": "Le patient se plaint de fortes douleurs à la poitrine depuis hier soir.",
    "es": "El paciente se queja de un fuerte dolor en el pecho desde ayer por la noche.",
    "ja": "患者は昨日の夜から胸の強い痛みを訴えています。息切れもあります。",
    "ar": "يشكو المريض من ألم شديد في الصدر منذ مساء أمس",
}


@pytest.mark.parametrize("code", TEXTS)
def test_languages_are_told(code):
    assert language_of(TEXTS[code]) == code


@pytest.mark.parametrize("text", ["", "ok", "I21.4", "120/80, 37.2, 98 %", "\ud800"])
def test_what_is_too_short_is_unclear(text):
    assert language_of(text) == UNCLEAR


def test_a_text_of_any_length_is_told_by_its_beginning():
    assert language_of(TEXTS["de"] * 100_000) == "de"


def test_without_the_library_one_sentence_says_what_to_install(monkeypatch):
    language._identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid", None)
    with pytest.raises(MissingLibraryError, match=r"^telling languages needs the package py3langid, which is not inst"):
        language_of("short")
