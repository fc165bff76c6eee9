"""Lies about what others shared, checked and disclosed, each refused by the site that is told them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sealora_common.secagg import ProtocolError
from sealora_common.secagg.bodies import CheckRequest, CheckStatement, Disclosure, Given, MaskRequest
from sealora_common.secagg.messages import Kind
from secagg_turned import go_on, sealing_rubbish, turn

from secagg_attacker import Attacker, body_of
from secagg_runs import Federation, Run, clone_site

FEDERATION = Federation.of(7)
TURNED = 6


def test_a_table_with_another_statement_of_the_site_itself_or_none_is_refused() -> None:
    run = Run(FEDERATION).until("check")
    told = CheckRequest.from_bytes(run.close("check")[0])
    others = {site: one for site, one in told.table.items() if site != 0}
    for table in (others, others | {0: replace(told.table[0], statement=bytes(32))}):
        with pytest.raises(ProtocolError, match="not those of this round"):
            clone_site(run.sites[0]).check(CheckRequest(table, told.sent).to_bytes())


def test_a_check_of_a_site_that_shared_nothing_is_refused() -> None:
    """It advertised, and would count among those that go on."""
    run = Run(FEDERATION).until("mask", {TURNED: "share"})
    transcript = run.sites[0]._state.transcript
    check = Attacker(FEDERATION).signs(TURNED, Kind.CHECK, CheckStatement(transcript.shared_digest, ()).to_bytes())
    checks = [*run.answers["check"].values(), check]
    with pytest.raises(ProtocolError, match="checked that shared nothing"):
        run.answer("mask", 0, MaskRequest(checks, []).to_bytes())


def disclosing(run: Run, index: int, given: dict[int, Given], transcript: bytes | None = None) -> bytes:
    body = Disclosure(transcript or run.sites[0]._state.transcript.shared_digest, given).to_bytes()
    return Attacker(FEDERATION).signs(index, Kind.DISCLOSE, body)


def accused() -> Run:
    """A round before the masks, in which site 0 has complained of the turned one, rightly."""
    run = Run(FEDERATION)
    run.step("advertise")
    return go_on(turn(run, {TURNED: sealing_rubbish(0)}), "mask")


def mask_with(run: Run, index: int, disclosure: bytes) -> bytes:
    return run.answer("mask", index, MaskRequest(list(run.answers["check"].values()), [disclosure]).to_bytes())


def test_what_a_site_did_not_ask_for_is_refused() -> None:
    run = accused()
    given = run.sites[5]._state.given
    with pytest.raises(ProtocolError, match="did not ask for"):
        mask_with(run, 1, disclosing(run, 5, {1: given[1]}))
    true = Disclosure.from_bytes(body_of(run.answers["disclose"][TURNED], Kind.DISCLOSE, FEDERATION)).given[0]
    with pytest.raises(ProtocolError, match="did not ask for"):
        mask_with(run, 0, disclosing(run, TURNED, {1: true}))


@pytest.mark.parametrize("place", ["self_mask", "mask_seed", "contribution"])
def test_a_disclosure_that_does_not_fit_is_refused_by_the_site_that_asked(place: str) -> None:
    run = accused()
    true = Disclosure.from_bytes(body_of(run.answers["disclose"][TURNED], Kind.DISCLOSE, FEDERATION)).given[0]
    with pytest.raises(ProtocolError, match="disclosed other shares than it committed to"):
        mask_with(run, 0, disclosing(run, TURNED, {0: replace(true, **{place: bytes(32)})}))


def test_a_disclosure_under_another_transcript_is_refused_by_the_site_that_asked() -> None:
    run = accused()
    true = Disclosure.from_bytes(body_of(run.answers["disclose"][TURNED], Kind.DISCLOSE, FEDERATION)).given[0]
    with pytest.raises(ProtocolError, match="disclosed other shares than it committed to"):
        mask_with(run, 0, disclosing(run, TURNED, {0: true}, bytes(32)))
