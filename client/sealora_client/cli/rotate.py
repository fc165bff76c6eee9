"""`sealora-site rotate`: new keys for one site, in two steps, without a day on which it can take no part.

The first step makes the new keys beside the old ones, which stay in use, and a card for the coordinator. Once the
roster lists the new keys, the second step puts them in place. No other site's keys are touched.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sealora_client.cli.enrol import IDENTITY, NODE_KEY, make_keys, new_passphrase
from sealora_client.site.config import SiteConfig
from sealora_client.site.seen_rosters import check_roster
from sealora_common.errors import PolicyError, StorageError, storage_error
from sealora_common.identity import Identity
from sealora_common.identity.card import SiteCard
from sealora_common.roster import Roster
from sealora_common.show.say import say
from sealora_common.storage.durable import rename_durably
from sealora_common.storage.own_files import make_directory

NEXT = "next-keys"
"""Where the new keys wait."""
FORMER = "former-keys"
"""Where the old keys go."""


def rotate(
    directory: Annotated[Path, typer.Argument(help="The site's directory.")] = Path(),
    finish: Annotated[bool, typer.Option("--finish", help="Put the new keys in place.")] = False,
    lock: Annotated[bool, typer.Option("--lock", help="Lock the new private keys by a passphrase.")] = False,
) -> None:
    """Replace this site's keys: first make new ones and a card, then, with the new roster in place, --finish."""
    config = SiteConfig.load(directory / "site.yaml")
    if finish:
        _finish(directory, config)
    else:
        _begin(directory, config, lock)


def _begin(directory: Path, config: SiteConfig, lock: bool) -> None:
    waiting = directory / NEXT
    if waiting.exists():
        raise PolicyError(
            f"{waiting} exists: new keys wait already; send the card in it to the coordinator, then run this with "
            "--finish, or remove it to begin anew"
        )
    make_directory(waiting)
    card, path = make_keys(config.name, waiting, new_passphrase() if lock else None)
    say(f"{path}: this site's new card; send it to the coordinator and read this out: {card.fingerprint}")
    say(
        "The old keys stay in use. When the new roster.json is here and the server has taken it in, stop the site and "
        "run `sealora-site rotate --finish`"
    )


def _finish(directory: Path, config: SiteConfig) -> None:
    from sealora_client.site.process_lock import only_process

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
        _keep_former(directory, config)
        for file, place in ((NODE_KEY, config.node_key), (IDENTITY, Path(IDENTITY)), (card_file, Path(card_file))):
            if (waiting / file).exists():  # not if an earlier attempt was interrupted after it
                rename_durably(waiting / file, directory / place)
        _remove(waiting)
    say(f"The new keys are in place. Destroy {directory / FORMER} once the site takes part with them.")


def _hand_over_ledger(directory: Path, name: str) -> None:
    """Lets the new identity go on with the ledger that the old one signed."""
    from sealora_client.ledger import Ledger
    from sealora_client.ledger.recovery import accept_ledger

    path = directory / "ledger.sqlite"
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


def _keep_former(directory: Path, config: SiteConfig) -> None:
    """Copies the old keys aside, unless they are there: until the end, either pair can be put back."""
    former = directory / FORMER
    try:
        make_directory(former)
        for waiting, place in ((IDENTITY, Path(IDENTITY)), (NODE_KEY, config.node_key)):
            if (directory / NEXT / waiting).exists():  # else it has been replaced already
                (former / waiting).unlink(missing_ok=True)
                os.link(directory / place, former / waiting)
    except OSError as error:
        raise storage_error(former, error) from error


def _remove(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError as error:
        raise storage_error(directory, error) from error
