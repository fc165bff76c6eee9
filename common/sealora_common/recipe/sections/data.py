"""The section `data`: how records are read and shown to the model."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.section import Section

Unit = Literal["record", "person"]
LearnedTurns = Literal["all", "last"]
LongTexts = Literal["cut", "split"]
LayoutName = Literal["prompt_response", "instruction", "messages", "text", "preference", "feedback", "labelled"]

LAYOUT_FIELDS: Final[dict[LayoutName, tuple[str, ...]]] = {
    "prompt_response": (),  # which has settings of its own for them
    "instruction": ("instruction", "input", "output", "system", "history"),
    "messages": ("messages", "system"),
    "text": ("text",),
    "preference": ("prompt", "chosen", "rejected", "system"),
    "feedback": ("prompt", "completion", "label", "system"),
    "labelled": ("text", "label"),
}
"""The fields of a record that each layout reads, by the names that `data.fields` may give other names for."""


class DataSection(Section):
    """How a site reads its records and shows them to the model."""

    layout: Annotated[LayoutName, AddedLater("prompt_response")] = "prompt_response"
    """Which fields make a record. `prompt_response`: a prompt and the response to it. `instruction`: Alpaca's
    `instruction`, `input` and `output`, perhaps with `system` and `history`. `messages`: a conversation, also
    ShareGPT's. `text`: a text that stands by itself. `preference`: a prompt with a `chosen` and a `rejected` response.
    `feedback`: a prompt, a `completion` and a `label` that says whether it was wanted. `labelled`: a text and its
    class, which the model learns to say."""
    fields: Annotated[dict[str, str], AddedLater({})] = Field(default_factory=dict)
    """Names of a record's fields where they differ from those that the layout reads: `{text: note}`."""
    labels: Annotated[dict[str, str], AddedLater({})] = Field(default_factory=dict)
    """With `labelled`: what the model is to say for each label, `{"0": benign, "1": malignant}`; a record with any
    other teaches nothing. Empty: the label itself."""
    prompt_template: Annotated[str | None, AddedLater(None)] = None
    """With `prompt_response`: a Jinja template that makes the prompt of a record's fields, in place of
    `prompt_field`."""
    learned_turns: Annotated[LearnedTurns, AddedLater("all")] = "all"
    """With `messages`: which of the assistant's turns are learned, of those that have no `weight: 0` of their own."""
    long_texts: Annotated[LongTexts, AddedLater("cut")] = "cut"
    """With `text`: what becomes of a text of more than `max_tokens` tokens. `cut`: its end is lost. `split`: it is
    shown in as many pieces as it takes, which stay one unit of privacy, the text (or its person): each time it is
    drawn, `privacy.records_per_person` of them at the most, drawn anew, make its contribution."""
    template_date: Annotated[date | None, AddedLater(None)] = None
    """The day that a chat template which writes the day's date into prompts is told, at all sites and in all rounds;
    null refuses such a template, with which prompts would differ between sites and days."""
    trim: Annotated[bool, AddedLater(False)] = False
    """Whether texts lose the white space at their ends. Chat templates of some families trim by themselves, and what
    they change otherwise is not learned."""
    prompt_field: str = "prompt"
    """With `prompt_response`: the field that holds what the model is given."""
    response_field: str = "response"
    """With `prompt_response`: the field that holds what it is to say."""
    task_field: Annotated[str | None, AddedLater(None)] = None
    """A field that names the task a record belongs to, where `objective.task_weights` weighs tasks."""
    split_field: str = "split"
    """A field holding `train` or `heldout`. Records without it are split by `heldout_fraction`."""
    system_prompt: str | None = None
    """System message of the model's chat template; null leaves it to the template."""
    max_tokens: int = Field(default=512, ge=8, le=131072)
    """Longer examples lose the end of the response, then the middle of the prompt; counted and reported."""
    heldout_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Share of the records (persons) that are held out, of those that no field gives a part to."""
    heldout_limit: int = Field(default=512, ge=1)
    """At most so many held-out records (with `person_field`: persons) are evaluated, the same ones each time. They are
    chosen by a hash under the recipe's own, wherever they stand in the file. Of one person, at most
    `privacy.records_per_person` records are, chosen likewise."""
    person_field: str | None = None
    """A field that says whose record it is (patient, customer). If set, privacy is by person, else by record."""
    fold_persons: bool = False
    """Whether identifiers of persons that differ in nothing but case, white space, invisible characters or Unicode
    form are one person; false refuses such data. To be agreed before the first run: a ledger knows persons by their
    identifiers, folded or as they are written, and the one in the other by unchanged rows alone."""

    @model_validator(mode="after")
    def _folds_what_is_there(self) -> DataSection:
        if self.fold_persons and self.person_field is None:
            raise ValueError("fold_persons folds identifiers of persons: name their field in data.person_field")
        return self

    @model_validator(mode="after")
    def _is_of_its_layout(self) -> DataSection:
        known = LAYOUT_FIELDS[self.layout]
        for name in self.fields:
            if name not in known:
                raise ValueError(
                    f"fields names {name!r}, which the layout {self.layout} does not read: "
                    + (f"choose from {', '.join(known)}" if known else "set prompt_field and response_field")
                )
        if any(not name for name in self.fields.values()):
            raise ValueError("fields gives a field no name: name the field of the file, or leave it out")
        if self.labels and self.layout != "labelled":
            raise ValueError(f"labels are read with the layout labelled, and not with {self.layout}: leave them out")
        if any(not word.strip() for word in self.labels.values()):
            raise ValueError("labels has a label without a word: name what the model is to say for it")
        if self.prompt_template is not None and self.layout != "prompt_response":
            raise ValueError(
                f"prompt_template is read with the layout prompt_response, and not with {self.layout}: leave it out"
            )
        if self.learned_turns != "all" and self.layout != "messages":
            raise ValueError(
                f"learned_turns is read with the layout messages, and not with {self.layout}: leave it out"
            )
        if self.long_texts != "cut" and self.layout != "text":
            raise ValueError(f"long_texts is read with the layout text, and not with {self.layout}: leave it out")
        return self

    @property
    def unit(self) -> Unit:
        """What privacy protects: one record, or all records of one person."""
        return "record" if self.person_field is None else "person"
