"""What a site says of itself before the first round: enough for the server to lay out the adapter."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from sealora_common import __version__
from sealora_common.adapter import AdapterLayout
from sealora_common.config import LINE, adapted_from_json, from_json
from sealora_common.errors import FederationError, ModelError, UnreadableError

Shape = Annotated[list[Annotated[int, Field(ge=1, lt=2**32)]], Field(min_length=1, max_length=2)]
SentLayout = list[tuple[str, Shape] | tuple[str, Shape, str]]
"""A layout as it travels, see `AdapterLayout.to_json`."""
_LAYOUT = TypeAdapter(SentLayout)


class Hello(BaseModel):
    """A site's answer to `query.hello`. Says nothing about its data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: str
    version: str = __version__
    recipe_hash: str
    roster_hash: str
    layout: SentLayout
    receipts: int = Field(default=0, ge=0, lt=2**32)
    """How many receipts of the run that it was asked for it has: the server sends it the later ones alone."""

    @property
    def adapter_layout(self) -> AdapterLayout:
        """The adapter's layout under the site's base model and recipe."""
        return AdapterLayout.from_json(self.layout)

    def to_bytes(self) -> bytes:
        """As it is sent.

        Raises:
            ModelError: it is longer than a server reads, for all that the adapter takes from the base model.
        """
        content = self.model_dump_json().encode()
        if len(content) > LINE.longest:
            raise ModelError(
                f"the adapter begins with more values of the base model than a greeting may hold ({LINE.longest} "
                "bytes): give it fewer layers in the recipe, or choose another adapter"
            )
        return content

    @classmethod
    def parse(cls, content: object) -> Hello:
        """Reads a site's answer.

        Raises:
            FederationError: it is malformed.
        """
        try:
            hello = from_json(cls, content if isinstance(content, bytes) else b"")
            _ = hello.adapter_layout
            return hello
        except (UnreadableError, ModelError):
            raise FederationError("a site's greeting is malformed: it must run the same version of Sealora") from None


def parse_layout(content: bytes) -> AdapterLayout:
    """Reads the JSON of a layout that a peer sent; the inverse of `canonical_json(layout.to_json())`.

    Raises:
        UnreadableError: it is none, or beyond the bounds of a greeting.
    """
    try:
        sent: SentLayout = adapted_from_json(_LAYOUT, content)
        return AdapterLayout.from_json(sent)
    except ModelError as error:
        raise UnreadableError(str(error)) from None
