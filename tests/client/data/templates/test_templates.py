"""What every template keeps to, whatever stands around its texts."""

from __future__ import annotations

import pytest

from sealora_client.data.record import Record
from sealora_client.data.templates.chat import ChatTemplate
from sealora_client.data.templates.choice import template_of
from sealora_client.data.templates.plain import PlainTemplate
from sealora_client.data.templates.template import UnusableError
from sealora_common.recipe.sections.data import DataSection

from tiny_models import CHATML, CHATML_WITHOUT_SYSTEM, tiny_tokenizer

RECORDS = [Record("Describe code I21.4.", "Acute infarction"), Record("And I10?", "Hypertension\n"), Record("a", "b")]


@pytest.mark.parametrize("system_prompt", [None, "Be brief."])
@pytest.mark.parametrize("chat_template", [CHATML, CHATML_WITHOUT_SYSTEM, None])
def test_what_is_given_is_the_prompt_that_is_completed_and_no_record_depends_on_another(chat_template, system_prompt):
    template = template_of(tiny_tokenizer(chat_template), DataSection(system_prompt=system_prompt))
    together = template.shown(RECORDS)
    assert [shown.given for shown in together] == template.prompts([record.prompt for record in RECORDS])
    assert together == [shown for record in RECORDS for shown in template.shown([record])]
    assert all(shown.given and shown.learned for shown in together)
    assert template.shown([]) == template.prompts([]) == []


def test_a_tokenizer_s_own_template_is_taken_where_there_is_one():
    assert isinstance(template_of(tiny_tokenizer(CHATML), DataSection()), ChatTemplate)
    assert isinstance(template_of(tiny_tokenizer(None), DataSection()), PlainTemplate)


def test_a_text_that_the_template_takes_none_of_is_told_without_the_text():
    refusing = template_of(tiny_tokenizer("{{ raise_exception('Ada') }}"), DataSection())
    for call in (lambda: refusing.prompts(["Ada"]), lambda: refusing.shown([Record("Ada", "b")])):
        with pytest.raises(UnusableError, match="the base model's template fails on a text") as raised:
            call()
        assert raised.value.reason == "template"
        assert "Ada" not in str(raised.value)
