"""A form does once what it is for."""

from __future__ import annotations

import asyncio

from sealora_common.web.sessions import Role, Session
from sealora_server.dashboard.acts import once
from sealora_server.dashboard.acts.once import FormOutcome, Forms

ANNA, BERT = Session(Role.OPERATOR, "anna"), Session(Role.OPERATOR, "bert")


def test_a_form_that_is_sent_twice_at_once_or_again_does_it_once():
    done = []

    async def run() -> None:
        forms, form = Forms(), Forms.new()
        going = asyncio.Event()

        async def do() -> FormOutcome:
            done.append(form)
            await going.wait()
            return FormOutcome(True, f"done {len(done)}")

        first, second = (asyncio.create_task(forms.sent(ANNA, form, do)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()  # as a browser does at a double click
        await asyncio.sleep(0)
        assert forms.outcome(ANNA, form) is None
        going.set()
        assert (await second).sentence == "done 1"
        assert (await forms.sent(ANNA, form, do)).sentence == "done 1"
        assert forms.outcome(ANNA, form).sentence == "done 1"
        assert forms.outcome(BERT, form) is None
        assert (await forms.sent(BERT, form, do)).sentence == "done 2"

    asyncio.run(run())
    assert len(done) == 2


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(once, "_MOST", 3)

    async def run() -> None:
        forms, sent = Forms(), [Forms.new() for _ in range(5)]

        async def do() -> FormOutcome:
            return FormOutcome(True, "done")

        for form in sent:
            await forms.sent(ANNA, form, do)
        assert [forms.outcome(ANNA, form) is not None for form in sent] == [False, False, True, True, True]

    asyncio.run(run())


def test_what_no_page_of_ours_holds_is_no_form():
    assert Forms.is_one(Forms.new())
    for text in ("", "x", "a" * 31, "a" * 33, "../" + "a" * 29, "ä" * 32):
        assert not Forms.is_one(text)
