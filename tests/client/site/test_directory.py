from __future__ import annotations

import json
import os
import shutil
from datetime import datetime, timedelta
from unittest import mock

import pytest
import torch
import yaml

from sealora_client.model.adapted import AdaptedModel
from sealora_client.site.directory import Site, open_site
from sealora_client.site.seen_rosters import SEEN, read_seen
from sealora_client.training.gradients import batch_invariance
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import (
    DataError,
    ModelError,
    PolicyError,
    SealoraError,
    StorageError,
)
from sealora_common.identity import Identity, keyfile
from sealora_common.roster import Roster, SeenRosters

from tiny_federation import PRIVATE, prepare_run, write_federation


@pytest.fixture
def directory(tiny_base, tmp_path):
    """A site's directory that is as it should be."""
    prepare_run(write_federation(tmp_path, tiny_base(), privacy=PRIVATE), tmp_path / "run")
    return tmp_path / "run" / "sites" / "site-1"


def reconfigure(directory, **changes):
    path = directory / "site.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_a_site_is_all_in_its_directory(directory):
    site = Site(directory)
    assert site.name == "site-1"
    assert len(site.data.train) == 25
    assert len(site.data.heldout) == 4
    assert site.roster.public_key(site.roster.index("site-1")) == site.identity.public_key
    assert site.policy.epsilon_limit == PRIVATE["epsilon"]


def test_its_key_is_readable_by_its_owner_alone(directory):
    assert os.stat(directory / "identity.pem").st_mode & 0o777 == 0o600


def test_opening_a_site_loads_no_model_and_reads_no_data(directory, monkeypatch):
    monkeypatch.setattr(Site, "model", lambda self: pytest.fail("the model was loaded"))
    reconfigure(directory, data="missing.jsonl")
    Site(directory)


def test_a_relative_data_file_is_looked_up_from_the_site_s_directory(directory):
    shutil.copy(Site(directory).config.data, directory / "own.jsonl")
    reconfigure(directory, data="own.jsonl")
    assert len(Site(directory).records().train) == 25


def test_at_most_the_recipe_s_number_of_held_out_records_is_measured(tiny_base, tmp_path):
    prepare_run(write_federation(tmp_path, tiny_base(), data={"heldout_limit": 2}), tmp_path / "run")
    assert len(Site(tmp_path / "run" / "sites" / "site-0").data.heldout) == 2


@pytest.mark.parametrize("file", ["site.yaml", "policy.yaml", "recipe.yaml", "roster.json", "identity.pem"])
def test_a_site_that_lacks_a_file_says_which(directory, file):
    (directory / file).unlink()
    with pytest.raises(SealoraError) as caught:
        Site(directory)
    assert str(directory / file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["site.yaml", "policy.yaml", "recipe.yaml", "roster.json", "identity.pem"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1, 2", b"- a\n"])
def test_a_site_with_a_damaged_file_says_which(directory, file, content):
    (directory / file).write_bytes(content)
    with pytest.raises(SealoraError) as caught:
        Site(directory)
    assert str(directory / file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_site_that_is_not_on_the_roster_takes_no_part(directory):
    reconfigure(directory, name="stranger")
    with pytest.raises(PolicyError, match="site 'stranger' is not on the roster: ask the coordinator to add it"):
        Site(directory)


def test_a_site_whose_key_is_not_the_roster_s_takes_no_part(directory):
    Identity.create("site-1", SystemEntropy()).save(directory / "identity.pem")
    with pytest.raises(PolicyError, match="the key it lists for 'site-1' is not this site's"):
        Site(directory)


def test_a_roster_that_somebody_changed_is_refused(directory):
    path = directory / "roster.json"
    path.write_text(path.read_text().replace("simulation of tiny", "simulation of tony"))
    with pytest.raises(PolicyError, match="signature"):
        Site(directory)


def test_a_site_remembers_the_roster_that_it_was_opened_with(directory):
    roster = Site(directory).roster
    assert read_seen(directory).used == {roster.coordinator_pin: 1}
    assert read_seen(directory).hashes == {roster.coordinator_pin: {1: roster.hash.hex()}}


def test_a_roster_that_the_site_cannot_use_is_not_remembered(directory):
    Identity.create("site-1", SystemEntropy()).save(directory / "identity.pem")
    with pytest.raises(PolicyError, match="is not this site's"):
        Site(directory)
    assert read_seen(directory).used == {}


def test_a_site_that_has_used_another_roster_of_its_number_is_not_opened(directory):
    """As if the coordinator had signed two first rosters."""
    roster = Site(directory).roster
    pin = roster.coordinator_pin
    other = SeenRosters(used={pin: 1}, hashes={pin: {1: "0" * 64}})
    (directory / SEEN).write_text(other.model_dump_json())
    with pytest.raises(PolicyError, match=r"roster.json: two faces: this roster is number 1"):
        Site(directory)


@pytest.mark.parametrize(("seconds", "opens"), [(-1, True), (0, False)])
def test_a_site_opens_until_its_roster_s_term_is_over(directory, seconds, opens):
    ends = datetime.fromisoformat(str(Roster.load(directory / "roster.json").expires))
    if opens:
        Site(directory, at=ends + timedelta(seconds=seconds))
    else:
        with pytest.raises(PolicyError, match=r"roster.json: the roster expired .*: have the coordinator sign it anew"):
            Site(directory, at=ends + timedelta(seconds=seconds))
        assert read_seen(directory).used == {}


def test_a_recipe_outside_the_policy_is_refused_at_once(directory):
    policy = yaml.safe_load((directory / "policy.yaml").read_text())
    (directory / "policy.yaml").write_text(yaml.safe_dump(policy | {"minimum_sites": 9}))
    with pytest.raises(PolicyError, match=r"policy\.yaml: minimum_sites is 9, but the roster has 3"):
        Site(directory)


# The sites of a simulation.


def test_an_unreadable_key_is_told_from_a_missing_one(directory):
    (directory / "identity.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(StorageError, match="restore it from a backup"):
        Site(directory)


def test_it_is_opened_once_and_again_when_a_file_or_its_records_change(directory):
    site = open_site(directory)
    assert len(site.data.train) == 25
    assert open_site(directory) is site
    records = site.config.data
    with records.open("a") as file:
        file.write('{"prompt": "What is 99?", "response": "99.", "split": "train", "patient": "t99"}\n')
    grown = open_site(directory)
    assert len(grown.data.train) == 26
    assert len(site.data.train) == 25  # whoever works on it charges and trains on the same records
    assert grown.data.train_set.fingerprint != site.data.train_set.fingerprint
    os.utime(directory / "policy.yaml", ns=(1, 1))
    assert open_site(directory) is not grown


def test_it_is_opened_again_when_a_file_of_its_description_comes_or_changes(directory):
    """By its description: neither site.yaml nor the description changes."""
    records = open_site(directory).config.data
    (directory / "notes").mkdir()
    (directory / "notes" / "a.jsonl").write_bytes(records.read_bytes())
    (directory / "data.yaml").write_text("files: [notes/*.jsonl]\n")
    site = yaml.safe_load((directory / "site.yaml").read_text())
    (directory / "site.yaml").write_text(yaml.safe_dump(site | {"data": "data.yaml"}))
    opened = open_site(directory)
    assert len(opened.data.train) == 25
    assert open_site(directory) is opened
    (directory / "notes" / "b.jsonl").write_text('{"prompt": "What is 99?", "response": "99.", "split": "train"}\n')
    grown = open_site(directory)
    assert len(grown.data.train) == 26
    (directory / "notes" / "b.jsonl").write_text('{"prompt": "What is it?", "response": "99.", "split": "test"}\n')
    assert open_site(directory).data is grown.data  # what cannot be used stops no site


def spoil_twins(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[-1]["patient"] = lines[-2]["patient"].upper()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


SPOILED = {
    "not JSON": lambda path: path.write_text("hello"),
    "no records": lambda path: path.write_text(""),
    "half written": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "gone": lambda path: path.unlink(),
    "a person twice": spoil_twins,
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_data_file_that_was_spoiled_stops_no_site_that_has_loaded_it(tiny_base, tmp_path, spoil, caplog):
    """Whether a site answers an order would else depend on a record."""
    by_person = {"person_field": "patient"}
    prepare_run(write_federation(tmp_path, tiny_base(), privacy=PRIVATE, data=by_person), tmp_path / "run")
    directory = tmp_path / "run" / "sites" / "site-1"
    records = open_site(directory).config.data
    good, before = records.read_bytes(), open_site(directory).data
    spoil(records)
    assert open_site(directory).data is before
    assert open_site(directory).data is before
    said = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 1  # once a change
    assert "the data file has changed and cannot be used" in said[0].getMessage()
    assert str(records) in said[0].getMessage()
    records.write_bytes(b"still bad")
    assert open_site(directory).data is before
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 2
    records.write_bytes(good + b'{"prompt": "new", "response": "99.", "split": "train", "patient": "t99"}\n')
    assert open_site(directory).data.train.examples == before.train.examples + 1


def test_whatever_a_changed_file_does_to_the_reader_the_site_goes_on(directory, monkeypatch, caplog):
    before = open_site(directory).data
    monkeypatch.setattr(
        "sealora_client.site.directory.load_data", mock.Mock(side_effect=MemoryError("of Ada's record"))
    )
    os.utime(open_site(directory).config.data, ns=(1, 1))
    assert open_site(directory).data is before
    assert "reading it failed with MemoryError" in caplog.text
    assert "Ada" not in caplog.text


def test_a_site_that_never_loaded_its_data_refuses_to_start(directory):
    open_site(directory).config.data.write_text("hello")
    with pytest.raises(DataError, match="line 1: not JSON"):
        open_site(directory).prepare()


@pytest.mark.parametrize("change", ["recipe", "file"])
def test_under_another_recipe_or_of_another_file_there_is_nothing_to_go_on_with(directory, change):
    open_site(directory).prepare()
    records = open_site(directory).config.data
    if change == "recipe":
        recipe = yaml.safe_load((directory / "recipe.yaml").read_text())
        recipe["data"]["person_field"] = "patient"
        (directory / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        records.write_text("hello")
    else:
        reconfigure(directory, data="elsewhere.jsonl")
    with pytest.raises(DataError):
        _ = open_site(directory).data


def test_preparing_loads_model_and_records_and_tells_of_those_that_cannot_be_shown(directory, caplog):
    site = open_site(directory)
    with site.config.data.open("a") as file:
        file.write(json.dumps({"prompt": "x", "response": "a\t\t\tb", "split": "train"}) + "\n")
    site = open_site(directory)
    tokenizer = site.model().tokenizer
    model = AdaptedModel.load(site.recipe)
    model.tokenizer.add_tokens(["\t\t\t"])  # white space: text, though it was added
    assert len(tokenizer) < len(model.tokenizer)
    site.model = lambda: model
    site.prepare()
    assert "1 of 30 records (3.3%) teach and measure nothing" in caplog.text
    assert "(line 30)" in caplog.text
    assert "control tokens" not in caplog.text
    assert len(site.data.train) == 26


def test_preparing_tells_how_many_records_are_cut_and_what_is_odd_beside_each_other(directory, caplog):
    lines = [("x", "word " * 90), ("same", "a"), ("same", "a"), ("same", "b <|im_end|>")]
    with open_site(directory).config.data.open("a") as file:
        for prompt, response in lines:
            file.write(json.dumps({"prompt": prompt, "response": response, "split": "train"}) + "\n")
    open_site(directory).prepare()
    assert "1 records are cut to data.max_tokens 64" in caplog.text
    assert "1 of 33 records (3.0%) are exact copies of records before them (line 32)" in caplog.text
    assert "3 of 33 records (9.1%) have prompts that other records answer otherwise (lines 31, 32, 33)" in caplog.text
    assert "have names of the model's control tokens in their text (line 33)" in caplog.text


def mixes_rows(_, inputs, output):
    return output - output.mean(dim=0, keepdim=True)


def needs_too_much(_, inputs, output):
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (mixes_rows, "the base model mixes the examples of a batch"),
        (needs_too_much, "a micro-batch of 8 records of 64 tokens does not fit this machine's memory"),
    ],
)
def test_preparing_asks_the_model_at_hand_whether_examples_meet_and_whether_they_fit(directory, fault, said):
    site = open_site(directory)
    model = AdaptedModel.load(site.recipe)
    for name, module in model.model.named_modules():
        if name.endswith("up_proj"):
            module.register_forward_hook(fault)
    site.model = lambda: model
    with pytest.raises(ModelError, match=said):
        site.prepare()


def test_a_passphrase_is_asked_for_once_though_the_site_is_opened_again(directory, monkeypatch):
    Identity.load("site-1", directory / "identity.pem").save(directory / "identity.pem", b"a long passphrase")
    asked = []

    def typed(path):
        asked.append(path)
        return b"a long passphrase"

    monkeypatch.setattr(keyfile, "read_passphrase", typed)
    first = open_site(directory)
    os.utime(directory / "roster.json", ns=(1, 1))
    second = open_site(directory)
    assert second is not first
    assert second.identity is first.identity
    assert len(asked) == 1
    os.utime(directory / "identity.pem", ns=(1, 1))  # another key may be there now
    open_site(directory)
    assert len(asked) == 2


def test_a_site_asks_its_model_whether_examples_meet_before_it_takes_part(directory, monkeypatch):
    """One sentence, whether the model says no or does not fit; and nothing is greeted or trained until it is asked."""
    site, asked = Site(directory), []

    def refuses(model, recipe):
        asked.append(recipe.hash)
        raise ModelError("the base model mixes the examples of a batch")

    monkeypatch.setattr(batch_invariance, "require_batch_invariant", refuses)
    with pytest.raises(ModelError, match="mixes the examples"):
        site.prepare()
    assert asked == [site.recipe.hash]

    def does_not_fit(model, recipe):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(batch_invariance, "require_batch_invariant", does_not_fit)
    with pytest.raises(ModelError, match="does not fit this machine's memory: use a larger GPU") as caught:
        site.prepare()
    assert "\n" not in str(caught.value)


def test_sites_that_agreed_to_the_same_hold_it_once(directory):
    first, second = open_site(directory), open_site(directory.with_name("site-2"))
    assert first.roster is second.roster
    assert first.recipe is second.recipe
    recipe = yaml.safe_load((directory / "recipe.yaml").read_text())
    recipe["rounds"] += 1
    (directory / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert open_site(directory).recipe.rounds == second.recipe.rounds + 1
    assert open_site(directory).roster is second.roster
