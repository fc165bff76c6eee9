"""What a site holds against what it knows before it confirms the survivors, and before it opens."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sealora_common.secagg import ProtocolError, TooFewSitesError, keys
from sealora_common.secagg.bodies import Advertisement, MaskRequest, MaskStatement, Survivors, split_masked
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.messages import Kind, bundle, unbundle

from secagg_misbehaviour import body_of, signed
from secagg_runs import Federation, Run

FEDERATION = Federation.of(5)


def test_nothing_is_sealed_before_every_key_was_found_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the site would not draw the one whose key is not."""
    run = Run(FEDERATION).until("share")
    messages = unbundle(run.close("share")[0], limit=5, message_limit=10_000)
    own = Advertisement.from_bytes(body_of(FEDERATION, messages[4], Kind.ADVERTISE))
    spoilt = Advertisement(own.share_public, own.mask_public[:1184] + bytes(32))
    monkeypatch.setattr(keys, "seal", lambda *_: pytest.fail("sealed before the keys were checked"))
    with pytest.raises(ProtocolError, match="unusable"):
        run.answer("share", 0, bundle([*messages[:4], signed(FEDERATION, 4, Kind.ADVERTISE, spoilt.to_bytes())]))


def test_a_site_that_advertised_twice_is_refused() -> None:
    _, again = FEDERATION.begin(4)
    for repeated in (again, None):
        run = Run(FEDERATION).until("share")
        messages = unbundle(run.close("share")[0], limit=5, message_limit=10_000)
        with pytest.raises(ProtocolError, match="two sets of keys"):
            run.answer("share", 0, bundle([*messages[:3], repeated or messages[4], messages[4]]))


def confirms(change: Callable[[Run, list[bytes]], list[bytes]], drops: dict[int, str] | None = None) -> None:
    """Site 0 confirms what `change` makes of the survivors' statements."""
    run = Run(FEDERATION).until("confirm", drops)
    statements = unbundle(run.close("confirm")[0], limit=5, message_limit=10_000)
    run.answer("confirm", 0, bundle(change(run, statements)))


def statement_of(run: Run, site: int, transcript: bytes | None = None) -> bytes:
    said = MaskStatement(transcript or run.server._transcript.digest, bytes(32))
    return signed(FEDERATION, site, Kind.MASK, said.to_bytes())


def test_this_sites_own_vector_is_among_the_survivors() -> None:
    with pytest.raises(ProtocolError, match="this site's vector is not among"):
        confirms(lambda _, statements: statements[1:])
    with pytest.raises(ProtocolError, match="this site's vector is not among"):
        confirms(lambda run, statements: [statement_of(run, 0), *statements[1:]])


def test_survivors_are_told_once_and_checked_before() -> None:
    with pytest.raises(ProtocolError, match="a site that took no part"):
        confirms(lambda _, statements: [*statements[:4], statements[3]])
    with pytest.raises(ProtocolError, match="a site that took no part"):
        confirms(lambda run, statements: [*statements, statement_of(run, 4)], {4: "check"})


def test_all_survivors_masked_under_one_transcript() -> None:
    with pytest.raises(ProtocolError, match="two different sets of keys, shares or sites"):
        confirms(lambda run, statements: [*statements[:4], statement_of(run, 4, transcript=bytes(32))])


@pytest.mark.parametrize("stage", ["mask", "confirm"])
def test_a_site_counts_holders_again_whoever_drew_whom(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough sites go on, and too few of them hold some site's shares: a server may be cutting it off."""
    run = Run(FEDERATION).until(stage, {4: "mask"})
    request = run.close(stage)[0]
    counted: list[int] = []
    count = run.sites[0]._review.require_holders

    def counting(owner: int, present: tuple[int, ...]) -> None:
        counted.append(owner)
        count(owner, present)

    monkeypatch.setattr(run.sites[0]._review, "require_holders", counting)
    run.answer(stage, 0, request)
    assert sorted(counted) == ([0, 1, 2, 3, 4] if stage == "mask" else [0, 1, 2, 3])


def test_too_few_holders_end_the_session() -> None:
    federation = Federation.of(5, "curious", small_graph=Neighbourhood(4, 4))
    run = Run(federation).until("confirm")
    run.close("confirm")
    statements = [split_masked(run.answers["mask"][site])[0] for site in range(3)]
    assert federation.terms.needed == 3
    with pytest.raises(TooFewSitesError, match="only 3 holders of site 'site-0000' are left, 4 are needed"):
        run.answer("confirm", 0, bundle(statements))
    again = Run(federation).until("mask")
    told = MaskRequest.from_bytes(again.close("mask")[0], limit=5)
    with pytest.raises(TooFewSitesError, match="only 3 holders of site 'site-0000' are left, 4 are needed"):
        again.answer("mask", 0, MaskRequest(told.checks[:3], []).to_bytes())


@pytest.mark.parametrize("change", ["another set", "another transcript", "no survivor"])
def test_nothing_is_opened_for_another_set_of_survivors(change: str) -> None:
    run = Run(FEDERATION).until("open", {4: "mask"})
    confirmations = unbundle(run.close("open")[0], limit=5, message_limit=10_000)
    digest = run.server._transcript.digest
    body = {
        "another set": Survivors(digest, (0, 1, 2, 3, 4)),
        "another transcript": Survivors(bytes(32), (0, 1, 2, 3)),
        "no survivor": Survivors(digest, (0, 1, 2, 3)),
    }[change].to_bytes()
    sender = 4 if change == "no survivor" else 3
    with pytest.raises(ProtocolError, match="two different sets of survivors"):
        run.answer("open", 0, bundle([*confirmations[:3], signed(FEDERATION, sender, Kind.CONFIRM, body)]))
