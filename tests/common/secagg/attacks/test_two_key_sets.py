"""Two sets of keys for one site: a corrupted site signs both, and the server shows the victim another than the rest.

What the victim seals to the corrupted site does then not open with the keys that all others know, and after the
corrupted site has dropped out the victim seems to have cheated: it would be named, with evidence. The rules: one set
of keys a site in a bundle, no key twice, and all that a site signs names all the keys that it was told.
"""

from __future__ import annotations

import os

import pytest

from sealora_common.secagg import Fault, FaultKind, ProtocolError, SiteSession, keys
from sealora_common.secagg.bodies import Advertisement, ShareMessage
from sealora_common.secagg.messages import Kind, bundle
from sealora_common.secagg.transcript import Transcript, keys_digest
from secagg_turned import Silent, go_on, turn
from secagg_weakened import weaken_everywhere, weakened

from secagg_attacker import Attacker, Relay, shared_of
from secagg_runs import Federation, Run

FEDERATION = Federation.of(4)
VICTIM, ABSENT, CORRUPTED = 0, 2, 3
HONEST = (0, 1, 2)


def show_the_victim_other_keys() -> Run:
    """A round before the share stage, in which the victim will be shown a second set of the corrupted site's keys."""
    run = Run(FEDERATION)
    run.step("advertise")
    turn(run, {CORRUPTED: Silent})
    _, double = FEDERATION.begin(CORRUPTED)

    def on_request(stage: str, index: int, request: bytes) -> bytes:
        if (stage, index) != ("share", VICTIM):
            return request
        return bundle([*(run.answers["advertise"][each] for each in HONEST), double])

    run.on_request = on_request
    return run


def test_a_victim_is_framed_where_sites_do_not_agree_on_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken_everywhere(monkeypatch, keys_digest, (" + _keys_bytes(advertised)", ""))
    run = go_on(show_the_victim_other_keys(), "open", {CORRUPTED: "mask"})
    run.step("open", {CORRUPTED})
    with pytest.raises(ProtocolError, match="contribution of site 'site-0000' to a mask does not open"):
        run.server.open()
    (fault,) = run.server.faults
    assert (fault.site, fault.kind) == (VICTIM, FaultKind.CONTRIBUTION)
    fault.prove(FEDERATION.roster)


def test_a_victim_shown_other_keys_is_left_out_by_the_server() -> None:
    run = show_the_victim_other_keys()
    with pytest.raises(ProtocolError, match="not those of its statement"):
        run.step("share")


def test_a_victim_shown_other_keys_is_not_framed_by_it() -> None:
    """Whichever of the two sets of keys the server says were advertised."""
    run = show_the_victim_other_keys()
    requests = run.close("share")
    assert run.on_request is not None
    shown = run.on_request("share", VICTIM, requests[VICTIM])
    assert shown is not None
    message = run.answer("share", VICTIM, shown)
    share = ShareMessage.from_bytes(message)
    first = run.sites[CORRUPTED]
    evidence = (share.envelopes[CORRUPTED].to_bytes(), first._own_advertisement().to_bytes(), first._state.mask_seed)
    for told in (requests[VICTIM], shown):
        attacker = Attacker(FEDERATION)
        attacker.hears_keys(run.answers["advertise"].values())
        digests = {index: one.digest for index, one in attacker.advertised.items()}
        if told is shown:
            digests[CORRUPTED] = run.sites[VICTIM]._state.peers[CORRUPTED].digest
        transcript = Transcript(digests, {VICTIM: shared_of(message)}, (VICTIM,))
        framing = Fault(VICTIM, FaultKind.CONTRIBUTION, FEDERATION.terms, transcript, (share.signed,), evidence)
        with pytest.raises(ProtocolError, match="evidence"):
            framing.prove(FEDERATION.roster)


@pytest.mark.parametrize("asked", [0, 1, 2])
def test_sites_shown_different_keys_go_no_further(asked: int) -> None:
    run = show_the_victim_other_keys()
    assert run.on_request is not None
    requests = {index: run.on_request("share", index, each) or b"" for index, each in run.close("share").items()}
    relay = Relay(run.sites, run.answers["advertise"])
    relay.shared = {index: run.answer("share", index, request) for index, request in requests.items()}
    with pytest.raises(ProtocolError, match="two different sets of keys"):
        run.sites[asked].check(relay.check_request(asked).to_bytes())


def two_sets_in_one_bundle(site_class: type[SiteSession]) -> SiteSession:
    run = Run(FEDERATION, site_class=site_class)
    run.step("advertise", {ABSENT})
    _, second = FEDERATION.begin(CORRUPTED)
    run.sites[VICTIM].share(bundle([*run.answers["advertise"].values(), second]))
    return run.sites[VICTIM]


def test_the_last_of_two_sets_is_taken_where_a_site_does_not_look() -> None:
    careless = weakened(SiteSession, share=("if sender in state.peers:", "if False:"))
    assert len(two_sets_in_one_bundle(careless)._state.peers) == 3


def test_two_sets_of_keys_in_one_bundle_are_refused() -> None:
    with pytest.raises(ProtocolError, match="two sets of keys"):
        two_sets_in_one_bundle(SiteSession)


def test_another_sites_key_under_ones_own_name_is_refused() -> None:
    run = Run(FEDERATION)
    run.step("advertise", {CORRUPTED})
    victims = run.sites[VICTIM]._own_advertisement()
    fresh, other = (keys.KeyPair(os.urandom(32)).public for _ in range(2))
    of_the_victim = keys.halves(victims.mask_public)
    for copied in (
        victims,
        Advertisement(victims.mask_public, fresh),
        Advertisement(fresh, fresh),
        Advertisement(of_the_victim[0] + keys.halves(fresh)[1], other),  # either half of a hybrid key
        Advertisement(other, keys.halves(fresh)[0] + of_the_victim[1]),
        Advertisement(fresh, keys.halves(fresh)[0] + keys.halves(other)[1]),
    ):
        message = Attacker(FEDERATION).signs(CORRUPTED, Kind.ADVERTISE, copied.to_bytes())
        with pytest.raises(ProtocolError, match="every site would refuse"):
            run.deliver("advertise", message)
        site, own = FEDERATION.begin(1)
        with pytest.raises(ProtocolError, match="advertised twice"):
            site.share(bundle([run.answers["advertise"][VICTIM], own, message]))


def test_a_bundle_without_ones_own_keys_is_refused() -> None:
    run = Run(FEDERATION).until("share")
    fresh, _ = FEDERATION.begin(VICTIM)
    with pytest.raises(ProtocolError, match="own keys are not among"):
        fresh.share(run.close("share")[VICTIM])
