"""`operator.sock`: the running server's ear, and how a command speaks to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from sealora_common.config import from_json, read_line
from sealora_common.errors import SealoraError, UnreadableError
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import REQUEST, Answer, Request, Result, parse_request

log = logging.getLogger(__name__)

# `submit` waits for the SuperLink, `stop` for the ServerApp's end; nothing else takes long.
_SECONDS = 90.0

Handler = Callable[[Request], Awaitable[Result]]


async def serve_operator(listener: socket.socket, handle: Handler, *, patience: float = 10.0) -> asyncio.Server:
    """Answers requests on `listener`, one a connection, until the server that is returned is closed.

    Args:
        patience: seconds for which a connection may say nothing; then it is closed.
    """

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), patience)
            answer = await _answer(line, handle)
            writer.write(answer.model_dump_json().encode() + b"\n")
            await writer.drain()
        except (TimeoutError, ValueError, ConnectionError):
            pass  # silent, too long, or gone
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    return await asyncio.start_unix_server(converse, sock=listener, limit=REQUEST.longest)


async def _answer(line: bytes, handle: Handler) -> Answer:
    try:
        return Answer(result=await handle(parse_request(line)))
    except SealoraError as error:
        return Answer(error=str(error))
    except Exception:
        log.exception("an operator's request failed unexpectedly")
        return Answer(error="the server failed at this request: see its log")


def ask(operator_socket: Path, request: Request) -> Result:
    """Asks the running server; returns the answer's result.

    Raises:
        DeploymentError: no server runs there, or it refused; the sentence is the server's.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_SECONDS)
        try:
            connection.connect(str(operator_socket))
            connection.sendall(request.model_dump_json().encode() + b"\n")
            with connection.makefile("rb") as stream:
                answer = from_json(Answer, read_line(stream, REQUEST.longest), REQUEST)
        except PermissionError:
            raise DeploymentError(
                f"{operator_socket}: this account may not operate the server: use the one that runs it"
            ) from None
        except TimeoutError:
            raise DeploymentError(f"the server did not answer within {_SECONDS:.0f} s: see its log") from None
        except UnreadableError:
            raise DeploymentError("the server broke off in the middle of its answer: see its log") from None
        except OSError:
            raise DeploymentError(
                f"{operator_socket}: no server runs there: start it with `sealora server run`, or name its server.yaml "
                "with --config"
            ) from None
    if answer.error is not None:
        raise DeploymentError(answer.error)
    return answer.result
