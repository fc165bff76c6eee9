"""The section `data`: how records are read and shown to the model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from sealora_common.recipe.sections.section import Section

Unit = Literal["record", "person"]


class DataSection(Section):
    """How a site reads its records (JSON Lines) and shows them to the model."""

    prompt_field: str = "prompt"
    response_field: str = "response"
    split_field: str = "split"
    """A field holding `train` or `heldout`. Records without it are split by `heldout_fraction`."""
    system_prompt: str | None = None
    """System message of the model's chat template; null leaves it to the template."""
    max_tokens: int = Field(default=512, ge=8, le=131072)
    """Longer examples lose the end of the response, then the middle of the prompt; counted and reported."""
    heldout_fraction: float = Field(default=0.1, gt=0, lt=1)
    heldout_limit: int = Field(default=512, ge=1)
    """At most so many held-out records (with `person_field`: persons) are evaluated, the same ones each time. They are
    chosen by a hash under the recipe's own, wherever they stand in the file. Of one person, at most
    `privacy.records_per_person` records are, chosen likewise."""
    person_field: str | None = None
    """A field that says whose record it is (patient, customer). If set, privacy is by person, else by record."""
    fold_persons: bool = False
    """Whether identifiers of persons that differ in nothing but case, white space, invisible characters or Unicode
    form are one person; false refuses such data. To be agreed before the first run: a ledger knows persons by their
    identifiers, folded or as they are written, and does not recognise the one in the other."""

    @model_validator(mode="after")
    def _folds_what_is_there(self) -> DataSection:
        if self.fold_persons and self.person_field is None:
            raise ValueError("fold_persons folds identifiers of persons: name their field in data.person_field")
        return self

    @property
    def unit(self) -> Unit:
        """What privacy protects: one record, or all records of one person."""
        return "record" if self.person_field is None else "person"
