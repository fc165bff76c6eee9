"""What can go wrong in a sealed round."""

from __future__ import annotations

from sealora_common.errors import FederationError


class ProtocolError(FederationError):
    """A message of the sealing protocol is malformed, forged, out of turn or not of this round.

    Travels: it follows from messages of the protocol alone, none of which depends on a record.
    """

    travels = True


class TooFewSitesError(FederationError):
    """Too few sites are left for the sum to be opened. Nothing was opened. Travels, like `ProtocolError`."""

    travels = True
