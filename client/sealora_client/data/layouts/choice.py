"""Which layout a recipe's records have: the one place that tells."""

from __future__ import annotations

from collections.abc import Callable

from sealora_client.data.layouts.feedback import Feedback
from sealora_client.data.layouts.instruction import Instruction
from sealora_client.data.layouts.labelled import Labelled
from sealora_client.data.layouts.layout import Layout
from sealora_client.data.layouts.messages import Messages
from sealora_client.data.layouts.plain_text import PlainText
from sealora_client.data.layouts.preference import Preference
from sealora_client.data.layouts.prompt_response import PromptResponse
from sealora_common.recipe.sections.data import LAYOUT_FIELDS, DataSection, LayoutName


def layout_of(section: DataSection) -> Layout:
    """The layout of the recipe's records.

    Raises:
        DataError: its template of prompts takes too much time or memory, whatever the record.
    """
    fields = section.fields
    layouts: dict[LayoutName, Callable[[], Layout]] = {
        "prompt_response": lambda: _prompt_response(section),
        "instruction": lambda: Instruction(fields),
        "messages": lambda: Messages(fields.get("messages"), fields.get("system", "system"), section.learned_turns),
        "text": lambda: PlainText(fields.get("text", "text")),
        "preference": lambda: Preference(fields),
        "feedback": lambda: Feedback(fields),
        "labelled": lambda: Labelled(fields.get("text", "text"), fields.get("label", "label"), section.labels),
    }
    return layouts[section.layout]()


def fields_read(section: DataSection) -> set[str] | None:
    """The fields of a row that a recipe reads, by the names they have there; None if that is for a template to say."""
    if section.prompt_template is not None:
        return None
    read = {section.fields.get(name, name) for name in LAYOUT_FIELDS[section.layout]}
    if section.layout == "prompt_response":
        read = {section.prompt_field, section.response_field}
    if section.layout == "messages" and "messages" not in section.fields:
        read.add("conversations")
    others = (section.split_field, section.person_field, section.task_field)
    return read | {name for name in others if name is not None}


def _prompt_response(section: DataSection) -> Layout:
    if section.prompt_template is None:
        return PromptResponse(section.prompt_field, section.response_field)
    # Here, as counting units needs no torch.
    from sealora_client.data.layouts.templated import TemplatedPrompt
    from sealora_client.data.templates.rendering import check_text_template

    check_text_template(section.prompt_template, "data.prompt_template")
    return TemplatedPrompt(section.prompt_template, section.response_field)
