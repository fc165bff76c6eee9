"""`operator.sock`: the running server's ear, and how a command speaks to it."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from sealora_common.config import from_json, read_line
from sealora_common.errors import SealoraError, UnreadableError
from sealora_common.health.logs import fields
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import (
    REQUEST,
    Act,
    Answer,
    OnBehalf,
    Request,
    Result,
    act_text,
    parse_request,
)
from sealora_server.deployment.operator.person import Person

log = logging.getLogger(__name__)

# `submit` waits for the SuperLink, `stop` for the ServerApp's end; nothing else takes long.
_SECONDS = 90.0

Handler = Callable[[Act, Person], Awaitable[Result]]
"""Is given what is asked for and who asks."""
_CREDENTIALS = struct.Struct("iII")  # struct ucred, see unix(7)


async def serve_operator(
    listener: socket.socket, handle: Handler, *, dashboard: str | None = None, patience: float = 10.0
) -> asyncio.Server:
    """Answers requests on `listener`, one a connection, until the server that is returned is closed.

    Args:
        dashboard: what the dashboard knows, which may speak for those who have logged in there; None: there is none.
        patience: seconds for which a connection may say nothing; then it is closed.
    """

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), patience)
            answer = await _answer(line, handle, writer.get_extra_info("socket"), dashboard)
            writer.write(answer.model_dump_json().encode() + b"\n")
            await writer.drain()
        except (TimeoutError, ValueError, ConnectionError):
            pass  # silent, too long, or gone
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    return await asyncio.start_unix_server(converse, sock=listener, limit=REQUEST.longest)


async def _answer(line: bytes, handle: Handler, peer: socket.socket, dashboard: str | None) -> Answer:
    """Whatever is asked that is an act is in the log afterwards: by whom, over which socket, and what came of it."""
    account, process = _who(peer)
    person, act_said = Person.of_account(account), "a request that cannot be read"
    try:
        request = parse_request(line)
        if isinstance(request, OnBehalf):
            person, request = _spoken_for(request, dashboard), request.act
        act_said = act_text(request) or ""
        answer = Answer(result=await handle(request, person))
    except SealoraError as error:
        answer = Answer(error=str(error))
    except Exception:
        log.exception("an operator's request failed unexpectedly")
        answer = Answer(error="the server failed at this request: see its log")
    if act_said:
        log.log(
            logging.INFO if answer.error is None else logging.WARNING,
            "operator %s (%sprocess %d, over %s): %s: %s",
            person.name,
            "" if person.account else "at the dashboard, ",
            process,
            peer.getsockname(),
            act_said,
            "done" if answer.error is None else f"refused: {answer.error}",
            extra=fields(operator=person.name, process=process, act=act_said, reason=answer.error),
        )
    return answer


def _spoken_for(request: OnBehalf, dashboard: str | None) -> Person:
    """Whom the dashboard speaks for; nobody else at the socket speaks for anybody but the account they have."""
    if dashboard is None or not hmac.compare_digest(request.secret.encode(), dashboard.encode()):
        raise DeploymentError("only the dashboard that the server itself has started speaks for those who log in there")
    if request.person.account:
        raise DeploymentError("the dashboard does not speak for accounts of this machine")
    return request.person


def _who(peer: socket.socket) -> tuple[str, int]:
    """The account at the other end of a Unix socket, and its process, as the kernel knows them (SO_PEERCRED)."""
    told = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(told)
    try:
        return pwd.getpwuid(user).pw_name, process
    except KeyError:  # as in a container, whose accounts nobody named
        return str(user), process


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
