"""What may be asked, as OpenAI's clients write it: fields that would change an answer and are not done are refused."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from sealora_client.data.record import Turn
from sealora_client.model.generate import Sampling
from sealora_common.config import Bounds, checked, json_value
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import LAYOUT_FIELDS, DataSection

LONGEST_REQUEST: Final = Bounds(longest=4 * 2**20, nodes=20_000)
TOKENS_UNLESS_SAID: Final = 256
"""As `sealora-site chat` has it."""
_MOST_MESSAGES: Final = 1024

_Stop = Annotated[str, Field(min_length=1, max_length=256)]
_Zero = Annotated[float, Field(ge=0, le=0)] | None


@dataclass(frozen=True)
class Inquiry:
    """What the model is asked.

    Attributes:
        turns: up to the user's that is answered.
        most_tokens: of the answer.
        sampling: None for the likeliest words.
        stops: texts before which the answer ends.
    """

    turns: tuple[Turn, ...]
    most_tokens: int
    sampling: Sampling | None
    stops: tuple[str, ...]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StreamOptions(_Part):
    """`stream_options`."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None  # which would hide lengths; every answer here is in the clear


class TextPart(_Part):
    """A part of a message; pictures and sounds are none."""

    type: Literal["text"]
    text: str


class ChatMessage(_Part):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(max_length=_MOST_MESSAGES)]
    name: None = None
    # What an answer of ours has when a client hands it back.
    refusal: None = None
    annotations: Annotated[list[None], Field(max_length=0)] | None = None
    audio: None = None
    function_call: None = None
    tool_calls: Annotated[list[None], Field(max_length=0)] | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class TextFormat(_Part):
    """`response_format`, of which text is the only one."""

    type: Literal["text"]


class _Asked(_Part):
    """What both kinds of request have."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=10)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: _Stop | Annotated[list[_Stop], Field(max_length=4)] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    # These say nothing of the answer.
    user: str | None = None
    metadata: dict[str, str] | None = None
    # These may be said as long as they change nothing.
    n: Literal[1] | None = None
    presence_penalty: _Zero = None
    frequency_penalty: _Zero = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    def _question(self, turns: tuple[Turn, ...], asked_tokens: int | None, most_tokens: int) -> Inquiry:
        sampling = None
        if self.temperature:
            seed = secrets.randbits(32) if self.seed is None else self.seed
            sampling = Sampling(self.temperature, seed, 1.0 if self.top_p is None else self.top_p)
        stops = () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        return Inquiry(turns, min(asked_tokens or TOKENS_UNLESS_SAID, most_tokens), sampling, stops)

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with how many tokens there were."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


class ChatRequest(_Asked):
    """Of `/v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=_MOST_MESSAGES)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: Literal[False] | None = None
    response_format: TextFormat | None = None
    tools: Annotated[list[None], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None

    def inquiry(self, section: DataSection, most_tokens: int) -> Inquiry:
        """What it asks of a model that was trained as `section` says.

        Raises:
            DataError: not a conversation that this model was trained for; the sentence says why.
        """
        asked = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        return self._question(_turns_of(self.messages, section), asked, most_tokens)


class TextRequest(_Asked):
    """Of `/v1/completions`: a prompt, which is to this model what a line is to `sealora-site chat`."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None
    logprobs: None = None
    suffix: Literal[""] | None = None

    def inquiry(self, section: DataSection, most_tokens: int) -> Inquiry:
        """As `ChatRequest.inquiry`; the section makes no difference."""
        prompt = self.prompt if isinstance(self.prompt, str) else self.prompt[0]
        return self._question((Turn("user", prompt),), self.max_tokens, most_tokens)


def chat_request(body: bytes) -> ChatRequest:
    """The request that a body is.

    Raises:
        UnreadableError: it is none.
    """
    return checked(ChatRequest, json_value(body, LONGEST_REQUEST), whole="the request")


def text_request(body: bytes) -> TextRequest:
    """As `chat_request`."""
    return checked(TextRequest, json_value(body, LONGEST_REQUEST), whole="the request")


def _turns_of(messages: Sequence[ChatMessage], section: DataSection) -> tuple[Turn, ...]:
    first, others = messages[0], messages[1:]
    system = first.text if first.role in ("system", "developer") else None
    exchanges = messages if system is None else others
    roles = [message.role for message in exchanges]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise DataError(
            "messages: a conversation is user and assistant by turns, perhaps a system message before them, and the "
            "user's last: leave out or join the others"
        )
    if section.layout == "text" and (system is not None or len(roles) > 1):
        raise DataError("messages: this model was trained on texts that stand by themselves: send one user message")
    turns = tuple(Turn("assistant" if one.role == "assistant" else "user", one.text) for one in exchanges)
    if system is None or system == section.system_prompt:  # which the template puts there by itself
        return turns
    if "system" not in LAYOUT_FIELDS[section.layout]:
        raise DataError(
            "messages: this model was trained with the system prompt of its recipe, which is put before what you send: "
            "leave out the system message"
        )
    return (Turn("system", system), *turns)
