"""The conversation format that the base model was taught: its tokenizer's own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, partial
from typing import ClassVar

from transformers import PreTrainedTokenizerBase

from sealora_client.data.record import Record, Role, Turn
from sealora_client.data.templates.control import token_ids
from sealora_client.data.templates.conversation import Structure, shown_as, structure_of, turns_of
from sealora_client.data.templates.framed import BEGINNING, MARKERS, NEUTRAL, Frame, FramedText, Part, shared_ends
from sealora_client.data.templates.rendering import TemplateRefusedError, render
from sealora_client.data.templates.template import Shown, Template, UnusableError, blaming


@dataclass(frozen=True)
class ChatTemplate(Template):
    """The user's turns and the assistant's.

    Attributes:
        tokenizer: has a chat template.
        system_prompt: the system's turn before them; None leaves it to the template.
        date: the day that a template which writes one is told.
        moment: see `render`.
    """

    name: ClassVar[str] = "chat template"
    tokenizer: PreTrainedTokenizerBase
    system_prompt: str | None
    date: date | None = None
    moment: int | None = None

    def prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        """Up to the mark that begins the assistant's turn."""
        with blaming("template"):
            texts = [self._framed(prompt) for prompt in prompts]
        return token_ids(texts, self.tokenizer)

    def shown(self, records: Sequence[Record]) -> list[Shown]:
        """What is learned ends with the mark that ends the assistant's turn."""
        single = [record for record in records if not record.earlier]
        neutral, *prompts = self.prompts([NEUTRAL, *(record.prompt for record in single)])
        following = (
            Shown(prompt, response, *shared_ends(prompt, neutral))
            for prompt, response in zip(prompts, self._responses(single, prompts), strict=True)
        )
        return [self._conversation(record) if record.earlier else next(following) for record in records]

    def structure(self, shape: tuple[tuple[Role, bool], ...]) -> Structure | str:
        """See `structure_of`."""
        if shape not in self._structures:
            self._structures[shape] = structure_of(self._write, shape, self.tokenizer.eos_token or "")
        return self._structures[shape]

    @cached_property
    def _structures(self) -> dict[tuple[tuple[Role, bool], ...], Structure | str]:
        return {}

    def _conversation(self, record: Record) -> Shown:
        turns = turns_of(record, self.system_prompt)
        with blaming("template"):
            structure = self.structure(tuple((turn.role, turn.learned) for turn in turns))
            if isinstance(structure, str):  # of no other record, or `soundness` would have said so
                raise UnusableError("template")
            whole = FramedText((*structure.pieces[:-1], structure.written), structure.in_order(turns))
            asked = whole.between(BEGINNING, structure.asked)
            if str(whole) != self._write(turns, False) or str(asked) != self._write(turns[:-1], True):
                raise UnusableError("altered")
        return shown_as(structure, turns, self.tokenizer)

    def _write(self, turns: Sequence[Turn], ask: bool) -> str:
        said = [{"role": turn.role, "content": turn.text} for turn in turns]
        try:
            return render(self.tokenizer, said, prompt=ask, date=self.date, moment=self.moment)
        except TemplateRefusedError:  # some templates know no system role
            if len(said) < 2 or said[0]["role"] != "system":
                raise
            system, first, *others = said
            first["content"] = f"{system['content']}\n\n{first['content']}"
            return render(self.tokenizer, [first, *others], prompt=ask, date=self.date, moment=self.moment)

    @cached_property
    def prompt_frame(self) -> Frame:
        """What stands around a prompt, up to where the response begins."""
        return Frame.of(self._render(MARKERS["prompt"], system=MARKERS["system"]))

    @cached_property
    def whole_frame(self) -> Frame:
        """What stands around a prompt and a response, up to what ends the turn."""
        # White space after the mark that ends the turn is never generated: the model has stopped by then.
        after = self._rendered_frame.pieces[-1].rstrip()
        return self._rendered_frame.ending(after or self.tokenizer.eos_token or "")

    @cached_property
    def _rendered_frame(self) -> Frame:
        return Frame.of(self._render(MARKERS["prompt"], MARKERS["response"], system=MARKERS["system"]))

    def _responses(self, records: Sequence[Record], prompts: Sequence[list[int]]) -> list[list[int]]:
        with blaming("template"):
            texts = [self._framed(record.prompt, record.response) for record in records]
        responses = [
            tokens[len(prompt) :] if tokens[: len(prompt)] == prompt else []
            for tokens, prompt in zip(token_ids(texts, self.tokenizer), prompts, strict=True)
        ]
        # The end of a prompt and the beginning of a response may be one token: then the response is tokenised alone.
        odd = [position for position, response in enumerate(responses) if not response]
        alone = [FramedText(self._around_response, (records[position].response,)) for position in odd]
        for position, tokens in zip(odd, token_ids(alone, self.tokenizer), strict=True):
            responses[position] = tokens
        return responses

    @property
    def _around_response(self) -> tuple[str, str]:
        """What the template itself says before and after a response, once it was given the prompt."""
        given, (*_, before, after) = self.prompt_frame.pieces[-1], self.whole_frame.pieces
        return before.removeprefix(given) if before.startswith(given) else "", after

    def _framed(self, prompt: str, response: str | None = None) -> FramedText:
        """The conversation up to where the response begins, or with the response and the end of its turn.

        Raises:
            UnusableError: the template makes something else of these texts than it makes of others.
        """
        system = self.system_prompt
        texts: dict[Part, str] = {"system": system or "", "prompt": prompt, "response": response or ""}
        frame = self.prompt_frame if response is None else self._rendered_frame
        if str(frame.fill(texts)) != self._render(prompt, response, system=system):
            raise UnusableError("altered")
        return (frame if response is None else self.whole_frame).fill(texts)

    def _render(self, prompt: str, response: str | None = None, *, system: str | None) -> str:
        """The conversation as the template writes it, with a system prompt if the recipe has one."""
        turns = [{"role": "user", "content": prompt}]
        if response is not None:
            turns.append({"role": "assistant", "content": response})
        write = partial(render, self.tokenizer, prompt=response is None, date=self.date, moment=self.moment)
        if self.system_prompt is None or system is None:
            return write(turns)
        try:
            return write([{"role": "system", "content": system}, *turns])
        except TemplateRefusedError:  # some templates know no system role
            turns[0]["content"] = f"{system}\n\n{prompt}"
            return write(turns)
