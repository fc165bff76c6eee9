"""Directories that the real `datasets` library saves."""

from __future__ import annotations

import pytest

from sealora_client.data.formats.choice import file_kind
from sealora_client.data.formats.saved_dataset import files_of_dataset
from sealora_common.errors import DataError

datasets = pytest.importorskip("datasets")
ROWS = [{"prompt": f"p{number}", "response": "r", "label": number % 2} for number in range(700)]


@pytest.fixture
def made():
    labelled = datasets.ClassLabel(names=["benign", "malign"])
    text = datasets.Value("string")
    features = datasets.Features({"prompt": text, "response": text, "label": labelled})
    return datasets.Dataset.from_list(ROWS, features=features)


def test_rows_of_all_its_files_are_counted_through_and_classes_have_their_names(made, tmp_path):
    path = tmp_path / "set"
    made.save_to_disk(path, num_shards=3)
    rows = list(file_kind(path).rows(path))
    assert [row.fields["prompt"] for row in rows] == [row["prompt"] for row in ROWS]
    assert [row.fields["label"] for row in rows[:3]] == ["benign", "malign", "benign"]
    assert [row.line for row in rows] == list(range(1, 701))
    assert rows[699].place == f"{path}, row 700"
    assert len([file for file in files_of_dataset(path) if file.suffix == ".arrow"]) == 3


def test_classes_have_their_names_in_parquet_too(made, tmp_path):
    path = tmp_path / "a.parquet"
    made.to_parquet(path)
    assert [row.fields["label"] for row in file_kind(path).rows(path)][:2] == ["benign", "malign"]


def test_messages_come_as_lists_of_objects(tmp_path):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    datasets.Dataset.from_list([{"messages": turns}]).save_to_disk(tmp_path / "set")
    (row,) = file_kind(tmp_path / "set").rows(tmp_path / "set")
    assert row.fields["messages"] == turns


def test_a_dictionary_of_several_is_refused_with_its_parts(made, tmp_path):
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "sets")
    with pytest.raises(DataError, match=r"holds several data sets \(train, test\)"):
        list(file_kind(tmp_path / "sets").rows(tmp_path / "sets"))
    assert len(list(file_kind(tmp_path / "sets" / "test").rows(tmp_path / "sets" / "test"))) == 700
