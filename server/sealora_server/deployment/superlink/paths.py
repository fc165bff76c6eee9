"""What sites may ask of the SuperLink: Flower's Fleet API, and nothing else that answers on its sockets."""

from __future__ import annotations

HEALTH = "/health"
"""The SuperLink's own answer that it is there."""

OPEN_FLEET = "/sealora/open-fleet"
"""Ours: on the trusted socket, lets sites in from now on."""

PREFIX = "/v1/fleet/"

FLEET_PATHS = frozenset(
    f"{PREFIX}{action}"
    for action in (
        "activate-node",
        "confirm-message-received",
        "deactivate-node",
        "get-fab",
        "get-run",
        "pull-messages",
        "pull-object",
        "push-messages",
        "push-object",
        "register-node",
        "send-node-heartbeat",
        "unregister-node",
    )
)
"""Every path of flwr 1.41's Fleet API, all of them POST. A test holds this list to the installed Flower."""
