"""A description: several files under the recipe's names."""

from __future__ import annotations

import json
import os

import pytest
import yaml

from sealora_client.data.record import Record
from sealora_client.data.records import read_records
from sealora_client.data.source.places import Places
from sealora_client.data.source.rows import files_of, source_rows
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

from data_writers import GOOD, HELDOUT, TRAIN, as_parquet, lines


def describe(directory, **description):
    path = directory / "data.yaml"
    path.write_text(yaml.safe_dump(description))
    return path


def rows(path):
    def refuse(error):
        raise error

    return list(source_rows(path, Places(str(path)), refuse))


def test_files_of_several_kinds_are_one_data_set(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "a.jsonl").write_bytes(lines(TRAIN))
    as_parquet([HELDOUT])(tmp_path / "more" / "b.parquet")
    (tmp_path / "more" / "c.csv").write_text("prompt,response,split\nx,y,train\n")
    split = read_records(describe(tmp_path, files=["a.jsonl", "**/*.parquet", "more/*.csv"]), DataSection())
    assert split.train == [Record("p", "r"), Record("x", "y")]
    assert split.heldout == [Record("q", "r")]
    assert [record.line for record in split.train] == [1, 4]
    assert split.places.of(1, 4) == f"{tmp_path / 'a.jsonl'}, line 1 and {tmp_path / 'more' / 'c.csv'}, line 2"


def test_the_same_records_have_the_same_parts_and_names_from_one_file_or_from_several(tmp_path):
    many = [{"prompt": f"p{number}", "response": "r"} for number in range(60)]
    (tmp_path / "all.jsonl").write_bytes(lines(*many))
    (tmp_path / "one.json").write_text(json.dumps(many[:30]))
    as_parquet(many[30:])(tmp_path / "two.parquet")
    one = read_records(tmp_path / "all.jsonl", DataSection())
    several = read_records(describe(tmp_path, files=["one.json", "two.parquet"]), DataSection())
    assert (one.train, one.heldout) == (several.train, several.heldout)


def test_columns_get_the_recipe_s_names_and_files_their_constants(tmp_path):
    (tmp_path / "a.csv").write_text("question|answer|prompt\nq|a|other\n")
    (tmp_path / "b.csv").write_text("question|answer|prompt\nq2|a2|other\n")
    path = describe(
        tmp_path,
        files=[{"path": "a.csv", "delimiter": "|", "constants": {"split": "train"}}, "b.csv"],
        fields={"prompt": "question", "response": "answer"},
        constants={"task": "triage"},
    )
    assert [row.fields for row in rows(path)] == [
        {"prompt": "q", "response": "a", "split": "train", "task": "triage"},
        {"prompt": "q2", "response": "a2", "task": "triage"},
    ]


def test_names_can_be_exchanged(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines({"prompt": 1, "response": 2}))
    path = describe(tmp_path, files=["a.jsonl"], fields={"prompt": "response", "response": "prompt"})
    assert [row.fields for row in rows(path)] == [{"prompt": 2, "response": 1}]


def test_a_column_can_hold_json(tmp_path):
    (tmp_path / "a.csv").write_text('m\n"[{""role"": ""user""}]"\n\n')
    path = describe(tmp_path, files=["a.csv"], fields={"messages": "m"}, json_fields=["messages"])
    assert [row.fields for row in rows(path)] == [{"messages": [{"role": "user"}]}]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    (tmp_path / "a[1].jsonl").write_bytes(lines(*GOOD))
    (tmp_path / "a1.jsonl").write_bytes(lines(TRAIN))
    assert len(rows(describe(tmp_path, files=["a[1].jsonl"]))) == 2


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ({"files": ["a"], "constants": {"prompt": "x"}, "fields": {"prompt": "y"}}, "is in fields and in constants"),
        ({"files": ["a"], "fields": {"prompt": "y", "response": "y"}}, "fields names the column y for two fields"),
        ({"files": [{"path": "a", "delimiter": ",,"}]}, "files.0.delimiter: ',,' will not do"),
        ({"files": [3]}, "files.0"),
        ({"sql": {"query": "SELECT 1", "url": "sqlite:///a", "url_env": "B"}}, "url or in url_env, one of the two"),
    ],
)
def test_a_description_that_says_too_much_or_nonsense_is_refused(tmp_path, description, said):
    with pytest.raises(DataError) as raised:
        rows(describe(tmp_path, **description))
    assert said in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "data.yaml"))


def test_the_files_that_change_with_the_data_are_all_of_them(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines(*GOOD))
    path = describe(tmp_path, files=["*.jsonl", "gone.csv"])
    assert files_of(path) == [path, tmp_path / "a.jsonl", tmp_path / "gone.csv"]
    (tmp_path / "b.jsonl").write_bytes(lines(TRAIN))
    assert tmp_path / "b.jsonl" in files_of(path)
    assert files_of(tmp_path / "a.jsonl") == [tmp_path / "a.jsonl"]
    path.write_text("files: [")
    assert files_of(path) == [path]
    os.mkfifo(tmp_path / "pipe")
    assert files_of(tmp_path / "pipe") == [tmp_path / "pipe"]


def test_a_record_is_known_again_however_its_file_is_described(tmp_path):
    """Or a description would give it a new budget."""
    (tmp_path / "a.csv").write_text("question,answer,m,part\nq,a,[1],train\nq2,a2,[2],heldout\n")
    names = {"prompt": "question", "response": "answer", "split": "part"}
    plain = DataSection(prompt_field="question", response_field="answer", split_field="part")
    descriptions = [
        {"fields": names},
        {"fields": names, "constants": {"task": "triage"}},
        {"fields": names, "json_fields": ["m"]},
    ]
    found = [read_records(tmp_path / "a.csv", plain)]
    found += [read_records(describe(tmp_path, files=["a.csv"], **each), DataSection()) for each in descriptions]
    rows = [[record.row for record in (*split.train, *split.heldout)] for split in found]
    assert all(row == rows[0] for row in rows)
    assert len(set(rows[0])) == 2
