"""False complaints: turned members, and the server with them, complain of an honest site that sent what it should.

The rules: the site discloses to a complainer what that one had already, and only on its own signature, in this
session; it goes on and is not blamed. So nothing comes out that the complainers and the server did not hold.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import Fault, FaultKind, ProtocolError, RingVector, SiteSession
from sealora_common.secagg.bodies import CheckStatement, Disclosure, MaskRequest, ShareKind
from sealora_common.secagg.messages import Kind, bundle, open_signed
from sealora_common.secagg.site_review import Review
from secagg_turned import complaining, go_on, turn
from secagg_weakened import weaken, weaken_everywhere, weakened

from secagg_attacker import Attacker, body_of
from secagg_runs import Federation, Run, clone_site, same

FEDERATION = Federation.of(7)
VICTIM = 0
CORRUPTED = (5, 6)
OTHERS = (1, 2, 3, 4, 5, 6)


def complain(site_class: type[SiteSession] = SiteSession) -> Run:
    """A round before the masks, in which the corrupted sites complained of the victim."""
    run = Run(FEDERATION, site_class=site_class)
    run.step("advertise")
    go_on(turn(run, dict.fromkeys(CORRUPTED, complaining(VICTIM))), "disclose")
    run.answers["disclose"] = {VICTIM: run.answer("disclose", VICTIM, run.close("disclose")[VICTIM])}
    return run


def read_the_victim(run: Run, disclosure: bytes) -> RingVector | None:
    """What the attacker makes of a disclosure, once the victim has sent its vector."""
    attacker = Attacker.watching(run, CORRUPTED)
    attacker.hears_disclosure(disclosure)
    request = MaskRequest(list(run.answers["check"].values()), []).to_bytes()
    masked = run.answer("mask", VICTIM, request)
    return attacker.reads({VICTIM: masked}, {VICTIM: OTHERS})


def test_a_victim_is_read_where_it_discloses_all_that_it_gave() -> None:
    run = complain(weakened(SiteSession, disclose=("shared_digest, given)", "shared_digest, state.given)")))
    read = read_the_victim(run, run.answers["disclose"][VICTIM])
    assert read is not None
    assert same(read, run.vector(VICTIM))


def test_a_victim_discloses_only_what_its_complainers_had() -> None:
    run = complain()
    message = run.answers["disclose"][VICTIM]
    disclosed = Disclosure.from_bytes(body_of(message, Kind.DISCLOSE, FEDERATION)).given
    before = Attacker.watching(run, CORRUPTED)
    assert disclosed == {index: before.knows(VICTIM, index) for index in CORRUPTED}
    assert read_the_victim(run, message) is None
    after = Attacker.watching(run, CORRUPTED)
    after.hears_disclosure(message)
    assert after.restores(VICTIM, ShareKind.SELF_MASK) is None
    assert after.restores(VICTIM, ShareKind.MASK_SEED) is None


@pytest.mark.parametrize("dropped", [(), (VICTIM,), CORRUPTED, (1, 5)])
def test_a_victim_of_complaints_goes_on_and_is_not_blamed(dropped: tuple[int, ...]) -> None:
    run = complain()
    run.deliver("disclose", run.answers["disclose"][VICTIM])
    drops = dict.fromkeys(dropped, "mask")
    go_on(run, "open", drops)
    run.step("open", dropped)
    opened = run.server.open()
    assert opened.survivors == tuple(index for index in range(7) if index not in dropped)
    assert same(opened.vector, run.expected(opened.survivors))
    assert not run.server.faults


def test_a_victim_of_complaints_cannot_be_shown_to_be_at_fault() -> None:
    run = complain()
    transcript = run.sites[VICTIM]._state.transcript
    complaints = tuple(run.answers["check"][index] for index in CORRUPTED)
    honest = tuple(run.answers["check"][index] for index in (1, 2, 3, 4))
    for messages in (complaints, complaints * 2, (*complaints, honest[0]), honest):
        with pytest.raises(ProtocolError, match="does not show the fault"):
            Fault(VICTIM, FaultKind.COMPLAINTS, FEDERATION.terms, transcript, messages).prove(FEDERATION.roster)


def ask_for(site: SiteSession, complaints: list[bytes]) -> bytes:
    """The server passes on what it says are complaints."""
    return site.disclose(bundle(complaints))


def made_up_complaints(site_class: type[SiteSession]) -> RingVector | None:
    """Honest sites checked and complained of nobody; the server says that three of them did complain of the victim."""
    run = Run(FEDERATION, site_class=site_class).until("disclose")
    disclosure = ask_for(clone_site(run.sites[VICTIM]), [run.answers["check"][index] for index in (1, 2, 3)])
    return read_the_victim(run, disclosure)


def test_a_victim_is_read_where_it_does_not_look_who_is_complained_of() -> None:
    careless = weakened(SiteSession, disclose=("self._index not in checked.complaints or ", ""))
    assert made_up_complaints(careless) is not None


def test_a_check_that_complains_of_nobody_is_no_complaint() -> None:
    with pytest.raises(ProtocolError, match="nothing is disclosed"):
        made_up_complaints(SiteSession)


def forged_complaints() -> RingVector | None:
    """The server makes up three complaints, under signatures of its own."""
    run = Run(FEDERATION).until("disclose")
    transcript = run.sites[VICTIM]._state.transcript
    body = CheckStatement(transcript.shared_digest, (VICTIM,)).to_bytes()
    forger = Attacker(FEDERATION)
    forged = []
    for index in (1, 2, 3):
        signed_by_another = forger.signs(5, Kind.CHECK, body)
        forged.append(signed_by_another[:38] + index.to_bytes(2, "big") + signed_by_another[40:])
    return read_the_victim(run, ask_for(clone_site(run.sites[VICTIM]), forged))


def test_a_victim_is_read_where_complaints_may_be_forged(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken_everywhere(
        monkeypatch, open_signed, ("not verify(roster.public_key(sender), signature, _SIGNED_AS + framed)", "False")
    )
    assert forged_complaints() is not None


def test_a_forged_complaint_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not signed by a site of the roster"):
        forged_complaints()


def complaints_of_another_session() -> Disclosure:
    """The order is given twice, and complaints of the first session are shown again in the second."""
    earlier = complain()
    later = Run(FEDERATION).until("disclose")
    message = ask_for(later.sites[VICTIM], [earlier.answers["check"][index] for index in CORRUPTED])
    return Disclosure.from_bytes(body_of(message, Kind.DISCLOSE, FEDERATION))


def test_complaints_of_another_session_are_answered_where_they_are_not_bound_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weaken(
        monkeypatch,
        Review,
        "checked",
        ("if checked.transcript != self._state.transcript.shared_digest:", "if False:"),
    )
    assert set(complaints_of_another_session().given) == set(CORRUPTED)


def test_complaints_of_another_session_of_the_same_terms_are_refused() -> None:
    with pytest.raises(ProtocolError, match="two different sets of keys or shares"):
        complaints_of_another_session()


def test_a_complaint_of_a_site_that_was_given_nothing_is_refused() -> None:
    run = Run(FEDERATION).until("disclose")
    transcript = run.sites[VICTIM]._state.transcript
    of_itself = Attacker(FEDERATION).signs(
        VICTIM, Kind.CHECK, CheckStatement(transcript.shared_digest, (VICTIM,)).to_bytes()
    )
    with pytest.raises(ProtocolError, match="nothing is disclosed"):
        ask_for(run.sites[VICTIM], [of_itself])
