"""The paths that OpenAI's clients ask: `/v1/models`, `/v1/chat/completions`, `/v1/completions`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sealora_client.model.generate import Continuation
from sealora_client.trained.serving.guard import fault
from sealora_client.trained.serving.queue import AnswerBegun, BusyError, ModelQueue, Said
from sealora_client.trained.serving.replies import (
    ApiFault,
    ApiFaultReply,
    ApiReplies,
    ApiReply,
    ServedModel,
    ServedModels,
)
from sealora_client.trained.serving.requests import (
    LONGEST_REQUEST,
    ChatRequest,
    TextRequest,
    chat_request,
    text_request,
)
from sealora_common.errors import DataError, SealoraError, UnreadableError
from sealora_common.recipe.sections.data import DataSection

_BODY_SECONDS = 30.0


@dataclass(frozen=True)
class Serving:
    """What is served.

    Attributes:
        queue: before the model.
        model: the name that it is asked by.
        section: how records were shown to it.
        most_tokens: of an answer.
    """

    queue: ModelQueue
    model: str
    section: DataSection
    most_tokens: int


def serving_app(serving: Serving) -> Starlette:
    """The application; it knows the one model."""
    served = ServedModel(id=serving.model, created=int(time.time()))

    async def models(_: Request) -> Response:
        return _json(ServedModels(data=[served]).model_dump_json())

    async def model(request: Request) -> Response:
        if request.path_params["model"] != serving.model:
            return _unknown_model(serving)
        return _json(served.model_dump_json())

    async def chat(request: Request) -> Response:
        return await _answered(serving, request, is_chat=True)

    async def completions(request: Request) -> Response:
        return await _answered(serving, request, is_chat=False)

    async def not_done(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return fault(status, "there is no such path or method here", "unknown_url")

    @contextlib.asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(serving.queue.close)

    routes = [
        Route("/v1/models", models),
        Route("/v1/models/{model:path}", model),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/completions", completions, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=life, exception_handlers={HTTPException: not_done})


async def _answered(serving: Serving, request: Request, *, is_chat: bool) -> Response:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return fault(415, "send JSON, with Content-Type: application/json", "unsupported_media_type")
    try:
        body = await _body(request)
    except TimeoutError:
        return fault(408, f"the request did not arrive within {_BODY_SECONDS:g} seconds", "timeout")
    if body is None:
        return fault(413, f"the request is larger than {LONGEST_REQUEST.longest} bytes: ask for less", "too_large")
    try:
        asked = chat_request(body) if is_chat else text_request(body)
        if asked.model != serving.model:
            return _unknown_model(serving)
        said = serving.queue.ask(asked.inquiry(serving.section, serving.most_tokens))
    except (DataError, UnreadableError) as error:
        return fault(400, str(error), "invalid_request")
    return await _told(said, asked, ApiReplies(serving.model, is_chat), request)


async def _told(
    said: AsyncGenerator[Said | None], asked: ChatRequest | TextRequest, replies: ApiReplies, request: Request
) -> Response:
    """The answer, or as many of its parts as come before whoever asked goes away."""
    try:
        begun = await _begun(said, request)
        if asked.stream:
            return StreamingResponse(
                _events(said, begun, asked, replies),
                media_type="text/event-stream",
                headers={"Cache-Control": "no-store"},
            )
        async for what in said:
            if isinstance(what, Continuation):
                return _json(replies.whole(begun.tokens, what).json_text())
            if await request.is_disconnected():
                break
    except ClientDisconnect:
        pass
    except BusyError as error:
        refused = fault(503, str(error), "busy", "server_error")
        refused.headers["Retry-After"] = "5"
        return refused
    except DataError as error:
        return fault(400, str(error), "invalid_request")
    except SealoraError as error:
        return fault(500, str(error), "model", "server_error")
    finally:
        if not asked.stream:
            await said.aclose()
    return Response(status_code=499)  # to nobody


async def _begun(said: AsyncGenerator[Said | None], request: Request) -> AnswerBegun:
    async for what in said:
        if isinstance(what, AnswerBegun):
            return what
        if await request.is_disconnected():
            break
    await said.aclose()
    raise ClientDisconnect


async def _events(
    said: AsyncGenerator[Said | None], begun: AnswerBegun, asked: ChatRequest | TextRequest, replies: ApiReplies
) -> AsyncIterator[str]:
    try:
        if replies.is_chat:
            yield _event(replies.part("", is_first=True))
        async for what in said:
            if isinstance(what, str):
                yield _event(replies.part(what))
            elif isinstance(what, Continuation):
                yield _event(replies.part("", made=what))
                if asked.wants_usage:
                    yield _event(replies.usage(begun.tokens, what))
            else:
                yield ": the model is at work\n\n"  # a comment, so that nobody takes the connection for a dead one
        yield "data: [DONE]\n\n"
    except SealoraError as error:
        failed = ApiFaultReply(error=ApiFault(message=str(error), type="server_error", code="model"))
        yield f"data: {failed.model_dump_json()}\n\n"
    finally:
        await said.aclose()


async def _body(request: Request) -> bytes | None:
    """All of it; None if it is too large."""
    content = bytearray()
    async with asyncio.timeout(_BODY_SECONDS):
        async for part in request.stream():
            content += part
            if len(content) > LONGEST_REQUEST.longest:
                return None
    return bytes(content)


def _unknown_model(serving: Serving) -> Response:
    return fault(404, f"one model is served here, {serving.model}: ask for that", "model_not_found")


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")


def _event(reply: ApiReply) -> str:
    return f"data: {reply.json_text()}\n\n"
