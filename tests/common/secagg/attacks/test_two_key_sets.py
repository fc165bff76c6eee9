"""Two sets of keys for one site: a corrupted site signs both, and shows the victim another than it shows the rest.

The masks of the two no longer cancel, and the sum opens to noise of the corrupted site's making. The rules: one set
of keys a site in a bundle, no key twice, and all sites agree on one transcript, which covers every key.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import OpenedSum, ProtocolError, SiteSession, keys
from sealora_common.secagg import server as server_module
from sealora_common.secagg import site as site_module
from sealora_common.secagg.messages import (
    Advertisement,
    Envelopes,
    Kind,
    MaskRequest,
    bundle,
    open_signed,
    transcript_digest,
)

from secagg_attacker import Attacker, told_survivors, weakened, weakened_function
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(5)
VICTIM, ABSENT, CORRUPTED = 0, 3, 4
HONEST = (0, 1, 2)


def show_the_victim_other_keys(site_class: type[SiteSession] = SiteSession, *, both: bool = False) -> Run:
    """A round up to the masked vectors, in which the corrupted site is two sessions; only one meets the victim.

    Args:
        site_class: the honest sites' class.
        both: whether the victim is shown both sets of keys, or only the other one.
    """
    run = Run(FEDERATION, site_class=site_class)
    run.step("advertise", {ABSENT})
    double, double_advertisement = FEDERATION.begin(CORRUPTED)
    first = run.sites[CORRUPTED]
    honest = [run.answers["advertise"][index] for index in HONEST]
    shown = (
        [*honest, run.answers["advertise"][CORRUPTED], double_advertisement]
        if both
        else [*honest, double_advertisement]
    )
    double_envelopes = Envelopes.from_bytes(
        open_signed(
            double.share(bundle([*honest, double_advertisement])), Kind.SHARE, FEDERATION.terms, FEDERATION.roster
        )[1]
    )

    def on_request(stage: str, index: int, request: bytes) -> bytes:
        if (stage, index) == ("share", VICTIM):
            return bundle(shown)
        if stage == "mask" and index in (VICTIM, CORRUPTED):
            told = MaskRequest.from_bytes(request)
            ciphertexts = dict(told.envelopes.ciphertexts)
            if index == VICTIM:
                ciphertexts[CORRUPTED] = double_envelopes.ciphertexts[VICTIM]
            else:  # what the victim sent is for the double; the corrupted site puts it in an envelope for itself
                victim_key = run.sites[VICTIM]._own_advertisement().share_public
                between = (VICTIM, CORRUPTED, FEDERATION.terms.digest)
                plain = keys.open_from_peer(double._secrets.share_private, victim_key, *between, ciphertexts[VICTIM])
                ciphertexts[VICTIM] = keys.seal_for_peer(first._secrets.share_private, victim_key, *between, plain)
            return MaskRequest(told.sharers, Envelopes(ciphertexts)).to_bytes()
        return request

    run.on_request = on_request
    run.step("share")
    return run


def finish(run: Run) -> OpenedSum:
    for stage in ("mask", "confirm", "open"):
        run.step(stage)
    return run.server.open()


def test_the_sum_is_noise_where_sites_do_not_agree_on_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    careless = weakened_function(transcript_digest, ("writer.fixed(advertisement.to_bytes(), 2 * KEY_BYTES)", "pass"))
    monkeypatch.setattr(site_module, "transcript_digest", careless)
    monkeypatch.setattr(server_module, "transcript_digest", careless)
    run = show_the_victim_other_keys()
    opened = finish(run)
    assert not same(opened.vector, run.expected(opened.survivors))


def test_a_victim_shown_other_keys_is_left_out_by_the_server() -> None:
    run = show_the_victim_other_keys()
    with pytest.raises(ProtocolError, match="other keys or sharers"):
        run.step("mask")


@pytest.mark.parametrize("asked", [0, 1, 2])
def test_sites_shown_different_keys_open_nothing(asked: int) -> None:
    run = show_the_victim_other_keys()
    requests = run.close("mask")
    assert run.on_request is not None
    masked = {
        index: run.answer("mask", index, run.on_request("mask", index, request) or b"")
        for index, request in requests.items()
    }
    with pytest.raises(ProtocolError, match="two different sets of keys or sharers"):
        told_survivors(run.sites[asked], masked, (*HONEST, CORRUPTED))


def test_the_sum_is_noise_where_a_site_takes_the_last_of_two_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    careless = weakened_function(transcript_digest, ("writer.fixed(advertisement.to_bytes(), 2 * KEY_BYTES)", "pass"))
    monkeypatch.setattr(site_module, "transcript_digest", careless)
    monkeypatch.setattr(server_module, "transcript_digest", careless)
    run = show_the_victim_other_keys(
        weakened(SiteSession, share=("if sender in secrets.peers:", "if False:")), both=True
    )
    opened = finish(run)
    assert not same(opened.vector, run.expected(opened.survivors))


def test_two_sets_of_keys_in_one_bundle_are_refused() -> None:
    run = Run(FEDERATION)
    run.step("advertise", {ABSENT})
    _, second = FEDERATION.begin(CORRUPTED)
    with pytest.raises(ProtocolError, match="two sets of keys"):
        run.sites[VICTIM].share(bundle([*run.answers["advertise"].values(), second]))


def test_another_sites_key_under_ones_own_name_is_refused() -> None:
    run = Run(FEDERATION)
    run.step("advertise", {ABSENT, CORRUPTED})
    victims = run.sites[VICTIM]._own_advertisement()
    attacker = Attacker(FEDERATION)
    for copied in (
        victims,
        Advertisement(victims.mask_public, bytes([9]) + bytes(31)),
        Advertisement(bytes([9]) + bytes(31), bytes([9]) + bytes(31)),
    ):
        message = attacker.signs(CORRUPTED, Kind.ADVERTISE, copied.to_bytes())
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
