"""What can go wrong between a site and its server, by what the site does about it."""

from __future__ import annotations

from typing import Literal

from sealora_common.errors import SealoraError

Refusal = Literal["ended", "busy", "unknown", "clock", "certificate", "other"]
"""Why there is no session: it is over, as after a restart of the server; or none is given, since the site's last one is
still open, its key is not registered, its clock is off, the server's certificate does not hold, or something else."""


class LostConnectionError(SealoraError):
    """The server gave no proper answer. The session may go on: try again."""


class SessionRefusedError(SealoraError):
    """The server was reached, and there is no session with it: open one again, for as long as it takes."""

    def __init__(self, reason: Refusal, said: str) -> None:
        super().__init__(said)
        self.reason = reason


class RunEndedError(SealoraError):
    """The run that a message belongs to is over: drop the message."""


class BadMessageError(SealoraError):
    """A message cannot be had or read: refuse it."""
