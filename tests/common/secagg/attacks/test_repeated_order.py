"""An order given twice: sessions of the same terms, and what sites signed in one of them replayed in another.

Seven sites, two of them corrupted, threshold five. The server gives the same order four times, to the last byte, and
lets the first three attempts die after the confirmations: sites 1 and 2 dropped, then 2, then 1. Each of the three
survivor sets is now signed by enough sites. In the fourth session it tells the victim that only 1, 2 and the
corrupted sites checked their shares, and replays to each of the others the confirmations of the set that suits the
server: so the mask seeds of 1 and 2 and the victim's self-mask are all released, and the victim's vector is read. The
rule: what a site signs holds under one transcript, which covers the keys and shares of the session, fresh in each.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError, RingVector
from sealora_common.secagg.bodies import CheckRequest, MaskRequest, ShareMessage
from sealora_common.secagg.messages import bundle, content_digest
from sealora_common.secagg.transcript import Shared, Transcript
from secagg_weakened import weaken

from secagg_attacker import Attacker, statement_of
from secagg_runs import Federation, Run, clone_site, same, vector_of

FEDERATION = Federation.of(7)
VICTIM, FIRST, SECOND = 0, 1, 2
CORRUPTED = (5, 6)


def stockpile_and_replay() -> RingVector | None:
    stock = {}
    for dropped in ((FIRST, SECOND), (SECOND,), (FIRST,)):
        earlier = Run(FEDERATION).until("open", dict.fromkeys(dropped, "mask"))
        stock[dropped] = (statement_of(earlier.answers["mask"][VICTIM]), list(earlier.answers["confirm"].values()))

    run = Run(FEDERATION).until("mask")
    attacker = Attacker.watching(run, CORRUPTED)
    requests = run.close("mask")
    told = (VICTIM, FIRST, SECOND, *CORRUPTED)
    narrowed = MaskRequest([run.answers["check"][index] for index in told], []).to_bytes()
    victim_masked = run.sites[VICTIM].mask(narrowed, vector_of(FEDERATION.terms.segments, VICTIM))
    masked = {index: run.answer("mask", index, requests[index]) for index in range(1, 7)}

    for index, dropped in ((3, (FIRST, SECOND)), (4, (FIRST, SECOND)), (FIRST, (SECOND,)), (SECOND, (FIRST,))):
        old_statement, confirmations = stock[dropped]
        others = [statement_of(masked[peer]) for peer in range(1, 7) if peer not in dropped]
        run.sites[index].confirm(bundle([old_statement, *others]))
        attacker.hears_opening(run.sites[index].open(bundle(confirmations)))
    return attacker.reads({VICTIM: victim_masked}, {VICTIM: set(told) - {VICTIM}})


def test_a_victim_is_read_where_signatures_are_not_bound_to_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, Transcript, "digest", ("+ self.shared_digest + checked", "+ checked"))
    read = stockpile_and_replay()
    assert read is not None
    assert same(read, vector_of(FEDERATION.terms.segments, VICTIM))


def test_what_was_signed_in_an_earlier_session_of_the_same_terms_is_refused() -> None:
    with pytest.raises(ProtocolError, match="two different sets of keys, shares or sites"):
        stockpile_and_replay()


def test_confirmations_of_an_earlier_session_are_refused() -> None:
    earlier = Run(FEDERATION).until("open")
    run = Run(FEDERATION).until("open")
    with pytest.raises(ProtocolError, match="two different sets of survivors"):
        run.sites[0].open(bundle(list(earlier.answers["confirm"].values())))


def test_checks_of_an_earlier_session_are_refused() -> None:
    earlier = Run(FEDERATION).until("disclose")
    run = Run(FEDERATION).until("mask")
    checks = list(run.answers["check"].values())
    for replayed in range(1, 7):
        mixed = [earlier.answers["check"][index] if index == replayed else checks[index] for index in range(7)]
        site = clone_site(run.sites[VICTIM])
        with pytest.raises(ProtocolError, match="two different sets of keys or shares"):
            site.mask(MaskRequest(mixed, []).to_bytes(), run.vector(VICTIM))


def test_a_statement_of_an_earlier_session_is_refused() -> None:
    """It was made under other keys, also where the server has told of it in the table."""
    earlier = Run(FEDERATION).until("check")
    run = Run(FEDERATION).until("check")
    told = CheckRequest.from_bytes(run.close("check")[VICTIM])
    old = ShareMessage.from_bytes(earlier.answers["share"][1])
    table = told.table | {1: Shared(content_digest(old.signed), told.table[1].neighbours)}
    sent = told.sent | {1: (old.signed, old.envelopes[VICTIM])}
    with pytest.raises(ProtocolError, match="two different sets of keys"):
        run.sites[VICTIM].check(CheckRequest(table, sent).to_bytes())
