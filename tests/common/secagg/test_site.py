"""A site's session: fresh secrets, kept between stages, gone at the end, and never shown."""

from __future__ import annotations

import pytest

from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import SIGNATURE_BYTES
from sealora_common.secagg import ProtocolError, RingVector, Segment, SiteSession, TooFewSitesError
from sealora_common.secagg.messages import Envelopes, MaskRequest, bundle
from sealora_common.secagg.site import Stage

from secagg_runs import STAGES, Federation, Run, identity, same

FEDERATION = Federation.of(4)


def secrets_of(site: SiteSession) -> list[bytes]:
    kept = site._secrets
    held = [share for each in kept.held.values() for share in (each.self_mask, each.mask_key)]
    return [kept.share_private, kept.mask_private, kept.self_mask_seed, *held]


def test_secrets_are_fresh_in_every_session() -> None:
    seen = [secret for _ in range(20) for secret in secrets_of(FEDERATION.begin(0)[0])]
    assert len(set(seen)) == len(seen) == 60
    assert {len(secret) for secret in seen} == {32}


def test_secrets_are_gone_after_the_round() -> None:
    run = Run(FEDERATION).until("open")
    before = [secrets_of(site) for site in run.sites.values()]
    assert all(len(secrets) == 3 + 2 * 4 for secrets in before)
    run.step("open")
    for site in run.sites.values():
        assert not any(secrets_of(site))
        assert site._secrets.stage is Stage.OPENED
        assert len(site.to_bytes()) < 300


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_session_reads_back_as_it_was(stage: str) -> None:
    run = Run(FEDERATION).until(stage)
    for index, site in run.sites.items():
        restored = SiteSession.from_bytes(
            site.to_bytes(), FEDERATION.terms, FEDERATION.roster, FEDERATION.identity(index)
        )
        assert restored._secrets == site._secrets


def test_a_round_of_sessions_written_out_and_read_back_opens_the_same_sum() -> None:
    run = Run(FEDERATION, restored=True)
    opened = run.finish({2: "confirm"})
    assert same(opened.vector, run.expected(range(4)))


def test_no_secret_shows() -> None:
    run = Run(FEDERATION).until("open")
    site = run.sites[0]
    shown = repr(site) + str(site)
    assert shown == 2 * "SiteSession(site='site-0000', stage=CONFIRMED)"


def test_no_message_holds_a_secret_in_the_clear() -> None:
    run = Run(FEDERATION).until("open")
    sent = b"".join(message for of_stage in run.answers.values() for message in of_stage.values())
    for site in run.sites.values():
        assert not any(secret in sent for secret in secrets_of(site))


def test_a_masked_vector_does_not_resemble_the_plain_one() -> None:
    federation = Federation.of(4, segments=(Segment(4000, 16),))
    run = Run(federation)
    run.vectors = {index: RingVector.zeros(federation.terms.segments) for index in range(4)}
    run.until("confirm")
    for message in run.answers["mask"].values():
        words = RingVector.unpack(message[104 + SIGNATURE_BYTES :], federation.terms.segments).words[0]
        assert abs(float(words.mean()) / 2**16 - 0.5) < 0.03
        assert len(set(words.tolist())) > 3500


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_site_counts_for_itself_how_many_are_left(stage: str) -> None:
    """Even where the server does not: sites 2 and 3 fall silent, and the server goes on with two of four."""
    federation = Federation.of(4)
    run = Run(federation).until(stage)
    full = run.close(stage)
    if stage == "mask":
        envelopes = MaskRequest.from_bytes(full[0]).envelopes.ciphertexts
        request = MaskRequest((0, 1), Envelopes({1: envelopes[1]})).to_bytes()
    else:
        before = [run.answers[STAGES[STAGES.index(stage) - 1]][index] for index in (0, 1)]
        request = bundle([message[: 104 + SIGNATURE_BYTES] for message in before] if stage == "confirm" else before)
    with pytest.raises(TooFewSitesError, match="only 2 of 4 sites"):
        run.answer(stage, 0, request)


def test_the_floor_of_survivors_is_the_sites_own() -> None:
    strict = Federation.of(4, min_survivors=4)
    run = Run(strict).until("mask")
    requests = run.close("mask")
    for index in (0, 1, 2):
        run.deliver("mask", run.answer("mask", index, requests[index]))
    with pytest.raises(TooFewSitesError):
        run.close("confirm")
    statements = bundle([run.server._masked[index] for index in (0, 1, 2)])
    with pytest.raises(TooFewSitesError, match="only 3 of 4 sites survived"):
        run.answer("confirm", 0, statements)


def test_a_vector_of_another_shape_is_refused() -> None:
    run = Run(FEDERATION).until("mask")
    request = run.close("mask")[0]
    with pytest.raises(ValueError, match="Expected a vector of"):
        run.sites[0].mask(request, RingVector.zeros((Segment(5, 16), Segment(2, 31))))


def test_a_site_that_is_not_on_the_roster_has_no_session() -> None:
    with pytest.raises(PolicyError, match="not on the roster"):
        SiteSession.begin(FEDERATION.terms, FEDERATION.roster, identity("stranger"), SystemEntropy())


@pytest.mark.parametrize("sharers", [(1, 2, 3), (0, 1, 2, 3, 9), (0, 1, 2, 65535), ()])
def test_sharers_other_than_those_that_advertised_are_refused(sharers: tuple[int, ...]) -> None:
    run = Run(FEDERATION).until("mask")
    told = MaskRequest.from_bytes(run.close("mask")[0])
    with pytest.raises(ProtocolError, match="not those of this round"):
        run.answer("mask", 0, MaskRequest(sharers, told.envelopes).to_bytes())
