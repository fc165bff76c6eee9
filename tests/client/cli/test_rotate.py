"""`sealora-site rotate`: new keys for one site, while the federation goes on."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from enrolled_site import EnrolledSite
from typer.testing import CliRunner

from sealora_client.cli import cli
from sealora_client.fleet.node_key import load_node_key, public_half
from sealora_client.ledger import Ledger
from sealora_client.site.config import SiteConfig
from sealora_client.site.directory import Site
from sealora_client.site.process_lock import only_process
from sealora_client.site.rotation import finish_rotation
from sealora_common.errors import PolicyError, SealoraError
from sealora_common.identity import PASSPHRASE_FILE, Identity, key_to_text
from sealora_common.identity.card import SiteCard
from sealora_common.privacy.accounting import PrivacyEvent

KEYS = ("identity.pem", "node.key")


@pytest.fixture
def site(tmp_path: Path, tiny_base: Callable[..., Path]) -> EnrolledSite:
    return EnrolledSite(tmp_path, tiny_base(), "https://server.example:9443")


def rotate(site: EnrolledSite, *options: str) -> str:
    result = CliRunner().invoke(cli, ["rotate", str(site.directory), *options])
    if result.exception is not None:
        raise result.exception
    return result.output


def new_card(site: EnrolledSite) -> SiteCard:
    return SiteCard.load(site.directory / "next-keys" / "site-0.card.json")


def take_in(site: EnrolledSite) -> None:
    """What the coordinator does: the new card goes onto the roster, which is signed and sent around."""
    card = new_card(site)
    site.list_as(public_key=card.public_key, node_key=card.node_key)


def charge(site: EnrolledSite, run: str) -> None:
    opened = Site(site.directory)
    with opened.ledger() as ledger:
        ledger.charge(
            dataset=opened.data.train_set,
            run=run,
            round_number=1,
            event=PrivacyEvent(50.0, 0.1, 1),
            delta=1e-3,
            epsilon_limit=8.0,
        )


def test_new_keys_take_the_place_of_the_old_once_the_roster_lists_them(site: EnrolledSite) -> None:
    former = Site(site.directory).identity.public_key
    others = site.roster.members[1:]
    rotate(site)
    assert Site(site.directory).identity.public_key == former  # still at work with the old ones
    card = new_card(site)
    take_in(site)
    with pytest.raises(PolicyError, match="the key it lists for 'site-0' is not this site's"):
        Site(site.directory)
    rotate(site, "--finish")
    opened = Site(site.directory)
    assert opened.identity.public_key_text == card.public_key != key_to_text(former)
    assert public_half(load_node_key(site.directory / "node.key")) == card.node_key
    assert SiteCard.load(site.directory / "site-0.card.json") == card
    assert site.roster.members[1:] == others
    assert not (site.directory / "next-keys").exists()
    kept = Identity.load("site-0", site.directory / "former-keys" / "identity.pem")
    assert kept.public_key == former


def test_the_ledger_goes_on_under_the_new_key(site: EnrolledSite) -> None:
    charge(site, "ab" * 16)
    rotate(site)
    take_in(site)
    rotate(site, "--finish")
    charge(site, "cd" * 16)
    opened = Site(site.directory)
    with Ledger(site.directory / "ledger.sqlite", opened.identity) as ledger:
        assert len(ledger.charges()) == 2
        assert ledger.verify().signed_by == opened.identity.pin


def test_new_private_keys_are_their_owner_s_alone(site: EnrolledSite) -> None:
    rotate(site)
    waiting = site.directory / "next-keys"
    assert stat.S_IMODE(waiting.stat().st_mode) == 0o700
    assert {stat.S_IMODE((waiting / key).stat().st_mode) for key in KEYS} == {0o600}


def test_new_keys_can_be_locked(site: EnrolledSite, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.directory / "passphrase").write_text("secret")
    monkeypatch.setenv(PASSPHRASE_FILE, str(site.directory / "passphrase"))
    rotate(site, "--lock")
    assert b"ENCRYPTED" in (site.directory / "next-keys" / "identity.pem").read_bytes()
    take_in(site)
    rotate(site, "--finish")
    assert Site(site.directory).identity.name == "site-0"


def test_before_the_roster_lists_them_the_old_keys_stay(site: EnrolledSite) -> None:
    before = {key: (site.directory / key).read_bytes() for key in KEYS}
    rotate(site)
    with pytest.raises(PolicyError, match="lists this site's old keys: have the coordinator add"):
        rotate(site, "--finish")
    assert {key: (site.directory / key).read_bytes() for key in KEYS} == before
    Site(site.directory)


def test_a_roster_that_lists_only_one_of_them_does_not_do(site: EnrolledSite) -> None:
    rotate(site)
    site.list_as(public_key=new_card(site).public_key)
    with pytest.raises(PolicyError, match="lists this site's old keys"):
        rotate(site, "--finish")


def test_keys_that_wait_are_not_made_again(site: EnrolledSite) -> None:
    rotate(site)
    card = new_card(site)
    with pytest.raises(PolicyError, match="new keys wait already"):
        rotate(site)
    assert new_card(site) == card


def test_without_new_keys_there_is_nothing_to_finish(site: EnrolledSite) -> None:
    with pytest.raises(PolicyError, match="no new keys wait: run `sealora-site rotate` first"):
        rotate(site, "--finish")


def test_a_site_at_work_is_not_changed_under_its_feet(site: EnrolledSite) -> None:
    rotate(site)
    take_in(site)
    with only_process(site.directory), pytest.raises(PolicyError, match="another process runs this site already"):
        rotate(site, "--finish")


@pytest.mark.parametrize("step", range(6))
def test_interrupted_anywhere_it_can_be_finished(site: EnrolledSite, step: int) -> None:
    """Power is lost before the step-th change of a file; the next attempt finishes the work."""
    charge(site, "ab" * 16)
    former = Site(site.directory).identity.public_key
    rotate(site)
    card = new_card(site)
    take_in(site)
    left = [step]

    class PowerLostError(Exception):
        pass

    def until_power_is_lost() -> None:
        if left[0] == 0:
            raise PowerLostError
        left[0] -= 1

    with pytest.raises(PowerLostError):
        finish_rotation(site.directory, SiteConfig.load(site.directory / "site.yaml"), until_power_is_lost)
    rotate(site, "--finish")
    opened = Site(site.directory)
    assert opened.identity.public_key_text == card.public_key
    assert public_half(load_node_key(site.directory / "node.key")) == card.node_key
    assert Identity.load("site-0", site.directory / "former-keys" / "identity.pem").public_key == former
    assert public_half(load_node_key(site.directory / "former-keys" / "node.key")) != card.node_key
    with Ledger(site.directory / "ledger.sqlite", opened.identity) as ledger:
        assert len(ledger.charges()) == 1


def test_a_damaged_new_card_is_one_sentence(site: EnrolledSite) -> None:
    rotate(site)
    (site.directory / "next-keys" / "site-0.card.json").write_bytes(b"{")
    with pytest.raises(SealoraError) as caught:
        rotate(site, "--finish")
    assert "\n" not in str(caught.value)
