"""A site's session: fresh secrets, kept between stages, gone at the end, and never shown."""

from __future__ import annotations

import pytest

from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError
from sealora_common.secagg import ProtocolError, RingVector, Segment, SiteSession, TooFewSitesError
from sealora_common.secagg.bodies import CheckRequest, MaskRequest, split_masked
from sealora_common.secagg.messages import bundle
from sealora_common.secagg.site_state import SiteStage

from secagg_misbehaviour import Culprits, complains_of
from secagg_runs import STAGES, Federation, Run, clone_site, identity, same

FEDERATION = Federation.of(4)


def secrets_of(site: SiteSession) -> list[bytes]:
    kept = site._state
    given = [*kept.held.values(), *kept.given.values()]
    pieces = [piece for each in given for piece in (each.self_mask, each.mask_seed, each.contribution)]
    return [kept.share_seed, kept.mask_seed, kept.self_mask_seed, *pieces]


def test_secrets_are_fresh_in_every_session() -> None:
    seen = [secret for _ in range(20) for secret in secrets_of(FEDERATION.begin(0)[0])]
    assert len(set(seen)) == len(seen) == 60
    assert {len(secret) for secret in seen} == {32}


def test_secrets_are_gone_after_the_round() -> None:
    run = Run(FEDERATION).until("open")
    before = [secrets_of(site) for site in run.sites.values()]
    assert all(len(secrets) == 3 + 3 * 3 + 3 * 3 for secrets in before)
    run.step("open")
    for site in run.sites.values():
        assert not any(secrets_of(site))
        assert site._state.stage is SiteStage.OPENED
        assert len(site.to_bytes()) < 400


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_session_reads_back_as_it_was(stage: str) -> None:
    run = Run(FEDERATION).until(stage)
    for index, site in run.sites.items():
        restored = SiteSession.from_bytes(
            site.to_bytes(), FEDERATION.terms, FEDERATION.roster, FEDERATION.identity(index)
        )
        assert restored._state == site._state


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
        words = RingVector.unpack(split_masked(message)[1], federation.terms.segments).words[0]
        assert abs(float(words.mean()) / 2**16 - 0.5) < 0.03
        assert len(set(words.tolist())) > 3500


@pytest.mark.parametrize("stage", [stage for stage in STAGES[1:] if stage != "disclose"])
def test_a_site_counts_for_itself_how_many_are_left(stage: str) -> None:
    """Even where the server does not: sites 2 and 3 fall silent, and the server goes on with two of four."""
    federation = Federation.of(4)
    run = Run(federation).until(stage)
    full = run.close(stage)
    answered = STAGES[STAGES.index(stage) - 1] if stage != "mask" else "check"
    before = [run.answers[answered][index] for index in (0, 1)]
    if stage == "check":
        told = CheckRequest.from_bytes(full[0])
        request = CheckRequest({index: told.table[index] for index in (0, 1)}, {1: told.sent[1]}).to_bytes()
    elif stage == "mask":
        request = MaskRequest(before, []).to_bytes()
    else:
        request = bundle([split_masked(message)[0] for message in before] if stage == "confirm" else before)
    with pytest.raises(TooFewSitesError, match="only 2 of 4 sites"):
        run.answer(stage, 0, request)


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_stage_is_answered_once_and_in_order(stage: str) -> None:
    if stage == "disclose":
        run = Culprits({("check", 1): complains_of(0)}).join(Run(FEDERATION)).until(stage)
    else:
        run = Run(FEDERATION).until(stage)
    request = run.close(stage)[0]
    for other in set(STAGES[1:]) - {stage, "disclose"} - ({"mask"} if stage == "disclose" else set()):
        asked = clone_site(run.sites[0])
        with pytest.raises(ProtocolError, match="each stage is answered once, in order"):
            getattr(asked, other)(request, *([run.vector(0)] if other == "mask" else []))
    run.answer(stage, 0, request)
    with pytest.raises(ProtocolError, match="each stage is answered once, in order"):
        run.answer(stage, 0, request)


def test_a_refused_request_ends_the_session() -> None:
    """What was refused cannot be tried again with something else: each try could tell a server a little."""
    run = Run(FEDERATION).until("check")
    request = run.close("check")[0]
    with pytest.raises(ProtocolError):
        run.answer("check", 0, request[:-1])
    with pytest.raises(ProtocolError, match="after refused"):
        run.answer("check", 0, request)


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
