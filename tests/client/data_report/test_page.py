from __future__ import annotations

import re
import stat
import sys

import pytest

from sealora_client.data_quality.missing import MissingLibraryError
from sealora_client.data_report.page import page, write_page
from sealora_client.data_report.report import DataReport, HeapSize, LabelTally
from sealora_common.errors import StorageError

NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}"
REPORT = DataReport(
    data=f"/data/{NASTY}.jsonl",
    recipe=NASTY,
    problems=(f"problem {NASTY}",),
    remarks=(f"remark {NASTY}",),
    left_out=(f"left out {NASTY}",),
    sizes=(HeapSize(heap="training", records=1234, units=1234, records_of_unit=None),),
    labels=(LabelTally(name=NASTY, training=1, heldout=2),),
)


def test_what_others_wrote_stays_text():
    html = page(REPORT)
    assert "<script" not in html
    assert "<img" not in html
    assert "49" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 7


def test_the_page_needs_nothing_but_itself():
    html = page(REPORT)
    assert "default-src 'none'; style-src 'unsafe-inline'" in html
    assert not re.search(r"https?:|src=|url\(|@import|<link|<form", html.replace("src=x", ""))
    assert "1,234" in html


def test_a_page_is_private_and_replaces_an_earlier_one(tmp_path):
    path = tmp_path / "report.html"
    write_page(REPORT.model_copy(update={"recipe": "first"}), path)
    write_page(REPORT.model_copy(update={"recipe": "second"}), path)
    assert "second" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_page_is_not_written_over_what_may_be_data(tmp_path):
    data = tmp_path / "notes.jsonl"
    data.write_text("{}")
    with pytest.raises(StorageError, match=r"notes\.jsonl: is not the name of a page, and may be data: name it with"):
        write_page(REPORT, data)
    assert data.read_text() == "{}"


def test_without_the_library_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingLibraryError, match=r"^a page needs the package jinja2, which is not installed: run pip"):
        page(REPORT)
