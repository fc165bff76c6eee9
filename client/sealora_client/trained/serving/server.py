"""The process that serves a trained adapter: from a free address to the last answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealora_client.trained.answers import Answers
from sealora_client.trained.serving.app import Serving, serving_app
from sealora_client.trained.serving.guard import Guard
from sealora_client.trained.serving.queue import ModelQueue
from sealora_client.trained.trained_adapter import SHOWN_DIGITS, TrainedAdapter
from sealora_common.network.bound_socket import bound_socket
from sealora_common.web.serve import answer_requests, url_of
from sealora_common.web.token_file import token_of

_MOST_CONNECTIONS = 64


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
    token = None if settings.token_file is None else token_of(settings.token_file)
    # Taken first, as loading takes long; nobody can connect before `uvicorn` listens.
    taken = bound_socket(settings.host, settings.port)
    with taken:
        queue = ModelQueue(Answers(trained))
        serving = Serving(queue, served_name(trained), trained.recipe.data, settings.most_tokens)
        answer_requests(
            Guard(serving_app(serving), [settings.host, *settings.names], token),
            taken,
            lambda: tell(f"{url_of(taken, 'http')}/v1"),
            most_connections=_MOST_CONNECTIONS,
            grace=settings.grace,
        )
