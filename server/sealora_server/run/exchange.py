"""One stage of a round over any Flower grid: ask every site, wait a bounded time, hand on each answer as it comes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, runtime_checkable

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from sealora_common.round.wire_format import CONFIG, ERROR, Action, field
from sealora_common.show.safe_text import safe_text

# Flower's own wait polls every 3 s. A grid in this process answers at once; a remote one is asked less and less.
_FIRST_POLL_SECONDS = 0.02
_LONGEST_POLL_SECONDS = 0.5
# Requests may be made as they are sent, so that they do not lie in memory all at once.
_SENT_TOGETHER = 16
# Flower counts a message's time from when it was made, this module from when it was taken in.
_EXPIRY_SECONDS = 5.0

LONGEST_REASON = 400
"""Characters of a site's sentence that are kept: it is told to people and written into the run's events."""


@runtime_checkable
class NarrowGrid(Protocol):
    """A grid in whose memory all messages lie that were not yet answered, so that few are sent at a time."""

    @property
    def most_pending(self) -> int:
        """How many messages may wait for their answers at once; the next is sent as one of them is answered."""
        ...


def exchange(
    grid: Grid,
    action: Action,
    requests: Mapping[int, RecordDict],
    *,
    timeout: float,
    on_reply: Callable[[int, RecordDict], None],
    on_error: Callable[[int, str], None],
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> set[int]:
    """Sends `requests` (node id -> content) and passes on the answers until all are in or time is up.

    Args:
        grid: where the sites are.
        action: the message type.
        timeout: seconds to wait for the last answer.
        on_reply: called with (node id, content) for each answer.
        on_error: called with (node id, one-sentence reason) for each site that failed or did not answer in time.
        now: seconds on a clock that only goes forward.
        sleep: waits so many seconds.

    Returns:
        The nodes that did not answer at all.
    """
    waiting = set(requests)
    # An answer is that of the node that was asked: who it says it is from is not looked at, and what Flower answers
    # in place of a node it signs with its own number.
    pending: dict[str, int] = {}
    unsent = deque(requests)
    most_pending = grid.most_pending if isinstance(grid, NarrowGrid) else len(unsent)

    def send() -> None:
        while unsent and len(pending) < most_pending:
            together = min(_SENT_TOGETHER, most_pending - len(pending), len(unsent))
            messages = [
                Message(requests[node_id], dst_node_id=node_id, message_type=action.value, ttl=timeout)
                for node_id in [unsent.popleft() for _ in range(together)]
            ]
            accepted = set(grid.push_messages(messages))
            sent = {message.metadata.message_id: message.metadata.dst_node_id for message in messages}
            pending.update({message_id: node_id for message_id, node_id in sent.items() if message_id in accepted})

    send()
    deadline = now() + timeout
    pause = _FIRST_POLL_SECONDS
    while pending and now() < deadline:
        asked = now()
        replies = list(grid.pull_messages(list(pending)))
        for reply in replies:
            node_id = pending.pop(reply.metadata.reply_to_message_id, None)
            if node_id is None or (_is_unavailable(reply) and now() > deadline - _EXPIRY_SECONDS):
                continue
            waiting.discard(node_id)
            reason = _failure(reply)
            if reason is None:
                on_reply(node_id, reply.content)
            else:
                on_error(node_id, reason)
        send()
        pause = _FIRST_POLL_SECONDS if replies else min(_LONGEST_POLL_SECONDS, pause * 1.5)
        if pending and not replies:
            # A grid that has waited for an answer itself need not be left alone besides.
            sleep(max(0.0, pause - (now() - asked)))
    for node_id in sorted(waiting):
        on_error(node_id, f"no answer within {timeout:.0f} s")
    return waiting


def one_line(said: str) -> str:
    """What a site said, fit to be logged, stored and printed: one line, no control characters, of bounded length."""
    seen = said[: 2 * LONGEST_REASON]
    line = " ".join(safe_text(seen).split())
    return line if len(line) <= LONGEST_REASON and len(said) == len(seen) else f"{line[: LONGEST_REASON - 3]}..."


def broadcast(node_ids: Iterable[int], **fields: bytes) -> dict[int, RecordDict]:
    """The same fields of a configuration record for every node."""
    content = RecordDict({CONFIG: ConfigRecord(dict(fields))})
    return dict.fromkeys(node_ids, content)


def _is_unavailable(reply: Message) -> bool:
    """Whether Flower says, in place of the node, that it has the message no more: its time is up, or it was lost."""
    unavailable = (ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE)
    return reply.has_error() and reply.error.code in unavailable


def _failure(reply: Message) -> str | None:
    if reply.has_error():
        if reply.error.code == ErrorCode.NODE_UNAVAILABLE:
            return "the site is gone: it has given no sign of life for a minute; start it again"
        if _is_unavailable(reply):
            return "the message to the site was lost, as when the SuperLink is restarted"
        return one_line(f"the site's Flower node reported: {_last_line(reply.error.reason)}")
    refusal = field(reply.content, ERROR)
    return None if refusal is None else one_line(str(refusal))


def _last_line(reason: str | None) -> str:
    lines = [line.strip() for line in (reason or "").splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
