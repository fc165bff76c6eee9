"""Sybil sites: the server fills the round with sites of its own, so that the victim is alone among them.

The rule: a site takes only keys of sites on the roster it pinned, and the roster only with the coordinator's
signature.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError
from sealora_common.roster import Member, Roster
from sealora_common.secagg import ProtocolError, RingVector, SiteSession
from sealora_common.secagg.messages import open_signed
from secagg_weakened import weaken_everywhere

from secagg_attacker import surrounds
from secagg_runs import Federation, identity, same, vector_of

FEDERATION = Federation.of(4)
VICTIM = 0


def fill_with_sybils() -> RingVector | None:
    """Each sybil has a roster on which it stands, and the terms of the true one."""
    names = [*FEDERATION.roster.names, "sybil-4", "sybil-5", "sybil-6"]
    padded = Roster.create("consortium", {name: identity(name).public_key for name in names}, identity("the server"))
    peers = {
        peer: SiteSession.begin(FEDERATION.terms, padded, identity(f"sybil-{peer}"), SystemEntropy())
        for peer in (4, 5, 6)
    }
    return surrounds(FEDERATION, VICTIM, peers)


def test_sybils_read_a_site_that_takes_keys_of_sites_off_the_roster(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken_everywhere(
        monkeypatch, open_signed, ("sender >= len(roster) or not verify", "sender < len(roster) and not verify")
    )
    read = fill_with_sybils()
    assert read is not None
    assert same(read, vector_of(FEDERATION.terms.segments, VICTIM))


def test_sybils_are_refused() -> None:
    with pytest.raises(ProtocolError, match="not signed by a site of the roster"):
        fill_with_sybils()


def padded_with_sybils(path: Path) -> Path:
    roster = FEDERATION.roster
    sybils = tuple(Member(name=f"zz-{n}", public_key=identity(f"sybil-{n}").public_key_text) for n in range(3))
    path.write_text(roster.model_copy(update={"members": roster.members + sybils}).model_dump_json())
    return path


def test_a_roster_padded_with_sybils_loads_where_its_signature_is_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Roster, "is_signed", True)
    assert len(Roster.load(padded_with_sybils(tmp_path / "roster.json"))) == 7


def test_a_roster_padded_with_sybils_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="signature does not hold"):
        Roster.load(padded_with_sybils(tmp_path / "roster.json"))


def signed_by_the_server(path: Path) -> Path:
    names = [*FEDERATION.roster.names, "zz-0", "zz-1"]
    keys_of = {name: identity(name).public_key for name in names}
    path.write_text(Roster.create("consortium", keys_of, identity("the server")).model_dump_json())
    return path


def test_a_roster_that_the_server_signed_loads_where_the_coordinator_is_not_pinned(tmp_path: Path) -> None:
    assert len(Roster.load(signed_by_the_server(tmp_path / "roster.json"))) == 6


def test_a_roster_that_the_server_signed_is_refused_where_the_coordinator_is_pinned(tmp_path: Path) -> None:
    pinned = identity("coordinator").pin
    with pytest.raises(PolicyError, match="another coordinator"):
        Roster.load(signed_by_the_server(tmp_path / "roster.json"), coordinator=pinned)
