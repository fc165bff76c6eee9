"""What the SuperLink serves by which of its sockets."""

from __future__ import annotations

from flwr.server.superlink.linkstate import LinkState
from starlette.types import ASGIApp, Receive, Scope, Send

from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.superlink import app_messages
from sealora_server.deployment.superlink.answers import Coming, answer_empty, lingering
from sealora_server.deployment.superlink.app_messages import AppMessages
from sealora_server.deployment.superlink.fleet import Fleet
from sealora_server.deployment.superlink.paths import FLEET_PATHS, HEALTH, OPEN_FLEET

_MESSAGES = frozenset({app_messages.PUSH, app_messages.PULL})
# Flower's own way for a ServerApp to send messages; who it sends them to stands in the body.
_FLOWERS_PUSH = frozenset({"/v1/runtime/push-messages", "/v1/runtime/push-object"})


class Gate:
    """Serves everything on the socket at `trusted_socket`, and what sites need on any other.

    Sites are told to come later (503) until OPEN_FLEET was asked for on the trusted socket: a site whose key is not
    registered yet would take the refusal for final.

    Args:
        superlink: Flower's application, for all but the Fleet API.
        state: its state.
        trusted_socket: path of the socket that serves everything.
        limits: what nodes may have.
    """

    def __init__(self, superlink: ASGIApp, state: LinkState, trusted_socket: str, limits: LimitsSection) -> None:
        self._superlink = superlink
        self._trusted_socket = trusted_socket
        self._is_open = False
        self.fleet = Fleet(state, limits, self._replied)
        self.messages = AppMessages(state, self.fleet.replies.make_way, self.fleet.questions.wake)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._superlink(scope, receive, send)
        elif scope["type"] != "http":
            return
        elif scope.get("server") == (self._trusted_socket, None):
            await self._trusted(scope, receive, send)
        elif scope["method"] == "GET" and scope["path"] == HEALTH:
            await self._superlink(scope, receive, send) if self._is_open else await answer_empty(send, 503)
        elif scope["method"] != "POST" or scope["path"] not in FLEET_PATHS:
            await answer_empty(lingering(Coming(receive), send), 403)
        elif not self._is_open:
            await answer_empty(lingering(Coming(receive), send), 503)
        else:
            await self.fleet(scope, receive, send)

    def close(self) -> None:
        """Holds no question any longer, for the process is to end."""
        self.fleet.questions.close()
        self.messages.close()

    def _replied(self, run: int) -> None:
        self.messages.replied(run)

    async def _trusted(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = (scope["method"], scope["path"])
        if asked == ("POST", OPEN_FLEET):
            self._is_open = True
            await answer_empty(send, 200)
        elif asked[0] == "POST" and asked[1] in _MESSAGES:
            await self.messages(scope, receive, send)
        elif asked[0] == "POST" and asked[1] in FLEET_PATHS:
            await self.fleet(scope, receive, send)
        else:
            await self._superlink(scope, receive, send)
            if asked[1] in _FLOWERS_PUSH:
                self.fleet.questions.wake()
