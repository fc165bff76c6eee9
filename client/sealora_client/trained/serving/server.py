"""The process that serves a trained adapter: from a free address to the last answer."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from sealora_client.trained.answers import Answers
from sealora_client.trained.serving.app import Serving, serving_app
from sealora_client.trained.serving.guard import Guard, token_of
from sealora_client.trained.serving.queue import ModelQueue
from sealora_client.trained.trained_adapter import SHOWN_DIGITS, TrainedAdapter
from sealora_common.network.bound_socket import bound_socket

_MOST_CONNECTIONS = 64
_LONGEST_HEAD = 16 * 2**10
_IDLE_SECONDS = 30


@dataclass(frozen=True)
class ServingSettings:
    """How it is served.

    Attributes:
        host: name or address at which it listens.
        port: 0 takes a free one.
        names: others by which it may be asked.
        token_file: holds what whoever asks must know; None asks for nothing.
        most_tokens: of an answer.
        grace: seconds that answers in hand have once it is to stop.
    """

    host: str
    port: int
    names: Sequence[str]
    token_file: Path | None
    most_tokens: int
    grace: int


def served_name(trained: TrainedAdapter) -> str:
    """The name that it is asked by: the recipe's, and the beginning of its digest, so that it is never another."""
    return f"{trained.recipe.name}-{trained.digest[:SHOWN_DIGITS]}"


def serve_adapter(trained: TrainedAdapter, settings: ServingSettings, tell: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT; answers in hand have `grace` seconds then.

    Args:
        trained: the adapter.
        settings: where and how.
        tell: told the URL, once it can be asked.

    Raises:
        StorageError: the address is taken, or none of this machine's.
        PolicyError: there is no token where there is said to be one.
        ModelError: as of `Answers`.
        KeyboardInterrupt: SIGINT came; all is closed then.
    """
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # tells of its steps, and in full of answers cut off
    token = None if settings.token_file is None else token_of(settings.token_file)
    # Taken first, as loading takes long; nobody can connect before `uvicorn` listens.
    taken = bound_socket(settings.host, settings.port)
    with taken:
        queue = ModelQueue(Answers(trained))
        serving = Serving(queue, served_name(trained), trained.recipe.data, settings.most_tokens)
        config = uvicorn.Config(
            Guard(serving_app(serving), [settings.host, *settings.names], token),
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=_LONGEST_HEAD,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=settings.grace,
        )
        _Server(config, lambda: tell(_url(taken))).run(sockets=[taken])


class _Server(uvicorn.Server):
    """Says when it can be asked."""

    def __init__(self, config: uvicorn.Config, tell: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell()


def _url(taken: socket.socket) -> str:
    host, port = taken.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
