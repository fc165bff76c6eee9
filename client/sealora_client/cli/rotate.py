"""`sealora-site rotate`: new keys for one site, in two steps, see `site.rotation`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_client.cli.joining.passphrase import new_passphrase, no_passphrase
from sealora_client.site.config import SiteConfig
from sealora_client.site.rotation import FORMER, begin_rotation, finish_rotation
from sealora_common.show.say import say


def rotate(
    directory: Annotated[Path, typer.Argument(help="The site's directory.")] = Path(),
    finish: Annotated[bool, typer.Option("--finish", help="Put the new keys in place.")] = False,
    lock: Annotated[bool, typer.Option("--lock", help="Lock the new private keys by a passphrase.")] = False,
) -> None:
    """Replace this site's keys: first make new ones and a card, then, with the new roster in place, --finish."""
    config = SiteConfig.load(directory / "site.yaml")
    if finish:
        finish_rotation(directory, config)
        say(f"The new keys are in place. Destroy {directory / FORMER} once the site takes part with them.")
        return
    card, path = begin_rotation(directory, config, new_passphrase if lock else no_passphrase)
    say(f"{path}: this site's new card; send it to the coordinator and read this out: {card.fingerprint}")
    say(
        "The old keys stay in use. When the new roster.json is here and the server has taken it in, stop the site and "
        "run `sealora-site rotate --finish`"
    )
