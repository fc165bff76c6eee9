"""A record is known again by its row, whichever fields of it a recipe reads: no way of reading has its own budget."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sealora_client.data.fingerprint import DataSet, digest_of_row
from sealora_client.data.records import read_records
from sealora_client.ledger import Ledger
from sealora_client.ledger.members import KeyedMembers, new_member_key
from sealora_common.errors import BudgetError
from sealora_common.recipe.sections.data import DataSection

from ledger_runs import DELTA, SITE, charge, composed

KEY = new_member_key()
ROWS: list[dict[str, object]] = [
    {
        "id": n,
        "patient": f"p{(n + 1) // 2}",
        "note": f"note {n}",
        "answer": f"so {n}",
        "kind": "ill" if n % 3 else "well",
    }
    for n in range(12)
]
PLAIN = DataSection(prompt_field="note", response_field="answer")
WAYS = {
    "another field": DataSection(prompt_field="kind", response_field="note"),
    "a template": DataSection(prompt_template="Say {{ note }}", response_field="answer"),
    "trimmed": DataSection(prompt_field="note", response_field="kind", trim=True),
    "a text": DataSection(layout="text", fields={"text": "note"}),
    "classes": DataSection(layout="labelled", fields={"text": "note", "label": "kind"}),
    "another field for the part": DataSection(prompt_field="kind", response_field="note", split_field="nowhere"),
    "preferences": DataSection(layout="preference", fields={"prompt": "kind", "chosen": "note", "rejected": "answer"}),
}


def data_set(directory: Path, section: DataSection, rows: list[dict[str, object]] = ROWS) -> DataSet:
    path = directory / "records.jsonl"
    path.write_text(
        "".join(json.dumps({**row, "split": "heldout" if row["id"] == 0 else "train"}) + "\n" for row in rows)
    )
    return DataSet.of(read_records(path, section).train)


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path / "ledger.sqlite", SITE) as opened:
        yield opened


@pytest.mark.parametrize("way", WAYS)
def test_a_recipe_that_reads_the_rows_otherwise_goes_on_spending_their_budget(ledger, tmp_path, way):
    charge(ledger, 1, dataset=data_set(tmp_path, PLAIN))
    other = data_set(tmp_path, WAYS[way])
    assert ledger.spent(other, DELTA) == pytest.approx(composed(1))
    charge(ledger, 2, dataset=other)
    assert ledger.spent(data_set(tmp_path, PLAIN), DELTA) == pytest.approx(composed(2))


def test_other_names_and_another_order_of_the_fields_are_the_same_rows(ledger, tmp_path):
    charge(ledger, 1, dataset=data_set(tmp_path, PLAIN))
    renamed = [
        {"id": row["id"], "k": row["kind"], "a": row["answer"], "n": row["note"], "w": row["patient"]} for row in ROWS
    ]
    other = data_set(tmp_path, DataSection(prompt_field="k", response_field="n"), renamed)
    assert ledger.spent(other, DELTA) == pytest.approx(composed(1))


def test_rows_of_others_are_others(ledger, tmp_path):
    charge(ledger, 1, dataset=data_set(tmp_path, PLAIN))
    strangers = [{**row, "note": row["note"] + "!", "answer": "else"} for row in ROWS]
    assert ledger.spent(data_set(tmp_path, WAYS["classes"], strangers), DELTA) == 0


BY_PERSON = PLAIN.model_copy(update={"person_field": "patient"})
AS_OTHER_PERSONS = {
    "another field": {"person_field": "id"},
    "folded": {"fold_persons": True},
    "another field and other texts": {"person_field": "id", "prompt_field": "kind"},
}


@pytest.mark.parametrize("way", AS_OTHER_PERSONS)
def test_a_recipe_that_takes_the_rows_persons_for_others_goes_on_spending_their_budget(ledger, tmp_path, way):
    rows = [{**row, "patient": str(row["patient"]).upper()} for row in ROWS]
    charge(ledger, 1, dataset=data_set(tmp_path, BY_PERSON, rows))
    other = data_set(tmp_path, BY_PERSON.model_copy(update=AS_OTHER_PERSONS[way]), rows)
    assert not set(other.members) & set(data_set(tmp_path, BY_PERSON, rows).members)
    assert ledger.spent(other, DELTA) == pytest.approx(composed(1))


def test_persons_that_an_earlier_version_charged_are_known_by_their_rows(tmp_path):
    """It kept rows beside the texts, and not among the members."""
    known = KeyedMembers.of(data_set(tmp_path, BY_PERSON), KEY)
    plain = KeyedMembers.of(replace(data_set(tmp_path, BY_PERSON), rows=()), KEY)
    other = KeyedMembers.of(data_set(tmp_path, BY_PERSON.model_copy(update={"person_field": "id"})), KEY)
    earlier = KeyedMembers("person", plain.members, known.records)
    assert earlier.overlaps(other)
    assert other.overlaps(earlier)


@pytest.mark.parametrize("by_person", [False, True])
@pytest.mark.parametrize("before", ["no rows", "other rows"])
def test_rows_that_a_known_data_set_is_charged_with_later_are_known_from_then_on(ledger, tmp_path, by_person, before):
    section = BY_PERSON if by_person else PLAIN
    known = data_set(tmp_path, section)
    charge(ledger, 1, dataset=replace(known, rows=tuple(bytes([n]) * 32 for n in range(12) if before != "no rows")))
    for number in (2, 3):
        charge(ledger, number, dataset=known)
    ledger.verify()
    update = {"prompt_field": "kind", "response_field": "note", "person_field": "id" if by_person else None}
    other = data_set(tmp_path, section.model_copy(update=update))
    # By the rows it is the data of the last two rounds, which is that of the first.
    assert ledger.spent(other, DELTA) == pytest.approx(composed(2))
    assert ledger.spent(known, DELTA) == pytest.approx(composed(3))
    assert charge(ledger, 4, dataset=other).epsilon_after == pytest.approx(composed(3))
    assert ledger.spent(known, DELTA) == pytest.approx(composed(4))


def test_a_ledger_that_was_begun_before_it_knew_rows_knows_the_data_again(ledger, tmp_path):
    known = data_set(tmp_path, PLAIN)
    charge(ledger, 1, dataset=replace(known, rows=()))
    assert charge(ledger, 2, dataset=known).epsilon_after == pytest.approx(composed(2))
    before, now = ledger.datasets()  # which are one data set: what is charged to either counts against both
    assert before.overlaps == now.overlaps == {before.id, now.id}


def test_a_file_that_has_got_another_column_is_the_same_data(ledger, tmp_path):
    known = data_set(tmp_path, PLAIN)
    charge(ledger, 1, dataset=known)
    wider = data_set(tmp_path, PLAIN, [{**row, "ward": 7} for row in ROWS])
    assert wider.rows != known.rows
    assert charge(ledger, 2, dataset=wider).epsilon_after == pytest.approx(composed(2))


@pytest.mark.parametrize("by_person", [False, True])
def test_another_s_members_under_a_known_name_are_refused(ledger, tmp_path, by_person):
    section = PLAIN.model_copy(update={"person_field": "patient" if by_person else None})
    known = data_set(tmp_path, section)
    charge(ledger, 1, dataset=known)
    members, others = (*known.members[1:], bytes(32)), (*known.records[1:], bytes(32))
    forgeries = [replace(known, members=members, records=others if by_person else members)]
    if by_person:
        forgeries += [replace(known, members=members), replace(known, records=others)]
    for forged in forgeries:
        with pytest.raises(BudgetError, match="with other members"):
            charge(ledger, 2, dataset=forged)


def test_rows_of_persons_are_overlap_with_rows_that_were_charged_alone(ledger, tmp_path):
    charge(ledger, 1, dataset=data_set(tmp_path, PLAIN))
    by_person = data_set(tmp_path, WAYS["classes"].model_copy(update={"person_field": "patient"}))
    with pytest.raises(BudgetError, match="cannot be composed"):
        charge(ledger, 2, dataset=by_person)


def test_a_row_is_its_values_but_for_the_part_it_is_in():
    row = {"a": 1, "b": ["x", {"c": None}], "split": "train", "d": None}
    assert digest_of_row(row) == digest_of_row({"z": ["x", {"c": None}], "a": 1, "part": "heldout"})
    assert digest_of_row(row) != digest_of_row({**row, "a": "1"})
    assert digest_of_row(row) != digest_of_row({**row, "d": 0})
    assert digest_of_row(row) != digest_of_row({**row, "split": "else"})
    assert digest_of_row({"a": "\ud800"}) != digest_of_row({"a": "\ud801"})
    assert digest_of_row({"a": 1}).hex() == "dfdd666fba2b1a26244f97341f9909dbd0b5e182d5fb1bd210839ff316f8dfa5"
