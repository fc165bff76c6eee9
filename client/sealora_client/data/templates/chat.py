"""The conversation format that the base model was taught: its tokenizer's own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from sealora_client.data.record import Record
from sealora_client.data.templates.rendering import TemplateRefusedError, render
from sealora_client.data.templates.template import Shown, Template, blaming, token_ids


@dataclass(frozen=True)
class ChatTemplate(Template):
    """A user's turn and the assistant's.

    Attributes:
        tokenizer: has a chat template.
        system_prompt: the system's turn before them; None leaves it to the template.
    """

    tokenizer: PreTrainedTokenizerBase
    system_prompt: str | None

    def prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        """Up to the mark that begins the assistant's turn."""
        with blaming("template"):
            texts = [self._render(prompt) for prompt in prompts]
        return token_ids(texts, self.tokenizer)

    def shown(self, records: Sequence[Record]) -> list[Shown]:
        """What is learned ends with the mark that ends the assistant's turn."""
        prompts = self.prompts([record.prompt for record in records])
        return [Shown(*parts) for parts in zip(prompts, self._responses(records, prompts), strict=True)]

    def _responses(self, records: Sequence[Record], prompts: Sequence[list[int]]) -> list[list[int]]:
        end = self.tokenizer.eos_token or ""
        whole_texts = []
        with blaming("template"):
            for record in records:
                # White space after the mark that ends the turn is never generated: the model has stopped by then.
                text = self._render(record.prompt, record.response).rstrip()
                whole_texts.append(text + end if text.endswith(record.response.rstrip()) else text)
        whole = token_ids(whole_texts, self.tokenizer)
        responses = [
            tokens[len(prompt) :] if tokens[: len(prompt)] == prompt else []
            for tokens, prompt in zip(whole, prompts, strict=True)
        ]
        # Templates that rewrite a finished turn (dropping its reasoning, say) do not continue the prompt.
        odd = [position for position, response in enumerate(responses) if not response]
        alone = token_ids([records[position].response + end for position in odd], self.tokenizer)
        for position, tokens in zip(odd, alone, strict=True):
            responses[position] = tokens
        return responses

    def _render(self, prompt: str, response: str | None = None) -> str:
        """The conversation as text: up to where the response begins, or with the response and the end of its turn."""
        turns = [{"role": "user", "content": prompt}]
        if response is not None:
            turns.append({"role": "assistant", "content": response})
        if self.system_prompt is None:
            return render(self.tokenizer, turns, prompt=response is None)
        system = {"role": "system", "content": self.system_prompt}
        try:
            return render(self.tokenizer, [system, *turns], prompt=response is None)
        except TemplateRefusedError:  # some templates know no system role
            turns[0]["content"] = f"{self.system_prompt}\n\n{prompt}"
            return render(self.tokenizer, turns, prompt=response is None)
