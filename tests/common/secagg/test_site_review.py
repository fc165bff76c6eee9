"""What a site holds against what it knows: shares, complaints, disclosures and who goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sealora_common.secagg import ProtocolError, TooFewSitesError
from sealora_common.secagg.bodies import (
    Advertisement,
    CheckRequest,
    CheckStatement,
    Disclosure,
    Given,
    MaskRequest,
    ShareStatement,
)
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.messages import Kind, bundle, content_digest, unbundle
from sealora_common.secagg.transcript import Shared

from secagg_misbehaviour import Culprits, body_of, made_up, shares_with, signed, unusable_for
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(5)
SPARSE = Federation.of(6, "curious", small_graph=Neighbourhood(3, 3))
"""Each site draws three of the five others, and so there are some that draw a site and some that do not."""


# --- share


def advertised(run: Run) -> list[bytes]:
    return unbundle(run.close("share")[0], limit=5, message_limit=10_000)


def shares_under(change: Callable[[Advertisement, Advertisement], Advertisement]) -> None:
    """Site 0 is told other keys of site 3: what `change` makes of its own and site 2's."""
    run = Run(FEDERATION).until("share")
    messages = advertised(run)
    two, three = (Advertisement.from_bytes(body_of(FEDERATION, messages[index], Kind.ADVERTISE)) for index in (2, 3))
    messages[3] = signed(FEDERATION, 3, Kind.ADVERTISE, change(three, two).to_bytes())
    run.answer("share", 0, bundle(messages))


@pytest.mark.parametrize(
    "change",
    [
        lambda own, other: Advertisement(other.share_public, own.mask_public),
        lambda own, other: Advertisement(own.share_public, other.share_public),
        lambda own, _: Advertisement(own.share_public, own.share_public),
        lambda own, other: Advertisement(own.share_public[:1184] + other.share_public[1184:], own.mask_public),
        lambda own, other: Advertisement(own.share_public, other.mask_public[:1184] + own.mask_public[1184:]),
        lambda own, _: Advertisement(own.share_public, own.mask_public[:1184] + own.share_public[1184:]),
    ],
    ids=["another's", "another's other", "twice", "half another's", "other half", "half twice"],
)
def test_a_key_that_two_have_any_half_of_is_refused(
    change: Callable[[Advertisement, Advertisement], Advertisement],
) -> None:
    with pytest.raises(ProtocolError, match="advertised twice"):
        shares_under(change)


@pytest.mark.parametrize(
    "change",
    [
        lambda own, _: Advertisement(own.share_public, own.mask_public[:1184] + bytes(32)),
        lambda own, _: Advertisement(own.share_public[:-1] + bytes([own.share_public[-1] | 0x80]), own.mask_public),
        lambda own, _: Advertisement(b"\xff" * 3 + own.share_public[3:], own.mask_public),
    ],
    ids=["small order", "another spelling", "coefficient above the modulus"],
)
def test_an_unusable_key_is_refused(change: Callable[[Advertisement, Advertisement], Advertisement]) -> None:
    with pytest.raises(ProtocolError, match="unusable"):
        shares_under(change)


def test_a_site_misses_its_own_keys() -> None:
    run = Run(FEDERATION).until("share")
    messages = advertised(run)
    with pytest.raises(ProtocolError, match="own keys are not among"):
        run.answer("share", 0, bundle(messages[1:]))
    again = Run(FEDERATION).until("share")
    messages[0] = advertised(again)[0]
    with pytest.raises(ProtocolError, match="own keys are not among"):
        run.answer("share", 1, bundle([messages[0], *messages[2:]]))


# --- check


def checks(change: Callable[[Run, CheckRequest], CheckRequest]) -> None:
    """Site 0 checks what `change` makes of what it should be told."""
    run = Run(FEDERATION).until("check")
    told = CheckRequest.from_bytes(run.close("check")[0])
    run.answer("check", 0, change(run, told).to_bytes())


def drawn_and_not() -> tuple[Run, int, int, int, CheckRequest]:
    """A sparse round before its checks: a site, one that drew it, one that did not, and what it should be told."""
    run = Run(SPARSE).until("check")
    requests = run.close("check")
    drawn = {site: set(run.sites[site]._state.neighbours) for site in range(6)}
    for site in range(6):
        by = [other for other in set(range(6)) - {site} if site in drawn[other]]
        not_by = [other for other in set(range(6)) - {site} if site not in drawn[other]]
        if by and not_by:
            return run, site, by[0], not_by[0], CheckRequest.from_bytes(requests[site])
    raise AssertionError("eighteen draws cannot be thirty, nor six sites all be drawn by all or none")


def told_of(told: CheckRequest, site: int, **changes: object) -> CheckRequest:
    """The request with another row for a site."""
    return replace(told, table=told.table | {site: replace(told.table[site], **changes)})


def test_an_envelope_that_is_withheld_is_missed() -> None:
    with pytest.raises(ProtocolError, match="withheld"):
        checks(lambda _, told: replace(told, sent={sender: each for sender, each in told.sent.items() if sender != 2}))


def test_an_envelope_of_a_site_that_did_not_draw_this_one_is_refused() -> None:
    run, site, _, stranger, told = drawn_and_not()
    one = run.server._shared[stranger]
    sent = told.sent | {stranger: (one.signed, next(iter(one.envelopes.values())))}
    with pytest.raises(ProtocolError, match="withheld, or comes from none"):
        run.answer("check", site, replace(told, sent=sent).to_bytes())


@pytest.mark.parametrize("part", ["shares", "contribution"])
def test_an_envelope_that_was_altered_on_its_way_is_no_fault_of_its_sender(part: str) -> None:
    def change(_: Run, told: CheckRequest) -> CheckRequest:
        statement, envelope = told.sent[2]
        content = getattr(envelope, part)
        return replace(
            told, sent=told.sent | {2: (statement, replace(envelope, **{part: bytes([content[0] ^ 1]) + content[1:]}))}
        )

    with pytest.raises(ProtocolError, match="not the one its sender signed for"):
        checks(change)


def test_envelopes_cannot_be_swapped() -> None:
    with pytest.raises(ProtocolError, match="not the one its sender signed for"):
        checks(
            lambda _, told: replace(
                told, sent=told.sent | {1: (told.sent[1][0], told.sent[2][1]), 2: (told.sent[2][0], told.sent[1][1])}
            )
        )


def test_statements_cannot_be_swapped_or_left_out_of_the_table() -> None:
    with pytest.raises(ProtocolError, match="not the one that the server told of"):
        checks(lambda _, told: replace(told, sent=told.sent | {1: (told.sent[2][0], told.sent[1][1])}))
    with pytest.raises(ProtocolError, match="not the one that the server told of"):
        checks(lambda _, told: told_of(told, 2, statement=bytes(32)))


def test_a_site_looks_for_its_own_row() -> None:
    with pytest.raises(ProtocolError, match="not those of this round"):
        checks(lambda _, told: told_of(told, 0, statement=bytes(32)))
    with pytest.raises(ProtocolError, match="not those of this round"):
        checks(lambda _, told: replace(told, table={site: told.table[site] for site in range(1, 5)}))


def test_draws_are_those_of_the_terms_and_of_the_statements() -> None:
    with pytest.raises(ProtocolError, match="other neighbours than it should"):
        checks(lambda _, told: told_of(told, 2, neighbours=(0, 1)))
    with pytest.raises(ProtocolError, match="other neighbours than it should"):
        checks(lambda _, told: told_of(told, 2, neighbours=(0, 1, 3, 9)))

    run, site, drew, _, told = drawn_and_not()
    kept, left_out = site, next(iter({*told.table[drew].neighbours} - {site}))
    others = sorted({*range(6)} - {drew, kept, left_out})[:2]
    forged = told_of(told, drew, neighbours=tuple(sorted((kept, *others))))
    with pytest.raises(ProtocolError, match="other neighbours than the server told"):
        run.answer("check", site, forged.to_bytes())


def test_who_took_no_part_shared_nothing() -> None:
    run = Run(FEDERATION).until("check", {4: "advertise"})
    told = CheckRequest.from_bytes(run.close("check")[0])
    table = told.table | {4: Shared(bytes(32), (0, 1, 2))}
    with pytest.raises(ProtocolError, match="takes no part"):
        run.answer("check", 0, replace(told, table=table).to_bytes())


def test_a_statement_made_under_other_keys_is_the_servers_doing() -> None:
    """The server showed site 2 another set of keys: site 0 says so, and complains of nobody."""

    def change(_: Run, told: CheckRequest) -> CheckRequest:
        message, envelope = told.sent[2]
        statement = ShareStatement.from_bytes(body_of(FEDERATION, message, Kind.SHARE))
        other = signed(FEDERATION, 2, Kind.SHARE, replace(statement, keys_digest=bytes(32)).to_bytes())
        told = told_of(told, 2, statement=content_digest(other))
        return replace(told, sent=told.sent | {2: (other, envelope)})

    with pytest.raises(ProtocolError, match="two different sets of keys"):
        checks(change)


def test_too_few_holders_of_this_site_are_too_few() -> None:
    run = Run(SPARSE).until("check")
    told = CheckRequest.from_bytes(run.close("check")[0])
    drawn = told.table[0].neighbours
    left = {0, *(site for site in range(6) if site not in drawn[:2])}
    table = {site: told.table[site] for site in left}
    sent = {site: each for site, each in told.sent.items() if site in left}
    assert len(table) == SPARSE.terms.needed == 4
    with pytest.raises(TooFewSitesError, match="only 2 holders of site 'site-0000' are left, 3 are needed"):
        run.answer("check", 0, CheckRequest(table, sent).to_bytes())


# --- complaints and disclosures


def accused() -> Run:
    """A round up to the mask stage in which site 0 cannot use what site 1 sent it."""
    return Culprits({("share", 1): unusable_for(0)}).join(Run(FEDERATION))


def test_a_site_complains_of_what_does_not_open_or_fit_and_of_nothing_else() -> None:
    rubbish = Culprits({("share", 1): unusable_for(0, 2), ("share", 3): unusable_for(0)})
    run = rubbish.join(Run(Federation.of(7))).until("disclose")
    assert run.sites[0].complaints == (1, 3)
    assert run.sites[2].complaints == (1,)
    assert all(run.sites[site].complaints == () for site in (1, 3, 4, 5, 6))
    checked = CheckStatement.from_bytes(body_of(run.federation, run.answers["check"][0], Kind.CHECK))
    assert checked.complaints == (1, 3)
    assert checked.transcript == run.server._transcript.shared_digest


@pytest.mark.parametrize("piece", ["self_mask", "mask_seed", "contribution"])
def test_each_piece_is_held_against_its_commitment(piece: str) -> None:
    def spoil(given: Given) -> Given:
        return replace(given, **{piece: bytes(32)})

    run = Culprits({("share", 1): shares_with(sealed={0: spoil})}).join(Run(FEDERATION)).until("disclose")
    assert run.sites[0].complaints == (1,)


def test_a_complaint_that_is_answered_costs_nobody_a_vector() -> None:
    run = accused()
    opened = run.finish()
    assert run.requests["disclose"].keys() == {1}
    assert same(opened.vector, run.expected(range(5)))


def test_a_site_does_not_go_on_with_one_whose_shares_it_cannot_use() -> None:
    run = accused().until("mask")
    told = MaskRequest.from_bytes(run.close("mask")[0], limit=5)
    assert len(told.disclosures) == 1
    with pytest.raises(ProtocolError, match="whose shares this one cannot use"):
        run.answer("mask", 0, replace(told, disclosures=[]).to_bytes())


@pytest.mark.parametrize("change", ["given", "transcript", "holder", "unasked", "complainer's own"])
def test_a_disclosure_that_is_not_what_was_committed_to_is_refused(change: str) -> None:
    run = accused().until("mask")
    told = MaskRequest.from_bytes(run.close("mask")[0], limit=5)
    disclosure = Disclosure.from_bytes(body_of(FEDERATION, told.disclosures[0], Kind.DISCLOSE))
    made = {
        "given": replace(disclosure, given={0: made_up()}),
        "transcript": replace(disclosure, transcript=bytes(32)),
        "holder": replace(disclosure, given={2: disclosure.given[0]}),
    }.get(change, disclosure)
    sender = {"unasked": 2, "complainer's own": 0}.get(change, 1)
    forged = signed(FEDERATION, sender, Kind.DISCLOSE, made.to_bytes())
    with pytest.raises(ProtocolError, match=r"did not ask for|other shares than it committed to"):
        run.answer("mask", 0, replace(told, disclosures=[forged]).to_bytes())


def discloses(messages: Callable[[Run, list[bytes]], list[bytes]], federation: Federation = FEDERATION) -> None:
    """Site 1 is asked to disclose by what `messages` makes of the complaints of it."""
    run = Culprits({("share", 1): unusable_for(0)}).join(Run(federation)).until("disclose")
    complaints = unbundle(run.close("disclose")[1], limit=7, message_limit=10_000)
    run.answer("disclose", 1, bundle(messages(run, complaints)))


def test_nothing_is_disclosed_to_who_does_not_complain() -> None:
    with pytest.raises(ProtocolError, match="is said to complain that does not"):
        discloses(lambda run, complaints: [*complaints, run.answers["check"][2]])

    def of_another_session(run: Run, complaints: list[bytes]) -> list[bytes]:
        body = CheckStatement(bytes(32), (1,)).to_bytes()
        return [*complaints, signed(run.federation, 2, Kind.CHECK, body)]

    with pytest.raises(ProtocolError, match="two different sets"):
        discloses(of_another_session)


def test_nothing_is_disclosed_where_it_would_restore_a_secret() -> None:
    """Whoever complains is told its own shares once more; with a threshold of them a secret is known."""

    def complaints_of(*sites: int) -> Callable[[Run, list[bytes]], list[bytes]]:
        def made(run: Run, _: list[bytes]) -> list[bytes]:
            body = CheckStatement(run.server._transcript.shared_digest, (1,)).to_bytes()
            return [signed(run.federation, site, Kind.CHECK, body) for site in sites]

        return made

    assert FEDERATION.terms.threshold == 4
    discloses(complaints_of(0, 2, 3))
    with pytest.raises(ProtocolError, match="so many sites complain"):
        discloses(complaints_of(0, 2, 3, 4))


def test_nothing_is_disclosed_to_a_site_that_was_given_nothing() -> None:
    run = Run(SPARSE).until("disclose")
    run.close("disclose")
    stranger = next(site for site in range(1, 6) if site not in run.sites[0]._state.given)
    body = CheckStatement(run.server._transcript.shared_digest, (0,)).to_bytes()
    complaint = signed(SPARSE, stranger, Kind.CHECK, body)
    with pytest.raises(ProtocolError, match="is said to complain that does not"):
        run.answer("disclose", 0, bundle([complaint]))


# --- who goes on


def masks(change: Callable[[Run, MaskRequest], MaskRequest]) -> None:
    run = Run(FEDERATION).until("mask")
    told = MaskRequest.from_bytes(run.close("mask")[0], limit=5)
    run.answer("mask", 0, change(run, told).to_bytes())


def test_a_site_must_be_among_those_that_go_on_with_what_it_said_itself() -> None:
    with pytest.raises(ProtocolError, match="not those that checked"):
        masks(lambda _, told: replace(told, checks=told.checks[1:]))

    def other_words(run: Run, told: MaskRequest) -> MaskRequest:
        body = CheckStatement(run.server._transcript.shared_digest, (3,)).to_bytes()
        return replace(told, checks=[signed(FEDERATION, 0, Kind.CHECK, body), *told.checks[1:]])

    with pytest.raises(ProtocolError, match="not those that checked"):
        masks(other_words)


def test_nobody_goes_on_twice() -> None:
    with pytest.raises(ProtocolError, match="not those that checked"):
        masks(lambda _, told: replace(told, checks=[*told.checks[:4], told.checks[3]]))


def test_a_check_of_another_transcript_is_the_servers_doing() -> None:
    def change(_: Run, told: MaskRequest) -> MaskRequest:
        other = signed(FEDERATION, 4, Kind.CHECK, CheckStatement(bytes(32), ()).to_bytes())
        return replace(told, checks=[*told.checks[:4], other])

    with pytest.raises(ProtocolError, match="two different sets of keys or shares"):
        masks(change)


def test_who_shared_nothing_has_nothing_to_check() -> None:
    run = Run(FEDERATION).until("mask", {4: "share"})
    told = MaskRequest.from_bytes(run.close("mask")[0], limit=5)
    other = signed(FEDERATION, 4, Kind.CHECK, CheckStatement(run.server._transcript.shared_digest, ()).to_bytes())
    with pytest.raises(ProtocolError, match="checked that shared nothing"):
        run.answer("mask", 0, replace(told, checks=[*told.checks, other]).to_bytes())
