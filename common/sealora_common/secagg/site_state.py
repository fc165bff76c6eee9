"""What a site's session remembers from one stage to the next. All of it is secret: it never leaves the site."""

from __future__ import annotations

from enum import IntEnum

from pydantic import BaseModel, ConfigDict

from sealora_common.secagg.bodies import Advertisement, Given
from sealora_common.secagg.keys import KeyPair
from sealora_common.secagg.transcript import Transcript


class SiteStage(IntEnum):
    """The last stage a site has answered."""

    REFUSED = 0
    ADVERTISED = 1
    SHARED = 2
    CHECKED = 3
    DISCLOSED = 4
    MASKED = 5
    CONFIRMED = 6
    OPENED = 7


class SiteState(BaseModel):
    """A session between two stages. Holds secrets: never log it."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    stage: SiteStage
    share_seed: bytes
    """Of the key pair that opens the shares sent to this site."""
    mask_seed: bytes
    """Of the key pair that opens contributions to its masks, and of its own contributions. Shared among neighbours."""
    self_mask_seed: bytes
    """Of its own mask. Shared among neighbours."""
    peers: dict[int, Advertisement] = {}
    """The keys of the sites that advertised, this one too."""
    neighbours: tuple[int, ...] = ()
    """The sites it drew."""
    given: dict[int, Given] = {}
    """What it gave to each of them."""
    statement: bytes = b""
    """Digest of what it signed about that."""
    transcript: Transcript = Transcript({}, {})
    held: dict[int, Given] = {}
    """What others gave to it, by owner."""
    accused: dict[int, bytes] = {}
    """The signed statements of those whose envelopes it could not use."""
    masked: bytes = b""
    """Digest of the vector it sent."""
    survivors: tuple[int, ...] = ()

    def share_pair(self) -> KeyPair:
        return KeyPair(self.share_seed)

    def mask_pair(self) -> KeyPair:
        return KeyPair(self.mask_seed)

    def forgotten(self) -> SiteState:
        """What is left when the session is over."""
        return SiteState(stage=SiteStage.OPENED, share_seed=b"", mask_seed=b"", self_mask_seed=b"")
