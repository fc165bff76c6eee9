"""A conversation that waits for an answer is given as a record's is in training, and as its template writes it."""

from __future__ import annotations

import pytest

from sealora_client.data.record import Record, Turn
from sealora_client.data.templates.asked import asked
from sealora_client.data.templates.chat import ChatTemplate
from sealora_client.data.templates.plain import PlainTemplate

from tiny_models import CHATML_WITHOUT_SYSTEM, tiny_tokenizer

TURNS = (Turn("user", "What is 2?"), Turn("assistant", "Two."), Turn("user", "And 3?"))
SYSTEM = Turn("system", "Be brief.")


@pytest.mark.parametrize("turns", [TURNS[2:], TURNS, (SYSTEM, *TURNS), (SYSTEM, TURNS[2])])
def test_as_the_model_s_own_template_writes_it(turns):
    tokenizer = tiny_tokenizer()
    said = [{"role": turn.role, "content": turn.text} for turn in turns]
    expected = tokenizer.apply_chat_template(said, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert asked(ChatTemplate(tokenizer, None), turns) == expected


@pytest.mark.parametrize("template", [ChatTemplate, PlainTemplate])
def test_the_recipe_s_system_prompt_stands_before_it(template):
    tokenizer = tiny_tokenizer()
    for turns in (TURNS, TURNS[2:]):
        assert asked(template(tokenizer, "Be brief."), turns) == asked(template(tokenizer, None), (SYSTEM, *turns))


def test_where_a_template_knows_no_system_it_stands_before_the_first_turn():
    tokenizer = tiny_tokenizer(CHATML_WITHOUT_SYSTEM)
    first = Turn("user", f"Be brief.\n\n{TURNS[0].text}")
    assert asked(ChatTemplate(tokenizer, "Be brief."), TURNS) == asked(
        ChatTemplate(tokenizer, None), (first, *TURNS[1:])
    )


@pytest.mark.parametrize("template", [ChatTemplate, PlainTemplate])
def test_it_is_what_a_record_with_these_turns_is_given_before_its_response(template):
    made = template(tiny_tokenizer(), "Be brief.")
    record = Record("And 3?", "Three.", earlier=TURNS[:2])
    assert asked(made, TURNS) == made.shown([record])[0].given
