"""What is answered, as OpenAI's clients read it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from pydantic import BaseModel

from sealora_client.model.generate import Continuation

Finish = Literal["stop", "length"]


class Usage(BaseModel):
    """How many tokens there were."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, asked: int, made: Continuation) -> Usage:
        """Of what was asked and what was made of it."""
        return cls(prompt_tokens=asked, completion_tokens=made.tokens, total_tokens=asked + made.tokens)


class AssistantText(BaseModel):
    """The model's turn, or a part of it."""

    role: Literal["assistant"] = "assistant"
    content: str


class ChatChoice(BaseModel):
    """The one answer, as `message`, or a part of it, as `delta`."""

    index: int
    message: AssistantText | None = None
    delta: AssistantText | None = None
    finish_reason: Finish | None


class TextChoice(BaseModel):
    """The one answer, or a part of it."""

    index: int
    text: str
    finish_reason: Finish | None


class ApiReply(BaseModel):
    """An answer, or a part of one."""

    id: str
    object: str
    created: int
    model: str
    choices: list[ChatChoice] | list[TextChoice]
    usage: Usage | None = None

    def json_text(self) -> str:
        """As it is sent: what was not said of it is not in it."""
        return self.model_dump_json(exclude_unset=True)


class ServedModel(BaseModel):
    """The model, in `/v1/models`."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "sealora"


class ServedModels(BaseModel):
    """All there are: one."""

    object: Literal["list"] = "list"
    data: list[ServedModel]


class ApiFault(BaseModel):
    """What is wrong with a request."""

    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None


class ApiFaultReply(BaseModel):
    """As it is sent."""

    error: ApiFault


class _Head(TypedDict):
    id: str
    created: int
    model: str


@dataclass(frozen=True)
class ApiReplies:
    """The replies to one request.

    Attributes:
        model: the model's name.
        is_chat: whether it was asked as a conversation.
    """

    model: str
    is_chat: bool
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, asked: int, made: Continuation) -> ApiReply:
        """The answer at once, and how many tokens it took with the `asked` ones."""
        finish = _finish(made)
        usage = Usage.of(asked, made)
        if self.is_chat:
            message = AssistantText(role="assistant", content=made.text)
            choice = ChatChoice(index=0, message=message, finish_reason=finish)
            return ApiReply(object="chat.completion", choices=[choice], usage=usage, **self._head)
        text = TextChoice(index=0, text=made.text, finish_reason=finish)
        return ApiReply(object="text_completion", choices=[text], usage=usage, **self._head)

    def part(self, text: str, *, is_first: bool = False, made: Continuation | None = None) -> ApiReply:
        """A part of the answer; the last, which has `made`, says how it ended."""
        finish = None if made is None else _finish(made)
        if self.is_chat:
            delta = AssistantText(role="assistant", content=text) if is_first else AssistantText(content=text)
            choice = ChatChoice(index=0, delta=delta, finish_reason=finish)
            return ApiReply(object=self._part, choices=[choice], **self._head)
        choices = [TextChoice(index=0, text=text, finish_reason=finish)]
        return ApiReply(object=self._part, choices=choices, **self._head)

    def usage(self, asked: int, made: Continuation) -> ApiReply:
        """What stands behind the last part for whoever wants it."""
        return ApiReply(object=self._part, choices=[], usage=Usage.of(asked, made), **self._head)

    @property
    def _part(self) -> str:
        return "chat.completion.chunk" if self.is_chat else "text_completion"

    @property
    def _head(self) -> _Head:
        return {
            "id": f"{'chatcmpl' if self.is_chat else 'cmpl'}-{self.id}",
            "created": self.created,
            "model": self.model,
        }


def _finish(made: Continuation) -> Finish:
    return "length" if made.is_cut else "stop"
