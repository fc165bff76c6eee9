"""What a report says of a hospital's untidy file, matter by matter."""

from __future__ import annotations

import shutil
import sys
from collections import Counter

import pytest
import yaml
from untidy_data import ORGANS, SECRET_WORDS, UNTIDY, clean_rows, write_recipe, write_rows, write_untidy

from sealora_client.data import spool
from sealora_client.data_report.chosen import ChosenData
from sealora_client.data_report.compile import Looking, report_on
from sealora_client.data_report.page import page
from sealora_client.data_report.report import DataReport
from sealora_client.data_report.tables import tables
from sealora_common.errors import DataError


@pytest.fixture(scope="module")
def untidy(tmp_path_factory, tiny_base) -> DataReport:
    directory = tmp_path_factory.mktemp("untidy")
    data, recipe = write_untidy(directory / "notes.jsonl"), write_recipe(directory / "recipe.yaml", tiny_base())
    return report_on(ChosenData.at(directory, data, recipe), Looking())


@pytest.fixture
def report(tmp_path):
    """`report(rows, looking=..., base=..., **section)`: the report on a file of these rows."""

    def made(rows, looking: Looking | None = None, base="nobody/nothing", **section) -> DataReport:
        data = write_rows(tmp_path / "notes.jsonl", rows)
        recipe = write_recipe(tmp_path / "recipe.yaml", base, **section)
        return report_on(ChosenData.at(tmp_path, data, recipe), looking or Looking())

    return made


def remark(report: DataReport, words: str) -> str:
    (found,) = [said for said in report.remarks if words in said]
    return found


def test_records_and_units_are_counted_by_part(untidy):
    rows = [*clean_rows(), *UNTIDY]
    heldout = sum(row["split"] == "heldout" for row in rows)
    counts = {size.heap: (size.records, size.units) for size in untidy.sizes}
    assert counts == {
        "training": (len(rows) - heldout, len(rows) - heldout),
        "held out": (heldout, heldout),
        "evaluated": (heldout, heldout),
    }
    assert untidy.problems == ()
    assert untidy.left_out == ()


def test_persons_are_units_and_how_many_records_they_have_is_told(report):
    told = report(clean_rows(), person_field="patient", heldout_limit=2)
    train, heldout, evaluated = told.sizes
    persons = Counter(row["patient"] for row in clean_rows() if row["split"] == "train")
    assert (train.records, train.units) == (sum(persons.values()), len(persons))
    assert train.records_of_unit is not None
    assert (train.records_of_unit.least, train.records_of_unit.most) == (2, 2)
    assert (heldout.units, evaluated.units) == (5, 2)


def test_lengths_are_told_in_characters_and_in_tokens(untidy):
    rows = [*clean_rows(), *UNTIDY]
    lengths = {length.of: length.spread for length in untidy.lengths}
    assert lengths["characters of prompts"].most == max(len(row["prompt"]) for row in rows)
    assert lengths["characters of responses"].least == min(len(row["response"]) for row in rows) == len("Yes.")
    assert lengths["tokens of examples"].most > 256
    assert 0 < lengths["tokens trained on"].least < lengths["tokens trained on"].most < 256


def test_what_is_cut_is_counted_and_how_much(untidy):
    assert untidy.too_long is not None
    assert untidy.too_long.limit == 256
    assert untidy.too_long.records >= 1
    assert untidy.too_long.cut is not None
    lengths = {length.of: length.spread for length in untidy.lengths}
    assert untidy.too_long.cut.most == lengths["tokens of examples"].most - 256


def test_when_many_are_cut_there_is_a_remark(report, tiny_base):
    told = report(clean_rows(), base=tiny_base(), max_tokens=64)
    assert "are cut to data.max_tokens 64 (lines 1, 2, 3, 4, 5 and " in remark(told, "max_tokens")


def test_duplicates_near_ones_and_leaks_are_told_by_line(untidy):
    assert untidy.copies == 1
    assert untidy.likeness is not None
    assert (untidy.likeness.repeated, untidy.likeness.groups, untidy.likeness.leaked) == (3, 2, 1)
    assert "(line 51)" in remark(untidy, "exact copies")
    assert "2 of 62 records (3.2%) are nearly the same as others (lines 52, 53)" in remark(
        untidy, "nearly the same as oth"
    )
    assert "(line 53), so that the held-out figure is better" in remark(untidy, "that are held out are nearly the same")
    assert "(lines 5, 54)" in remark(untidy, "answer otherwise")


def test_a_clean_file_has_no_duplicates_and_no_leaks(report):
    told = report(clean_rows())
    assert told.likeness is not None
    assert (told.copies, told.likeness.repeated, told.likeness.leaked) == (0, 0, 0)
    assert [said for said in told.remarks if "records are held out" not in said] == []


def test_languages_are_counted_and_strays_told(report):
    foreign = [row for row in UNTIDY if row["prompt"].startswith(("Der Patient", "Le patient"))]
    told = report([*clean_rows(), *foreign])
    counts = {tally.name: tally.records for tally in told.languages}
    assert counts["en"] >= 48
    assert (counts["de"], counts["fr"]) == (1, 1)
    assert "2 of 52 records (3.8%) seem to be in a language that few others are in (lines 51, 52)" in remark(
        told, "seem to be in"
    )


def test_damage_is_told_by_kind_and_line(untidy):
    assert {tally.damage: tally.records for tally in untidy.damage} == {
        "mojibake": 1,
        "replacement characters": 1,
        "control characters": 1,
        "not in NFC": 1,
    }
    for words, line in (("mojibake", 57), ("replacement", 58), ("control characters (", 58), ("decomposed", 59)):
        assert f"(line {line})" in remark(untidy, words)


def test_personal_data_is_told_by_kind_and_count(untidy):
    assert untidy.personal is not None
    found = {tally.kind: (tally.records, tally.places) for tally in untidy.personal.found}
    assert found["PHONE_NUMBER"] == (1, 2)
    assert found["EMAIL_ADDRESS"] == found["IBAN_CODE"] == found["DATE_TIME"] == (1, 1)
    assert "(line 60): look whether a model may learn it" in remark(untidy, "PHONE_NUMBER")
    assert "US_SSN" not in untidy.personal.looked_for


def test_a_country_adds_its_numbers_and_one_without_any_is_refused(report):
    rows = [*clean_rows(), {"prompt": "ssn 536-22-1234", "response": "ok", "split": "train"}]
    told = report(rows, Looking(countries=("us",)))
    assert told.personal is not None
    assert "US_SSN" in {tally.kind for tally in told.personal.found}
    with pytest.raises(DataError, match="--country xx"):
        report(rows, Looking(countries=("xx",)))


def test_names_of_control_tokens_are_told(untidy):
    assert "(line 61)" in remark(untidy, "control tokens")


def test_no_text_of_a_record_and_no_person_is_in_a_report_or_its_page(untidy):
    texts = [row[field] for row in (*clean_rows(), *UNTIDY) for field in ("prompt", "response", "patient")]
    for told in (untidy.model_dump_json(), page(untidy)):
        assert not [word for word in SECRET_WORDS if word in told]
        assert not [text for text in texts if text in told]
        assert not [text for text in texts if len(text) > 20 and text[:20] in told]


def test_labels_are_counted_by_the_recipe_s_names_and_others_by_rank(report):
    rows = [
        {
            "text": f"{organ} seen in {place}",
            "label": str(int(place % 8 == 0)),
            "split": "heldout" if place % 5 == 4 else "train",
        }
        for place, organ in enumerate(ORGANS * 5)
    ]
    named = report(rows, layout="labelled", labels={"0": "benign", "1": "malignant", "2": "unknown"})
    assert [tally.name for tally in named.labels] == ["benign", "malignant", "unknown"]
    assert sum(tally.training for tally in named.labels) == sum(row["split"] == "train" for row in rows)
    assert "labels unknown make up little" in remark(named, "make up little")
    assert "labels unknown are in no held-out record" in remark(named, "no held-out record")
    unnamed = report(rows, layout="labelled")
    assert [tally.name for tally in unnamed.labels] == ["label 1", "label 2"]


def test_of_feedback_it_is_told_how_much_is_wanted(tmp_path):
    rows = [
        {"prompt": f"{sign} {n}", "completion": f"see {n}", "label": n % 3 == 0, "split": ("train", "heldout")[n % 2]}
        for n, sign in enumerate(ORGANS * 3)
    ]
    data = write_rows(tmp_path / "n.jsonl", rows)
    recipe = yaml.safe_load(write_recipe(tmp_path / "r.yaml", layout="feedback").read_text())
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe | {"objective": {"kind": "kto_zero"}}))
    told = report_on(ChosenData.at(tmp_path, data, tmp_path / "r.yaml"), Looking())
    assert [(tally.name, tally.training, tally.heldout) for tally in told.labels] == [
        ("unwanted", 10, 10),
        ("wanted", 5, 5),
    ]


def test_problems_of_the_file_are_told_and_nothing_else_is(report):
    told = report([*clean_rows(), {"prompt": "", "response": "x"}])
    assert len(told.problems) == 1
    assert 'line 51: the field "prompt" is not a non-empty string' in told.problems[0]
    assert (told.sizes, told.remarks) == ((), ())


def test_all_problems_are_told_at_once(report):
    told = report([{"response": "x"}, *clean_rows(), {"prompt": "", "response": "x"}, {"prompt": "y", "response": 7}])
    assert len(told.problems) == 3
    for said, line in zip(told.problems, (1, 52, 53), strict=True):
        assert f"line {line}: " in said


def test_data_that_lies_in_a_file_aside_is_told_of_like_any_other(report, tiny_base, monkeypatch):
    rows = [*clean_rows(), *UNTIDY]
    told = report(rows, base=tiny_base())
    monkeypatch.setattr(spool, "IN_MEMORY", 0)
    assert report(rows, base=tiny_base()) == told
    assert told.likeness is not None
    assert told.likeness.leaked == 1


def test_records_of_tasks_that_the_recipe_does_not_weigh_are_told_by_their_lines(tmp_path):
    rows = [row | {"task": "triage" if number else "coding"} for number, row in enumerate(clean_rows())]
    data = write_rows(tmp_path / "n.jsonl", rows)
    recipe = yaml.safe_load(write_recipe(tmp_path / "r.yaml", task_field="task").read_text())
    for weighed, problems in (("triage", 0), ("other", 1)):
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe | {"objective": {"task_weights": {weighed: 1.0}}}))
        told = report_on(ChosenData.at(tmp_path, data, tmp_path / "r.yaml"), Looking())
        assert [tally.records for tally in told.unusable] == [50 if problems else 1]
        assert any("does not name their tasks (line" in said for said in told.remarks), told.remarks
        assert len(told.problems) == problems


def test_a_template_that_teaches_something_else_is_a_problem(report, tiny_base, tmp_path):
    base = shutil.copytree(tiny_base(), tmp_path / "base")
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %} and more"
    (base / "chat_template.jinja").write_text(template)
    told = report(clean_rows(), base=base)
    assert [said for said in told.problems if said.startswith(f"the chat template of {base}")]


def test_where_no_record_can_be_shown_that_is_a_problem(report, tiny_base, tmp_path):
    rows = [row | {"prompt": f" {row['prompt']}"} for row in clean_rows()]
    base = shutil.copytree(tiny_base(), tmp_path / "base")
    trimming = (base / "chat_template.jinja").read_text().replace("message['content']", "message['content'] | trim")
    (base / "chat_template.jinja").write_text(trimming)
    told = report(rows, base=base)
    assert [tally.records for tally in told.unusable] == [50]
    assert any("none of the records can be shown to the model" in said for said in told.problems)


def test_without_the_base_model_all_but_tokens_is_told(report):
    told = report(clean_rows())
    assert told.too_long is None
    assert [length.of for length in told.lengths] == ["characters of prompts", "characters of responses"]
    (said,) = told.left_out
    assert said.startswith(
        "tokens were not looked at: the base model nobody/nothing is not here: run `sealora-site model"
    )


def test_of_many_records_a_sample_is_looked_at_and_said_to_be(report):
    told = report([*clean_rows(), *UNTIDY], Looking(sample=20))
    assert told.likeness is not None
    assert told.likeness.looked_at == 20
    assert told.personal is not None
    assert told.personal.looked_at == 20
    assert any("were looked for in 20 of 62 records, chosen at random" in said for said in told.left_out)
    assert report([*clean_rows(), *UNTIDY], Looking(sample=20)) == told


LIBRARIES = {
    "datasketch": "finding near-duplicates needs the package datasketch",
    "py3langid": "telling languages needs the package py3langid",
    "ftfy": "telling mojibake needs the package ftfy",
    "presidio_analyzer": "finding personal data needs the package presidio-analyzer",
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_that_is_missing_costs_its_column_alone(report, monkeypatch, library):
    from sealora_client.data_quality import language, personal

    language._identifier.cache_clear()
    personal._library.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    try:
        told = report([*clean_rows(), *UNTIDY])
    finally:
        personal._library.cache_clear()
    assert [said for said in told.left_out if said.startswith(LIBRARIES[library])]
    columns = (told.likeness, told.languages, told.personal)
    missing = {"datasketch": 0, "py3langid": 1, "presidio_analyzer": 2}
    for place, column in enumerate(columns):
        assert bool(column) == (missing.get(library) != place)
    assert ("mojibake" in {tally.damage for tally in told.damage}) == (library != "ftfy")


def test_fields_that_the_recipe_does_not_read_are_named(report):
    rows = [row | {"system": "S", "age": 7} for row in clean_rows()]
    told = report(rows, person_field="patient")
    assert {"age", "system"} <= set(told.unread)
    assert not {"prompt", "response", "split", "patient"} & set(told.unread)
    (table,) = [table for table in tables(told) if table.title == "Fields that are not read"]
    assert ("system",) in table.rows
    assert report(rows, person_field="patient", prompt_template="{{ prompt }}").unread == ()
