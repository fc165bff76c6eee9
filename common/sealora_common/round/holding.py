"""What a site has of a run that is over: asked before its adapter is sent, and answered again when it was taken."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from sealora_common.config import SMALL, from_json
from sealora_common.errors import FederationError, UnreadableError
from sealora_common.round.order import Hex16, Hex32


class Holding(BaseModel):
    """A site's answer to `query.held` and to `query.deliver`. Says nothing about its data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: Hex16
    receipts: Annotated[int, Field(ge=0, lt=2**32)]
    """How many receipts of the run it has: the server sends it the later ones alone."""
    adapter_digest: Hex32 | None = None
    """Digest of the final adapter that it keeps; None if it has none yet."""

    def to_bytes(self) -> bytes:
        """As it is sent."""
        return self.model_dump_json().encode()

    @classmethod
    def parse(cls, content: object) -> Holding:
        """Reads a site's answer.

        Raises:
            FederationError: it is malformed.
        """
        try:
            return from_json(cls, content if isinstance(content, bytes) else b"", SMALL)
        except UnreadableError:
            raise FederationError("a site's answer is malformed: it must run the same version of Sealora") from None
