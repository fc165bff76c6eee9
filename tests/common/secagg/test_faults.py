"""Evidence of faults: each real fault proves, to anybody with the roster; what was altered or belongs to another
session does not, and neither does anything that an honest site signed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.secagg import Fault, FaultKind, ProtocolError

from secagg_misbehaviour import (
    Culprits,
    Trick,
    complains_of,
    discloses,
    made_up,
    opens_another_seed,
    opens_false_shares_of,
    shares_with,
    unusable_for,
)
from secagg_runs import Federation, Run, roster_of

FEDERATION = Federation.of(5, "curious")
"""Any three of five restore a secret; one may be corrupted, so two complaints are a fault."""
ROSTER = FEDERATION.roster


def other_shares(*holders: int) -> Trick:
    return shares_with(
        committed=dict.fromkeys(holders, lambda given: replace(made_up(), contribution=given.contribution))
    )


def no_contribution_for(holder: int) -> Trick:
    return shares_with(sealed={holder: lambda given: replace(given, contribution=os.urandom(32))})


CASES: dict[str, tuple[FaultKind, int, dict[tuple[str, int], Trick], dict[int, str]]] = {
    "complaints": (FaultKind.COMPLAINTS, 1, {("share", 1): unusable_for(2, 3)}, {}),
    "disclosure": (
        FaultKind.DISCLOSURE,
        1,
        {
            ("share", 1): unusable_for(2),
            ("disclose", 1): discloses(lambda given: {holder: made_up() for holder in given}),
        },
        {},
    ),
    "disclosure to a stranger": (
        FaultKind.DISCLOSURE,
        1,
        {("share", 1): unusable_for(2), ("disclose", 1): discloses(lambda given: {**given, 9: made_up()})},
        {},
    ),
    "share of a mask seed": (FaultKind.SHARE, 0, {("open", 0): opens_false_shares_of(4)}, {4: "mask"}),
    "share of a self-mask": (FaultKind.SHARE, 0, {("open", 0): opens_false_shares_of(4)}, {4: "open"}),
    "seed": (FaultKind.SEED, 0, {("open", 0): opens_another_seed()}, {}),
    "secret of a mask seed": (FaultKind.SECRET, 4, {("share", 4): other_shares(0, 1, 2, 3)}, {4: "mask"}),
    "secret of a self-mask": (FaultKind.SECRET, 4, {("share", 4): other_shares(0, 1, 2, 3)}, {4: "open"}),
    "contribution": (
        FaultKind.CONTRIBUTION,
        0,
        {("share", 0): no_contribution_for(4), ("check", 4): complains_of()},
        {4: "mask"},
    ),
}
every_case = pytest.mark.parametrize("case", CASES)


def misbehave(case: str) -> Run:
    """A round in which a site does so."""
    _, _, tricks, drops = CASES[case]
    run = Culprits(tricks).join(Run(FEDERATION))
    with suppress(ProtocolError):  # some of these void the round
        run.finish(drops)
    return run


@cache
def fault_of(case: str, session: int = 0) -> Fault:
    """The fault of one session; another session has the same terms and other keys."""
    (fault,) = misbehave(case).server.faults
    return fault


def refused(fault: Fault) -> None:
    with pytest.raises(ProtocolError):
        fault.prove(ROSTER)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


# --- real faults


@every_case
def test_a_fault_proves_to_anybody_with_the_roster(case: str) -> None:
    kind, site, _, _ = CASES[case]
    fault = fault_of(case)
    assert (fault.kind, fault.site) == (kind, site)
    fault.prove(roster_of(5))
    assert fault.sentence


@every_case
def test_evidence_reads_back_and_proves_as_well(case: str) -> None:
    fault = fault_of(case)
    read = Fault.from_bytes(fault.to_bytes())
    assert read == fault
    read.prove(ROSTER)


def test_every_kind_is_among_the_cases() -> None:
    assert {kind for kind, _, _, _ in CASES.values()} == set(FaultKind)


def test_every_kind_has_a_sentence_of_its_own() -> None:
    fault = fault_of("seed")
    assert len({replace(fault, kind=kind).sentence for kind in FaultKind}) == len(FaultKind)


# --- altered evidence


def variants(fault: Fault) -> Iterator[Fault]:
    """The evidence with one thing changed that it rests on."""
    for name in ("messages", "extra"):
        parts = getattr(fault, name)
        for place, part in enumerate(parts):
            before, after = parts[:place], parts[place + 1 :]
            for at in (0, len(part) // 3, len(part) // 2, len(part) - 32, len(part) - 1):
                yield replace(fault, **{name: (*before, flipped(part, at), *after)})
            yield replace(fault, **{name: (*before, part[:-1], *after)})
            yield replace(fault, **{name: (*before, b"", *after)})
            yield replace(fault, **{name: (*before, *after)})
    yield replace(fault, messages=())
    if fault.kind is FaultKind.COMPLAINTS:
        yield replace(fault, messages=fault.messages[:1] * 2)
    elif fault.kind is FaultKind.CONTRIBUTION:
        yield replace(fault, extra=fault.extra[::-1])
    else:
        yield replace(fault, messages=(*fault.messages[1:], fault.messages[0]))
    for site in {*range(6), 65535} - {fault.site}:
        yield replace(fault, site=site)
    for kind in set(FaultKind) - {fault.kind}:
        yield replace(fault, kind=kind)
    keys, shared = fault.transcript.keys, fault.transcript.shared
    states = 4 if fault.kind is FaultKind.SHARE else fault.site  # whose statement it is
    spoilt = replace(shared[states], statement=os.urandom(32))
    for changes in (
        {"keys": {**keys, 2: os.urandom(32)}},
        {"keys": {}},
        {"shared": {}},
        {"shared": {**shared, states: spoilt}},
        {"shared": {**shared, states: replace(shared[states], neighbours=shared[states].neighbours[1:])}},
    ):
        yield replace(fault, transcript=replace(fault.transcript, **changes))


@every_case
def test_altered_evidence_shows_nothing(case: str) -> None:
    fault = fault_of(case)
    for variant in variants(fault):
        assert variant != fault
        refused(variant)


@pytest.mark.parametrize("case", [case for case, (kind, *_) in CASES.items() if kind in (3, 4, 5)])
def test_an_opening_is_evidence_among_those_that_checked_alone(case: str) -> None:
    fault = fault_of(case)
    for checked in ((), fault.transcript.checked[1:], fault.transcript.checked[:-1]):
        refused(replace(fault, transcript=replace(fault.transcript, checked=checked)))


TERMS: dict[str, Any] = {
    "run": bytes(16),
    "round_number": 2,
    "attempt": 2,
    "recipe_hash": bytes(32),
    "roster_hash": bytes(32),
    "order_digest": bytes(32),
    "roster_size": 4,
    "threshold": 4,
    "min_survivors": 3,
    "segments": (),
    "sessions": 2,
    "sparse": False,
}


@every_case
def test_evidence_holds_under_its_own_terms_alone(case: str) -> None:
    fault = fault_of(case)
    assert set(TERMS) == set(FEDERATION.terms.__dataclass_fields__)
    for name, value in TERMS.items():
        refused(replace(fault, terms=replace(fault.terms, **{name: value})))


@every_case
def test_evidence_under_another_roster_shows_nothing(case: str) -> None:
    for other in (roster_of(4), roster_of(6), roster_of(5, prefix="other")):
        with pytest.raises(ProtocolError, match="another roster"):
            fault_of(case).prove(other)


@every_case
@settings(max_examples=60)
@given(data=st.data())
def test_an_altered_byte_never_names_another_site_or_fault(case: str, data: st.DataObject) -> None:
    """It is refused, or it was in a part that the evidence does not rest on, and shows what it showed before."""
    fault = fault_of(case)
    altered = bytearray(fault.to_bytes())
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = Fault.from_bytes(bytes(altered))
        assert read.to_bytes() == bytes(altered)
        read.prove(ROSTER)
    except ProtocolError:
        return
    assert (read.site, read.kind) == (fault.site, fault.kind)


@every_case
@pytest.mark.parametrize("length", [0, 3, 6, 7, 100, -1])
def test_evidence_that_is_cut_short_is_refused(case: str, length: int) -> None:
    with pytest.raises(ProtocolError):
        Fault.from_bytes(fault_of(case).to_bytes()[:length])


def test_what_is_no_evidence_is_refused() -> None:
    content = fault_of("seed").to_bytes()
    with pytest.raises(ProtocolError, match="no evidence"):
        Fault.from_bytes(b"SLRA" + content[4:])
    for kind in (0, 7, 255):
        with pytest.raises(ProtocolError, match="a kind this version does not know"):
            Fault.from_bytes(content[:6] + bytes([kind]) + content[7:])
    with pytest.raises(ProtocolError, match="trailing"):
        Fault.from_bytes(content + b"\0")


# --- other sessions


@every_case
def test_evidence_of_two_sessions_cannot_be_mixed(case: str) -> None:
    """The order is given twice, so the terms are the same; the keys are fresh."""
    one, other = fault_of(case, 0), fault_of(case, 1)
    assert one.terms == other.terms
    assert one.transcript.keys != other.transcript.keys
    refused(replace(one, transcript=other.transcript))
    for name in ("messages", "extra"):
        mine, theirs = getattr(one, name), getattr(other, name)
        for place in range(len(mine)):
            refused(replace(one, **{name: (*mine[:place], theirs[place], *mine[place + 1 :])}))


@every_case
def test_a_transcript_that_was_put_together_shows_nothing(case: str) -> None:
    one, other = fault_of(case, 0).transcript, fault_of(case, 1).transcript
    fault = fault_of(case)
    for transcript in (replace(one, keys=other.keys), replace(one, shared=other.shared)):
        refused(replace(fault, transcript=transcript))
