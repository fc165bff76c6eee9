"""The ClientApp that is installed at the site, called in this process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, RecordDict

from sealora_client.fleet.flower import Metadata, Reply
from sealora_client.prometheus import SiteMetrics
from sealora_common.records.names import SITE_DIRECTORY
from sealora_common.round.wire_format import CONFIG, ERROR, content_bytes, field

_RUNS_KEPT = 4
_FAILED = "the site takes no part in this; its own log says why"

log = logging.getLogger(__name__)

ClientAppCallable = Callable[[Message, Context], Message]


class InstalledApp:
    """Lets a ClientApp answer messages, and keeps what it remembers of a run (`Context.state`) in memory.

    Args:
        app: the ClientApp.
        directory: the site's directory.
        metrics: told of every answer.
    """

    def __init__(self, app: ClientAppCallable, directory: Path, metrics: SiteMetrics) -> None:
        self._app = app
        self._directory = directory
        self._metrics = metrics
        self._contexts: dict[int, Context] = {}
        self._purposes: dict[int, str] = {}

    def answer(self, message: Message) -> Reply:
        """The app's answer. Whatever it raises, the server learns no more than that it failed."""
        stage = message.metadata.message_type.removeprefix("query.")
        started = time.monotonic()
        received = content_bytes(message.content) if message.has_content() else 0
        try:
            answer = self._app(message, self._context(message.metadata))
            refused = field(answer.content, ERROR) is not None
        except Exception:
            log.exception("failed at %s", stage)
            answer, refused = Message(refusal(_FAILED), reply_to=message), True
        seconds = time.monotonic() - started
        sent = content_bytes(answer.content)
        self._metrics.answered(stage, seconds=seconds, received=received, sent=sent, refused=refused)
        self._count_round(message.metadata.run_id, stage, refused=refused)
        return Reply.of(answer, is_refusal=refused)

    @property
    def in_round(self) -> bool:
        """Whether it has answered an order whose round has not come to its end."""
        return bool(self._purposes)

    def remembered(self, run_id: int) -> Context | None:
        """What it keeps of a run, by Flower's number of it."""
        return self._contexts.get(run_id)

    def _context(self, metadata: Metadata) -> Context:
        run_id = metadata.run_id
        if run_id not in self._contexts:
            for forgotten in list(self._contexts)[: 1 - _RUNS_KEPT]:
                del self._contexts[forgotten]
            self._contexts[run_id] = Context(
                run_id=run_id,
                node_id=metadata.dst_node_id,
                node_config={SITE_DIRECTORY: str(self._directory)},
                state=RecordDict(),
                run_config={},
            )
        return self._contexts[run_id]

    def _count_round(self, run_id: int, stage: str, *, refused: bool) -> None:
        if refused:
            self._purposes.pop(run_id, None)
        elif stage in ("train", "evaluate"):
            self._purposes = {run_id: stage}  # a round of another run is over: nobody was told of its end
        elif stage == "open" and run_id in self._purposes:
            self._metrics.finished(self._purposes.pop(run_id))


def refusal(said: str) -> RecordDict:
    """The content of an answer that is one sentence."""
    return RecordDict({CONFIG: ConfigRecord({ERROR: said})})
