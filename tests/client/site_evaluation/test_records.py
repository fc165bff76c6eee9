"""Which records are evaluated, and what a column says of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sealora_client.site_evaluation import records as module
from sealora_client.site_evaluation.records import records_to_evaluate, values_of
from sealora_common.errors import DataError
from sealora_common.recipe import parse_recipe

from kept_site import questions, write_records

TRAINED: dict[str, object] = {"prompt": "Train?", "response": "Yes.", "split": "train"}
RECIPE = parse_recipe("name: test\nrounds: 2\nmodel: {base: some/model}\n")


@pytest.fixture
def own(tmp_path) -> Path:
    lines = [*questions(12, sex=["f", "m", None, " f "]), TRAINED | {"sex": "t"}]
    return write_records(tmp_path / "own.jsonl", lines)


def test_held_out_records_are_those_that_evaluations_measure(own) -> None:
    found = records_to_evaluate(own, RECIPE, columns=["sex"])
    assert (found.source, len(found.records), found.trained_on) == ("held-out records", 12, 0)
    assert found.columns["sex"] == ["f", "m", "(none)", "f"] * 3
    fewer = RECIPE.model_copy(update={"data": RECIPE.data.model_copy(update={"heldout_limit": 5})})
    assert len(records_to_evaluate(own, fewer).records) == 5


def test_a_newer_file_is_evaluated_whole_and_what_was_trained_on_is_counted(own, tmp_path) -> None:
    lines = [*questions(3, split="train", age=[41, 52.5, True]), TRAINED | {"split": "elsewhere", "age": {"years": 3}}]
    newer = write_records(tmp_path / "newer.jsonl", lines)
    found = records_to_evaluate(own, RECIPE, newer)
    assert (found.source, len(found.records), found.trained_on) == ("all records of newer.jsonl", 4, 1)
    with pytest.raises(DataError, match='line 4: the field "age" holds several values'):
        records_to_evaluate(own, RECIPE, newer, ["age"])
    write_records(newer, lines[:3])
    assert records_to_evaluate(own, RECIPE, newer, ["age"]).columns["age"] == ["41", "52.5", "true"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "has no records"),
        ([{"prompt": "What?"}], "is missing"),
    ],
)
def test_a_newer_file_that_is_no_good_is_refused(own, tmp_path, lines, said) -> None:
    newer = write_records(tmp_path / "newer.jsonl", lines)
    with pytest.raises(DataError, match=said):
        records_to_evaluate(own, RECIPE, newer)
    with pytest.raises(DataError, match=r"none\.jsonl"):
        records_to_evaluate(own, RECIPE, tmp_path / "none.jsonl")


def test_a_column_that_is_not_there_is_refused_with_those_that_are(own) -> None:
    with pytest.raises(DataError, match='no record has a field "gender": name one of prompt, response, sex, split'):
        records_to_evaluate(own, RECIPE, columns=["gender"])


def test_a_column_of_as_many_values_as_records_is_no_grouping(tmp_path) -> None:
    lines = [*questions(60, number=list(range(60))), TRAINED]
    own = write_records(tmp_path / "own.jsonl", lines)
    with pytest.raises(DataError, match='the field "number" has 60 values, and more than 50 are no groups'):
        records_to_evaluate(own, RECIPE, columns=["number"])


def test_data_that_change_while_they_are_read_are_refused(own, monkeypatch) -> None:
    records = records_to_evaluate(own, RECIPE).records
    lines = own.read_text().splitlines()
    own.write_text("\n".join(lines[1:]) + "\n")
    with pytest.raises(DataError, match="has changed while it was read"):
        values_of(own, "sex", records)
    own.write_text("\n".join([json.dumps(json.loads(lines[0]) | {"sex": "x"}), *lines[1:]]) + "\n")
    with pytest.raises(DataError, match="has changed while it was read"):
        values_of(own, "sex", records)
    own.write_text("\n".join(lines[:5]) + "\n")
    with pytest.raises(DataError, match="has changed while it was read"):
        values_of(own, "sex", records)
    own.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(module, "MOST_VALUES", 3)
    assert values_of(own, "sex", records)[:2] == ["f", "m"]
