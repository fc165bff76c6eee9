"""Nothing but the text itself: what going on with a base model's first training asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from transformers import PreTrainedTokenizerBase

from sealora_client.data.record import Record
from sealora_client.data.templates.control import token_ids
from sealora_client.data.templates.framed import FramedText
from sealora_client.data.templates.template import Shown, Template


@dataclass(frozen=True)
class Document(Template):
    """A text as this tokenizer begins its inputs, and the end of text after it.

    Attributes:
        tokenizer: needs no chat template.
    """

    name: ClassVar[str] = "form of plain texts with the tokenizer"
    tokenizer: PreTrainedTokenizerBase

    def prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        """Texts that are to be gone on with."""
        texts = [FramedText(("", ""), (prompt,)) for prompt in prompts]
        tokenised = token_ids(texts, self.tokenizer, add_special_tokens=True)
        end = self.tokenizer.eos_token_id  # which some tokenizers put after their inputs
        return [tokens[:-1] if tokens[-1:] == [end] else tokens for tokens in tokenised]

    def whole(self, parts: Sequence[str]) -> list[int]:
        """All tokens of one text that comes in parts, each tokenised by itself: as of the whole but where they meet.

        Raises:
            UnusableError: the tokenizer fails on it.
        """
        begins, first, *others = self.prompts(["", *parts])
        return [*first, *(token for tokens in others for token in tokens[len(begins) :]), *self._ends]

    def shown(self, records: Sequence[Record]) -> list[Shown]:
        """Loss is taken on the whole text but its first token, which nothing predicts, and on the end of text."""
        texts = self.prompts([record.response for record in records])
        return [Shown(tokens[:1], tokens[1:] + self._ends, head=len(tokens[:1]), tail=0) for tokens in texts]

    @property
    def _ends(self) -> list[int]:
        end = self.tokenizer.eos_token_id
        return [] if end is None else [end]
