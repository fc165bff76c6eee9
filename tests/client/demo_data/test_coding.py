from __future__ import annotations

import builtins
import json

import pytest

from sealora_client.data.records import read_records
from sealora_client.demo_data.choice import build_demo
from sealora_client.demo_data.coding import HOSPITALS, Hospital, coding_lines
from sealora_client.demo_data.files import write_sites
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    pytest.importorskip("simple_icd_10_cm")
    return build_demo(tmp_path_factory.mktemp("demo"))


def lines(site) -> list[dict]:
    return [json.loads(line) for line in site.path.read_text(encoding="utf-8").splitlines()]


def code_of(record: dict) -> str:
    if record["prompt"].startswith("Describe code "):
        return record["prompt"].removeprefix("Describe code ").removesuffix(".")
    return record["response"].partition(",")[0]


def test_three_hospitals_have_enough_records_that_a_site_can_read(demo):
    assert [site.name for site in demo] == list(HOSPITALS)
    for site in demo:
        split = read_records(site.path, DataSection())
        assert (len(split.train), len(split.heldout)) == (site.train, site.heldout)
        assert 1500 < site.train < 3500
        assert 0.05 < site.heldout / (site.train + site.heldout) < 0.15


def test_no_code_is_in_both_parts(demo):
    for site in demo:
        codes = {
            part: {code_of(line) for line in lines(site) if line["split"] == part} for part in ("train", "heldout")
        }
        assert not codes["train"] & codes["heldout"]


def test_no_text_is_in_two_records(demo):
    for site in demo:
        texts = [
            line["response"] if line["prompt"].startswith("Describe") else line["prompt"].partition(": ")[2]
            for line in lines(site)
        ]
        assert len({text.casefold() for text in texts}) == len(texts)


def test_records_of_a_hospital_are_of_its_chapter(demo):
    for site, letters in zip(demo, ("I", "CD", "O"), strict=True):
        assert {code_of(line)[0] for line in lines(site)} == set(letters)


def test_both_directions_are_there(demo):
    for site in demo:
        described = sum(line["prompt"].startswith("Describe code ") for line in lines(site))
        assert 0.2 < described / len(lines(site)) < 0.4


def test_it_is_the_same_every_time_and_what_is_there_is_left(demo, tmp_path):
    again = build_demo(tmp_path)
    assert [site.path.read_bytes() for site in again] == [site.path.read_bytes() for site in demo]
    stamps = [site.path.stat().st_mtime_ns for site in again]
    again[0].path.write_text("spoiled")
    build_demo(tmp_path)
    assert again[0].path.read_bytes() == demo[0].path.read_bytes()
    assert [site.path.stat().st_mtime_ns for site in again[1:]] == stamps[1:]


def test_other_hospitals_can_be_asked_for(tmp_path):
    pytest.importorskip("simple_icd_10_cm")
    lines = coding_lines({"eye-clinic": Hospital("7", "eye")}, heldout_fraction=0.5)
    (site,) = write_sites(tmp_path, lines)
    assert site.path == tmp_path / "eye-clinic.jsonl"
    assert site.heldout > 500


def test_without_the_package_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "simple_icd_10_cm":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"simple-icd-10-cm, which is not installed: run pip install"):
        build_demo(tmp_path)
