"""Sees sites come and go, and says so in the server's log."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sealora_common.health.logs import fields
from sealora_common.show.safe_text import safe_text
from sealora_server.deployment.superlink.client import Node

log = logging.getLogger(__name__)


class SiteWatch:
    """Compares what the SuperLink knows of its nodes with what it knew before.

    A session that began and ended between two looks is not seen, one that took the place of another is.
    """

    def __init__(self) -> None:
        self._seen: dict[int, Node] = {}

    def look(self, nodes: Iterable[Node]) -> None:
        """Says what has changed since the last look.

        Args:
            nodes: all that the SuperLink knows. A SuperLink that was started anew numbers them anew.
        """
        seen = {node.node_id: node for node in nodes}
        for number, node in sorted(seen.items(), key=lambda item: item[1].name):
            said = _change(self._seen.get(number), node)
            if said is not None:
                name = safe_text(node.name)
                log.info("site %s %s", name, said, extra=fields(site=name, online=node.online))
        if self._seen and not self._seen.keys() & seen.keys():
            gone = sum(node.online for node in self._seen.values())
            log.info("the SuperLink was started anew: the sessions of %d sites are over, and they connect again", gone)
        self._seen = seen


def _change(before: Node | None, now: Node) -> str | None:
    was_online = before is not None and before.online
    if now.online and not was_online:
        return "has connected"
    if before is None or not was_online:
        return None
    if now.online:
        return None if now.since == before.since else "has connected again: its former session is over"
    if not now.registered:
        return "was cut off: its node key was withdrawn"
    # A goodbye ends a session before it would have ended by itself.
    return "has said goodbye" if now.until < before.until else "is gone: it has given no sign of life for a minute"
