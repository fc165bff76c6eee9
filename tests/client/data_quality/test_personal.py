from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_client.data_quality import personal
from sealora_client.data_quality.missing import MissingLibraryError
from sealora_client.data_quality.personal import PersonalPatterns
from sealora_common.errors import DataError

GENERAL = PersonalPatterns()
FOUND = {
    "+49 30 1234567": "PHONE_NUMBER",
    "212-555-0187": "PHONE_NUMBER",
    "anna.schmidt@klinik.de": "EMAIL_ADDRESS",
    "DE89370400440532013000": "IBAN_CODE",
    "4111 1111 1111 1111": "CREDIT_CARD",
    "192.168.0.17": "IP_ADDRESS",
    "03.04.2021": "DATE_TIME",
    "00:1B:44:11:3A:B7": "MAC_ADDRESS",
    "https://example.org/patient?id=3": "URL",
}
NOTE = (
    "Acute myocardial infarction of the anterior wall, code I21.4; blood pressure 150/95, aspirin 100 mg twice a day."
)


@pytest.mark.parametrize("text", FOUND)
def test_personal_data_is_found_where_it_stands(text):
    (span,) = GENERAL.find(f"Seen here: {text} and more.")
    assert span.kind == FOUND[text] in GENERAL.kinds
    assert f"Seen here: {text} and more."[span.start : span.stop] == text


def test_a_clinical_note_without_any_has_none():
    assert GENERAL.find(NOTE) == []
    assert GENERAL.find("") == []


def test_check_digits_are_checked():
    assert GENERAL.find("card 4111 1111 1111 1112, account DE89370400440532013001") == []


def test_what_any_number_or_word_looks_like_is_not_believed():
    assert PersonalPatterns(["us", "de"]).find("lot 84712345, batch A1234567, room 10115, count 123456789012") == []


def test_national_numbers_are_looked_for_in_the_countries_that_are_named_alone():
    text = "ssn 536-22-1234."
    assert GENERAL.find(text) == []
    (span,) = PersonalPatterns(["us"]).find(text)
    assert span.kind == "US_SSN"
    assert "UK_NHS" in PersonalPatterns(["uk", "de"]).kinds


def test_a_country_s_telephone_numbers_are_read_without_its_prefix():
    (span,) = PersonalPatterns(["uk"]).find("call 020 7946 0018 today")
    assert span.kind == "PHONE_NUMBER"


def test_a_country_without_patterns_is_refused_with_those_that_have_some():
    with pytest.raises(DataError, match=r"^--country xx: there are no patterns of that country: choose from au, ca, "):
        PersonalPatterns(["de", "xx"])


def test_what_stands_deep_in_a_long_text_is_found_once_and_whole(monkeypatch):
    monkeypatch.setattr(personal, "_WINDOW", 200)
    monkeypatch.setattr(personal, "_OVERLAP", 60)
    for before in range(60, 330, 7):
        text = "x " * (before // 2) + "mail anna.schmidt@klinik.de or +49 30 1234567 now " + "y " * 150
        assert [text[span.start : span.stop] for span in GENERAL.find(text)] == [
            "anna.schmidt@klinik.de",
            "+49 30 1234567",
        ]


@settings(max_examples=40)
@given(st.lists(st.sampled_from([*FOUND, NOTE, "ä", "1", "\n", " ", "@", "."]), max_size=8))
def test_spans_are_in_order_and_do_not_overlap(parts):
    text = " ".join(parts)
    spans = GENERAL.find(text)
    assert all(0 <= span.start < span.stop <= len(text) for span in spans)
    assert all(one.stop <= other.start for one, other in pairwise(spans))


def test_nothing_asks_a_network(tmp_path):
    """In a process of its own, as a list of domains is kept once it was fetched."""
    code = (
        "import socket\n"
        "def refused(*_, **__): raise SystemExit('a network was asked')\n"
        "socket.getaddrinfo = socket.socket.connect = socket.create_connection = refused\n"
        "from sealora_client.data_quality.personal import PersonalPatterns\n"
        "print([span.kind for span in PersonalPatterns().find('mail a.b@klinik.de')])\n"
    )
    fresh = os.environ | {"TLDEXTRACT_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120, env=fresh
    )
    assert (done.returncode, done.stdout) == (0, "['EMAIL_ADDRESS']\n"), done.stderr


def test_without_the_library_one_sentence_says_what_to_install(monkeypatch):
    personal._library.cache_clear()
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    try:
        with pytest.raises(MissingLibraryError, match=r"^finding personal data needs the package presidio-analyzer"):
            PersonalPatterns()
    finally:
        personal._library.cache_clear()
