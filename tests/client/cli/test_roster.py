"""`sealora-site roster`, as a site's operator types it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from enrolled_site import EnrolledSite
from typer.testing import CliRunner

from sealora_client.cli import cli
from sealora_client.site.directory import Site
from sealora_client.site.seen_rosters import read_seen
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity, key_fingerprint
from sealora_common.roster import Cosignature, Roster


def types(*words: str | Path) -> str:
    result = CliRunner().invoke(cli, ["roster", *map(str, words)])
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def enrolled(tiny_base, tmp_path_factory) -> EnrolledSite:
    return EnrolledSite(tmp_path_factory.mktemp("enrolled"), tiny_base(), None)


@pytest.fixture
def site(enrolled) -> EnrolledSite:
    """A federation of its own for each test, but for the files that it does not change."""
    roster = enrolled.roster
    yield enrolled
    (enrolled.directory / "seen-rosters.json").unlink(missing_ok=True)
    (enrolled.directory / "site-0.cosignature.json").unlink(missing_ok=True)
    roster.save(enrolled.directory / "roster.json")


def test_show_names_the_members_and_every_fingerprint_that_is_compared_by_telephone(site):
    roster = site.roster
    said = types("show", site.directory)
    for member in roster.members:
        assert f"member       {member.name}  {member.fingerprint}" in said
    assert f"coordinator  {site.coordinator.fingerprint}" in said
    assert f"server       {key_fingerprint(roster.server_key)}" in said
    assert f"number       {roster.sequence}, until {roster.expires}" in said
    assert "co-signed    by no member" in said
    assert f"fingerprint  {roster.fingerprint}" in said


def test_show_writes_nothing(site):
    before = sorted(path.name for path in site.directory.iterdir())
    types("show", site.directory)
    assert sorted(path.name for path in site.directory.iterdir()) == before


def test_show_looks_at_a_roster_that_is_not_in_place_yet(site, tmp_path):
    following = site.roster.draft().signed(site.coordinator)
    following.save(tmp_path / "next.json")
    assert following.fingerprint in types("show", site.directory, "--roster", tmp_path / "next.json")


def test_a_co_signature_is_one_that_the_coordinator_can_merge(site):
    roster = site.roster
    said = types("cosign", site.directory)
    path = site.directory / "site-0.cosignature.json"
    assert f"{path}: roster number {roster.sequence}, {roster.fingerprint}, co-signed" in said
    merged = roster.with_cosignatures([Cosignature.load(path)])
    assert merged.cosigners == ("site-0",)
    merged.save(site.directory / "roster.json")
    assert "co-signed    site-0" in types("show", site.directory)


def test_a_roster_co_signed_is_a_roster_used(site, tmp_path):
    """So that the coordinator cannot get a co-signature on each of two faces."""
    first, other = (site.roster.draft().model_copy(update={"consortium": name}) for name in ("one", "other"))
    first.signed(site.coordinator).save(tmp_path / "first.json")
    other.signed(site.coordinator).save(tmp_path / "other.json")
    types("cosign", site.directory, "--roster", tmp_path / "first.json", "--out", tmp_path / "first.cosignature.json")
    with pytest.raises(PolicyError, match=r"other.json: two faces: this roster is number"):
        types("cosign", site.directory, "--roster", tmp_path / "other.json", "--out", tmp_path / "no.json")
    assert not (tmp_path / "no.json").exists()
    with pytest.raises(PolicyError, match=r"other.json: two faces"):
        types("show", site.directory, "--roster", tmp_path / "other.json")


REFUSED = {
    "of another coordinator": (
        lambda site, usurper: site.roster.model_copy(update={"coordinator": usurper.public_key_text}).signed(usurper),
        "signed by another coordinator than the one pinned here",
    ),
    "expired": (
        lambda site, _: site.roster.draft().signed(site.coordinator, at=datetime(2020, 1, 1, tzinfo=UTC)),
        "the roster expired 2020-12-31T00:00:00Z",
    ),
    "without this site": (
        lambda site, _: site.roster.without_member("site-0").signed(site.coordinator),
        "site 'site-0' is not on the roster",
    ),
    "with another key for this site": (
        lambda site, usurper: site.roster.with_member(
            site.roster.members[0].model_copy(update={"public_key": usurper.public_key_text})
        ).signed(site.coordinator),
        "the key it lists for 'site-0' is not this site's",
    ),
    "unsigned": (lambda site, _: site.roster.draft(), "the coordinator's signature does not hold"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_roster_that_this_site_would_not_use_is_not_co_signed(site, tmp_path, case):
    make, said = REFUSED[case]
    make(site, Identity.create("x", SystemEntropy())).save(tmp_path / "roster.json")
    with pytest.raises(PolicyError, match=said):
        types("cosign", site.directory, "--roster", tmp_path / "roster.json")
    assert not (site.directory / "site-0.cosignature.json").exists()
    assert read_seen(site.directory).used == {}


@pytest.mark.parametrize(("required", "cosigned"), [(0, 0), (1, 0), (1, 1), (2, 1)])
def test_a_site_takes_part_once_as_many_have_co_signed_as_its_policy_asks(site, required, cosigned):
    site.decide(roster_cosignatures=required)
    try:
        if cosigned:
            types("cosign", site.directory)
            made = Cosignature.load(site.directory / "site-0.cosignature.json")
            site.roster.with_cosignatures([made]).save(site.directory / "roster.json")
        if required <= cosigned:
            assert Site(site.directory).roster.sequence == site.roster.sequence
        else:
            said = (
                rf"policy.yaml: roster_cosignatures is {required}, but {cosigned} member\w* ha\w+ co-signed the roster"
            )
            with pytest.raises(PolicyError, match=said):
                Site(site.directory)
    finally:
        site.decide(roster_cosignatures=0)


def test_the_roster_s_reader_is_the_common_one(site):
    assert Roster.load(site.directory / "roster.json", coordinator=site.coordinator.pin) == site.roster
