"""The process that shows a site's page, until SIGTERM or Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealora_client.dashboard.app import SitePages
from sealora_client.site.config import SiteConfig
from sealora_common.web.serve import WebAddress, answer_requests, url_of
from sealora_common.web.token_file import made_token

TOKEN_FILE: Final = "dashboard.token"  # noqa: S105 (the name of its file)
"""Its name in a site's directory."""
_MOST_CONNECTIONS: Final = 128


@dataclass(frozen=True)
class ShownSite:
    """What is shown, and where.

    Attributes:
        directory: the site's.
        address: where it listens.
        names: others by which it may be asked.
        token_file: holds what whoever logs in must know; made if it is missing.
    """

    directory: Path
    address: WebAddress
    names: tuple[str, ...]
    token_file: Path


def show_site(shown: ShownSite, tell: Callable[[str], None]) -> None:
    """Answers until SIGTERM or SIGINT.

    Args:
        shown: what, and where.
        tell: told the URL, once it can be asked.

    Raises:
        PolicyError: there is no site, other machines could reach it unencrypted, or the token's file is unfit.
        StorageError: the address is taken, or the token could not be written.
        KeyboardInterrupt: SIGINT came; all is closed then.
    """
    config, address = SiteConfig.load(shown.directory / "site.yaml"), shown.address
    with address.taken() as taken:
        token = made_token(shown.token_file)
        url = url_of(taken, "https" if address.is_secure else "http")
        pages = SitePages(
            shown.directory,
            config.name,
            token,
            shown.token_file,
            str(taken.getsockname()[1]),
            is_secure=address.is_secure,
        )
        answer_requests(
            pages.guarded([address.host, *shown.names], is_secure=address.is_secure),
            taken,
            lambda: tell(url),
            certificate=address.certificate,
            most_connections=_MOST_CONNECTIONS,
            stopping=pages.streams.close,
        )
