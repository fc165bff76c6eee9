"""The plain form, for a base model that was never taught a conversation: prompt, newline, response, end of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from transformers import PreTrainedTokenizerBase

from sealora_client.data.record import Record
from sealora_client.data.templates.control import token_ids
from sealora_client.data.templates.conversation import joined, turns_of
from sealora_client.data.templates.framed import NEUTRAL, FramedText, shared_ends
from sealora_client.data.templates.template import Shown, Template


@dataclass(frozen=True)
class PlainTemplate(Template):
    """Lines of text.

    Attributes:
        tokenizer: needs no chat template.
        system_prompt: a line before the prompt, if there is one.
    """

    name: ClassVar[str] = "plain form (prompt, newline, response) with the tokenizer"
    tokenizer: PreTrainedTokenizerBase
    system_prompt: str | None

    def prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        """Up to the newline, begun as this tokenizer begins its inputs."""
        before = (self.system_prompt,) if self.system_prompt else ()
        pieces = ("", *("\n" for _ in (*before, "prompt")))
        texts = [FramedText(pieces, (*before, prompt)) for prompt in prompts]
        tokenised = token_ids(texts, self.tokenizer, add_special_tokens=True)
        # A tokenizer that also ends its inputs would end the text before the response.
        end = self.tokenizer.eos_token_id
        return [tokens[:-1] if tokens[-1:] == [end] else tokens for tokens in tokenised]

    def shown(self, records: Sequence[Record]) -> list[Shown]:
        """What is learned ends with the end of text."""
        neutral, *prompts = self.prompts([NEUTRAL, *(record.prompt for record in records)])
        responses = self._responses([record.response for record in records])
        return [
            self._conversation(record) if record.earlier else Shown(prompt, response, *shared_ends(prompt, neutral))
            for record, prompt, response in zip(records, prompts, responses, strict=True)
        ]

    def _conversation(self, record: Record) -> Shown:
        """Exchange after exchange, the first begun as inputs are; each response ends as a last one does."""
        template = self if record.system is None else replace(self, system_prompt=record.system)
        first, *others = [turn for turn in turns_of(record, None) if turn.role != "system"]
        (opening,) = template.prompts([first.text])
        said = [turn.text for turn in others if turn.role == "user"]
        asked = iter(token_ids([FramedText(("", "\n"), (text,)) for text in said], self.tokenizer))
        answered = iter(self._responses([turn.text for turn in others if turn.role == "assistant"]))
        stretches = [(opening, False)]
        stretches += [(next(asked if turn.role == "user" else answered), turn.learned) for turn in others]
        (neutral,) = template.prompts([NEUTRAL])
        return joined(stretches, *shared_ends(opening, neutral))

    def _responses(self, responses: Sequence[str]) -> list[list[int]]:
        end = self.tokenizer.eos_token or ""
        return token_ids([FramedText(("", end), (response,)) for response in responses], self.tokenizer)
