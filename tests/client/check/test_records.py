"""The records, the budget and the keys."""

from __future__ import annotations

import json

import pytest
from enrolled_site import EnrolledSite

from sealora_client.model.adapted import adapted_model
from sealora_client.site.directory import Site
from sealora_common.identity.card import create_node_key
from sealora_common.privacy.accounting import PrivacyEvent

from check_site import not_passed


def records(site: EnrolledSite, lines: list[str]) -> None:
    (site.directory / "own.jsonl").write_text("".join(line + "\n" for line in lines))
    site.configure(data="own.jsonl")


def record(number: int, part: str, words: int = 1) -> str:
    return json.dumps({"prompt": f"What is {number}?", "response": "yes " * words, "split": part})


def test_records_that_are_cut_are_warned_of(site: EnrolledSite) -> None:
    long = [record(number, "train", 200 if number < 5 else 1) for number in range(24)]
    records(site, [*long, *(record(number, "heldout") for number in range(100, 104))])
    found = [entry for entry in not_passed(site) if entry[1] == "records"]
    assert [(status, "5 (18%) are cut to data.max_tokens 64" in said) for status, _, said in found] == [("warn", True)]


@pytest.mark.parametrize(("bad", "status"), [(2, "warn"), (3, "fail")])
def test_records_that_cannot_be_shown_to_the_model_are_said(
    site: EnrolledSite, monkeypatch: pytest.MonkeyPatch, bad: int, status: str
) -> None:
    template = adapted_model(Site(site.directory).recipe).tokenizer
    refusing = (
        "{% for m in messages %}{% if 'refuse' in m['content'] %}{{ raise_exception('no') }}{% endif %}{% endfor %}"
    )
    monkeypatch.setattr(template, "chat_template", refusing + template.chat_template)
    train = [record(number, "train") for number in range(24 - bad)]
    refused = [record(number, "train").replace("yes", "refuse") for number in range(24 - bad, 24)]
    records(site, [*train, *refused, *(record(number, "heldout") for number in range(100, 104))])
    ((told, check, said),) = [entry for entry in not_passed(site) if entry[1] == "records"]
    assert (told, check) == (status, "records")
    assert f"{bad} of 28 records" in said
    assert f"the chat template fails on them (lines {', '.join(map(str, range(25 - bad, 25)))})" in said


@pytest.mark.slow
def test_too_few_records_for_the_recipe_are_said(site: EnrolledSite) -> None:
    site.agree("training", sample_rate=0.01)
    assert any("a step draws 0.24 of them on average" in said for _, _, said in not_passed(site))
    site.agree("privacy", delta=0.1)  # below 1 / 4, which is enough for the 4 held out, but not for the 24
    site.decide(delta_limit=0.9)
    told = [(status, check) for status, check, said in not_passed(site) if "must be below 1 / 24" in said]
    assert told == [("fail", "privacy"), ("fail", "records")]


BAD_RECORDS = {
    "none": ([], "has no records"),
    "no JSON": (["hello"], "line 1: not JSON"),
    "a field too few": ([json.dumps({"prompt": "x"})], 'the field "response" is missing'),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_records_that_cannot_be_used_are_said(site: EnrolledSite, case: str) -> None:
    lines, said = BAD_RECORDS[case]
    records(site, lines)
    found = not_passed(site)
    ((status, check),) = [(status, check) for status, check, text in found if said in text]
    assert (status, check) == ("fail", "records")
    assert ("warn", "training", "not tried, because the records cannot be read: put that right first") in found


def test_a_budget_without_room_is_said(site: EnrolledSite) -> None:
    opened = Site(site.directory)
    with opened.ledger() as ledger:
        made = ledger.charge(
            dataset=opened.data.train_set,
            run="cd" * 16,
            round_number=1,
            event=PrivacyEvent(1.0, 0.5, 1),
            delta=1e-3,
            epsilon_limit=8.0,
        )
        ledger.mark_released(made.id)
    found = [entry for entry in not_passed(site, "--quick") if entry[1] == "privacy"]
    assert [status for status, _, _ in found] == ["fail"]
    assert "the train data would reach epsilon" in found[0][2]
    assert "see `sealora-site budget`" in found[0][2]


def test_a_locked_key_without_its_passphrase_is_said(site: EnrolledSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEALORA_PASSPHRASE_FILE", raising=False)
    create_node_key(site.directory / "node.key", b"secret")
    found = [entry for entry in not_passed(site, "--quick") if entry[1] == "node key"]
    assert [(status, "SEALORA_PASSPHRASE_FILE" in said) for status, _, said in found] == [("fail", True)]
