from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from safetensors import safe_open

from sealora_common.errors import ModelError, StorageError
from sealora_common.receipts.receipt import Receipt, chain_to_bytes
from sealora_common.records.events import EvaluationFinished, RunFinished
from sealora_server.run.store import RunStore
from sealora_server.run.stored.records import EvaluationRecord, RunResult

from lora_kinds import lora
from pure_sites import LAYOUT, pure_recipe
from quorum import Consortium

RECIPE = pure_recipe(lora={"rank": 2, "alpha": 6.0, "seed": 3})


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore.create(tmp_path / "run", RECIPE)


def receipt(store: RunStore, number: int) -> Receipt:
    consortium = Consortium(recipe_hash=RECIPE.hash)
    consortium.server = store.server_identity()
    before = store.receipts()
    return consortium.receipt(consortium.order(before, run=store.run_id, round_number=number))


def finish(store: RunStore, number: int, **changes):
    tensors = {name: value + number for name, value in lora(seed=3).initial(LAYOUT).items()}
    values = {
        "tensors": tensors,
        "optimizer": {},
        "receipt": receipt(store, number),
        "attempt": 1,
        "survivors": ("a", "b", "c"),
        "heldout_loss": 2.5,
        "clipped_fraction": 0.0,
        "next_clip_range": 0.5,
        "next_clip_norm": 1.0,
        "seconds": 1.0,
    }
    return store.finish_round(number, **(values | changes))


def test_what_was_created_opens_again(store):
    opened = RunStore.open(store.directory)
    assert (opened.run_id, opened.recipe) == (store.run_id, store.recipe)
    assert opened.finished_rounds == 0


def test_runs_have_names_of_their_own(tmp_path):
    assert RunStore.create(tmp_path / "a", RECIPE).run_id != RunStore.create(tmp_path / "b", RECIPE).run_id


def test_a_directory_with_a_run_is_not_overwritten(store):
    with pytest.raises(StorageError, match="holds a run already: choose another --out, add --resume"):
        RunStore.create(store.directory, RECIPE)


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"run_id": "x", "recipe_hash": "y"}', b"\xff\xfe"])
def test_there_is_nothing_to_resume_without_a_whole_run_file(tmp_path, content):
    (tmp_path / "run").mkdir()
    if content is not None:
        (tmp_path / "run" / "run.json").write_bytes(content)
    said = "holds no run to resume" if content is None else r"run/run\.json: cannot be read \(.*\): restore it from a"
    with pytest.raises(StorageError, match=said):
        RunStore.open(tmp_path / "run")


def test_a_changed_recipe_is_noticed(store):
    path = store.directory / "recipe.yaml"
    path.write_text(path.read_text().replace("alpha: 6.0", "alpha: 7.0"))
    with pytest.raises(StorageError, match="was changed since the run began"):
        RunStore.open(store.directory)


def test_a_finished_round_is_there_whole(store):
    record = finish(store, 1, optimizer={"momentum": np.arange(3.0)[::-1]})
    again = RunStore.open(store.directory)
    assert again.finished_rounds == 1
    assert again.record(1) == record
    assert (record.survivors, record.heldout_loss, record.attempt) == (("a", "b", "c"), 2.5, 1)
    np.testing.assert_array_equal(again.optimizer(1)["momentum"], [2.0, 1.0, 0.0])
    for name, value in again.adapter(1, LAYOUT).items():
        np.testing.assert_array_equal(value, lora(seed=3).initial(LAYOUT)[name] + 1)
    weights = store.directory / "rounds" / "0001" / "adapter" / "adapter_model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == record.adapter_sha256


def test_the_receipts_of_finished_rounds_are_kept_with_them(store):
    finish(store, 1)
    finish(store, 2)
    receipts = RunStore.open(store.directory).receipts()
    assert [receipt.round_number for receipt in receipts] == [1, 2]
    assert all(receipt.is_signed_by(store.server_identity().public_key) for receipt in receipts)


@pytest.mark.parametrize("damage", ["as it was", "no file", "a line short", "torn", "a line too many", "nonsense"])
def test_the_file_of_receipts_says_what_the_finished_rounds_say_whenever_the_server_was_killed(store, damage):
    for number in (1, 2, 3):
        finish(store, number)
    chain, path = store.receipts(), store.directory / "receipts.jsonl"
    whole = path.read_bytes()
    assert whole == chain_to_bytes(chain)
    damaged = {
        "as it was": whole,
        "a line short": chain_to_bytes(chain[:2]),
        "torn": whole[:-9],
        "a line too many": whole + receipt(store, 4).to_line() + b"\n",
        "nonsense": b"nonsense\n",
    }
    if damage == "no file":
        path.unlink()
    else:
        path.write_bytes(damaged[damage])
    assert list(RunStore.open(store.directory).mended_receipts()) == chain
    assert path.read_bytes() == whole


def test_before_the_first_round_there_is_the_recipe_s_initial_adapter(store):
    for name, value in store.adapter(0, LAYOUT).items():
        np.testing.assert_array_equal(value, lora(seed=3).initial(LAYOUT)[name])
    assert store.optimizer(0) == {}


def test_rounds_count_up_to_the_first_gap(store):
    for number in (1, 2, 4):
        finish(store, number)
    assert store.finished_rounds == 2


def test_a_half_written_round_does_not_count_and_does_no_harm(store):
    aside = store.directory / "rounds" / ".0001.unfinished" / "adapter"
    aside.mkdir(parents=True)
    (aside / "adapter_model.safetensors").write_bytes(b"half")
    assert store.finished_rounds == 0
    finish(store, 1)
    assert [path.name for path in (store.directory / "rounds").iterdir()] == ["0001"]
    assert store.adapter(1, LAYOUT)


def test_a_finished_round_is_never_replaced(store):
    finish(store, 1)
    with pytest.raises(StorageError):
        finish(store, 1, heldout_loss=9.0)
    assert store.record(1).heldout_loss == 2.5


def test_damaged_files_are_named(store):
    finish(store, 1, optimizer={"momentum": np.zeros(2)})
    directory = store.directory / "rounds" / "0001"
    (directory / "round.json").write_text("{")
    with pytest.raises(StorageError, match=r"round\.json: cannot be read: restore it, or delete its round"):
        store.record(1)
    (directory / "optimizer.safetensors").write_bytes(b"\x01")
    with pytest.raises(StorageError, match=r"optimizer\.safetensors: cannot be read"):
        store.optimizer(1)
    (directory / "adapter" / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors: cannot be read"):
        store.adapter(1, LAYOUT)


EVALUATION = EvaluationRecord(heldout_loss=1.25, survivors=("a", "b", "c"))


def test_the_final_evaluation_is_kept_and_counts_before_the_log_tells_it(store):
    assert store.evaluation is None
    store.finish_evaluation(EVALUATION)
    assert RunStore.open(store.directory).evaluation == EVALUATION
    store.events.write(EvaluationFinished(heldout_loss=9.0, survivors=("a",)))
    assert store.evaluation == EVALUATION


def test_the_final_evaluation_of_an_older_run_directory_is_in_its_log(store):
    for loss in (3.0, 1.25):
        store.events.write(EvaluationFinished(heldout_loss=loss, survivors=EVALUATION.survivors))
    assert store.evaluation == EVALUATION


def test_a_damaged_evaluation_is_named_rather_than_paid_for_again(store):
    (store.directory / "evaluation.json").write_text("{")
    with pytest.raises(StorageError, match=r"evaluation\.json: cannot be read: restore it, or delete it and resume"):
        store.evaluation  # noqa: B018 (it is read)


def test_a_run_is_finished_once_that_is_stored_or_once_an_older_one_s_log_told_it(store):
    assert not store.is_finished
    store.finish(RunResult(adapter_sha256="x", heldout_loss_before=None, heldout_loss_after=1.25))
    assert RunStore.open(store.directory).is_finished
    (store.directory / "result.json").unlink()
    assert not store.is_finished
    store.events.write(RunFinished(seconds=1, heldout_loss_before=None, heldout_loss_after=1.0, adapter_sha256="x"))
    assert store.is_finished


def test_the_published_adapter_is_plain_peft(store):
    tensors = lora(seed=3).initial(LAYOUT)
    digest = store.publish(tensors)
    weights = store.directory / "adapter" / "adapter_model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == digest
    with safe_open(weights, framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}
        assert set(file.keys()) == set(LAYOUT.names)
    configuration = json.loads((store.directory / "adapter" / "adapter_config.json").read_text())
    assert configuration["peft_type"] == "LORA"
    assert (configuration["r"], configuration["lora_alpha"]) == (2, 6.0)
    assert configuration["target_modules"] == ["layers.0.q_proj"]
