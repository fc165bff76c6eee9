"""New keys for one site, in two steps, without a day on which it can take no part.

The first step makes the new keys beside the old ones, which stay in use, and a card for the coordinator. Once the
roster lists the new keys, the second step puts them in place. No other site's keys are touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sealora_client.site.config import SiteConfig
from sealora_client.site.enrolment import IDENTITY, NODE_KEY, Passphrase, make_keys
from sealora_client.site.process_lock import only_process
from sealora_client.site.seen_rosters import check_roster
from sealora_common.errors import PolicyError, StorageError, storage_error
from sealora_common.identity import Identity
from sealora_common.identity.card import SiteCard
from sealora_common.roster import Roster
from sealora_common.storage.durable import rename_durably
from sealora_common.storage.own_files import make_directory

NEXT = "next-keys"
"""Where the new keys wait."""
FORMER = "former-keys"
"""Where the old keys go."""


def begin_rotation(directory: Path, config: SiteConfig, passphrase: Passphrase) -> tuple[SiteCard, Path]:
    """Makes the new keys and their card, beside those in use; returns the card and its file.

    Raises:
        PolicyError: new keys wait already.
        StorageError: a file could not be written.
    """
    waiting = directory / NEXT
    if waiting.exists():
        raise PolicyError(
            f"{waiting} exists: new keys wait already; send the card in it to the coordinator, then run this with "
            "--finish, or remove it to begin anew"
        )
    make_directory(waiting)
    return make_keys(config.name, waiting, passphrase())


def finish_rotation(directory: Path, config: SiteConfig, before_change: Callable[[], None] = lambda: None) -> None:
    """Puts the new keys in place of the old ones. Cut off at any instant it can be called again.

    Args:
        directory: the site's.
        config: its site.yaml.
        before_change: called before each change of a file.

    Raises:
        PolicyError: no new keys wait, the roster does not list them, or the site is at work.
        StorageError: a file could not be read or written.
    """
    waiting = directory / NEXT
    if not waiting.is_dir():
        raise PolicyError(f"{waiting}: no new keys wait: run `sealora-site rotate` first")
    card_file = f"{config.name}.card.json"
    moved = not (waiting / card_file).exists() and not (waiting / IDENTITY).exists()  # by an attempt that was cut off
    card = SiteCard.load((directory if moved else waiting) / card_file)
    roster = Roster.load(directory / "roster.json", coordinator=config.coordinator)
    check_roster(directory, roster, datetime.now(UTC))
    member = roster.members[roster.index(config.name)]
    if (member.public_key, member.node_key) != (card.public_key, card.node_key):
        raise PolicyError(
            f"{directory / 'roster.json'}: lists this site's old keys: have the coordinator add {waiting / card_file} "
            "to the roster and sign it, and put the new roster here"
        )
    with only_process(directory):
        _hand_over_ledger(directory, config.name)
        _keep_former(directory, config, before_change)
        for file, place in ((NODE_KEY, config.node_key), (IDENTITY, Path(IDENTITY)), (card_file, Path(card_file))):
            if (waiting / file).exists():  # not if an earlier attempt was interrupted after it
                before_change()
                rename_durably(waiting / file, directory / place)
        before_change()
        _remove(waiting)


def _hand_over_ledger(directory: Path, name: str) -> None:
    """Lets the new identity go on with the ledger that the old one signed."""
    from sealora_client.ledger import LEDGER, Ledger
    from sealora_client.ledger.recovery import accept_ledger

    path = directory / LEDGER
    if not path.exists() or not (directory / NEXT / IDENTITY).exists():
        return
    old = Identity.load(name, directory / IDENTITY)
    new = Identity.load(name, directory / NEXT / IDENTITY)
    try:
        with Ledger(path, new) as ledger:
            ledger.verify()
        return  # an earlier attempt came so far
    except StorageError:
        accept_ledger(path, new, signed_by=old.pin)


def _keep_former(directory: Path, config: SiteConfig, before_change: Callable[[], None]) -> None:
    """Copies the old keys aside, unless they are there: until the end, either pair can be put back."""
    former = directory / FORMER
    try:
        make_directory(former)
        for waiting, place in ((IDENTITY, Path(IDENTITY)), (NODE_KEY, config.node_key)):
            if (directory / NEXT / waiting).exists():  # else it has been replaced already
                (former / waiting).unlink(missing_ok=True)
                before_change()
                os.link(directory / place, former / waiting)
    except OSError as error:
        raise storage_error(former, error) from error


def _remove(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError as error:
        raise storage_error(directory, error) from error
