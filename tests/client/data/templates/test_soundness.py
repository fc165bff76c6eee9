"""Templates that show something else than records say, each told by what it does; and those that are right."""

from __future__ import annotations

from datetime import date

import pytest

from sealora_client.data.record import Record, Turn
from sealora_client.data.templates.choice import template_of
from sealora_client.data.templates.soundness import ModelTokens, fault_of
from sealora_client.data.templates.template import UnusableError
from sealora_common.recipe.sections.data import DataSection

from tiny_models import CHATML, CHATML_WITHOUT_SYSTEM, tiny_tokenizer

TURN = "<|im_start|>{{ m.role }}\n%s<|im_end|>\n"
ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def chatml(content: str = "{{ m.content }}", ask: str = ASK, before: str = "", turn: str = TURN) -> str:
    return before + "{% for m in messages %}" + turn % content + "{% endfor %}" + ask


THOUGHT = "{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}"
LLAMA_2 = (
    "{% if messages[0].role == 'system' %}{% set system = '<<SYS>>\n' ~ messages[0].content ~ '\n<</SYS>>\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'user' %}[INST] {{ system if loop.first }}{{ m.content }} [/INST]{% else %} {{ m.content }} "
    "{{ eos_token }}{% endif %}{% endfor %}"
)
ALPACA = (
    "{% for m in messages %}{% if m.role == 'user' %}### Instruction:\n{{ m.content }}\n\n{% elif m.role == 'system' %}"
    "{{ m.content }}\n\n{% else %}### Response:\n{{ m.content }}{{ eos_token }}\n\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}### Response:\n{% endif %}"
)
SOUND = {
    "ChatML": CHATML,
    "no system role": CHATML_WITHOUT_SYSTEM,
    "the form of Llama 2": LLAMA_2,
    "the form of Alpaca": ALPACA,
    "never ends a turn": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
    "never asks": chatml(ask=""),
    "an empty block of reasoning before a response": chatml(THOUGHT),
    "a system prompt of its own": "{% if messages[0].role != 'system' %}<|im_start|>system\nA.<|im_end|>\n{% endif %}"
    + CHATML,
    "a date that is written down": chatml(before="Today is 26 Jul 2024.\n"),
    "reads the clock where there is none": "{{ date if date is defined else 'no date' }}" + CHATML,
    "none at all": None,
}
UNSOUND = {
    "reads content as a list": (
        chatml("{% for part in m.content if part.text %}{{ part.text }}{% endfor %}"),
        "leaves out prompts",
    ),
    "shows responses alone": (
        chatml("{{ m.content if m.role == 'assistant' }}"),
        "leaves out prompts",
    ),
    "writes in capitals": (chatml("{{ m.content | upper }}"), "leaves out prompts"),
    "leaves out responses": (chatml("{{ m.content if m.role != 'assistant' }}"), "does not end with the response"),
    "says responses twice": (
        chatml("{{ m.content }}{{ m.content if m.role == 'assistant' }}"),
        "does not end with the response",
    ),
    "drops the system prompt": (
        "{% for m in messages if m.role != 'system' %}" + TURN % "{{ m.content }}" + "{% endfor %}" + ASK,
        r"drops data\.system_prompt",
    ),
    "reads the clock": (chatml(before="{{ strftime_now('%d %b %Y') }}\n"), "reads the clock or draws at random"),
    "reads the hour alone": (chatml(before="{{ strftime_now('%H') }}\n"), "reads the clock or draws at random"),
    "does sums with the year": (
        chatml(before="{{ strftime_now('%Y-%m-%d').split('-')[2] | int + 1 }}\n"),
        "reads the clock or draws at random",
    ),
    "draws at random": (chatml(before="{{ ['a', 'b'] | random }}\n"), "reads the clock or draws at random"),
    "draws words": (chatml(before="{{ lipsum(n=1) }}\n"), "reads the clock or draws at random"),
    "opens a block of reasoning": (
        chatml(ask=ASK.replace("assistant\n", "assistant\n<think>\n")),
        "opens a block of reasoning",
    ),
    "opens one of another name": (
        chatml(ask=ASK.replace("assistant\n", "assistant\n[THINK]")),
        "opens a block of reasoning",
    ),
    "opens one before responses as well": (
        chatml("{{ '<think>\n' if m.role == 'assistant' }}{{ m.content }}", ASK.replace("nt\n", "nt\n<think>\n")),
        "opens a block of reasoning",
    ),
    "asks otherwise": (chatml(ask=ASK.replace("assistant", "model")), "asks for a response with another text"),
    "always asks": (chatml(ask="<|im_start|>assistant\n"), "goes on after the mark that ends a response"),
    "ends with two marks": (chatml(turn=TURN.replace("<|im_end|>", "<|im_end|><|im_end|>")), "goes on after the mark"),
    "ends with words": (
        chatml(turn="{{ m.role }}: %s\n### End\n", ask=""),
        "ends a response with no end mark of the model's",
    ),
    "ends with a mark that generation does not know": (
        chatml(turn="{{ m.role }}: %s<|endoftext|>\n", ask=""),
        "ends a response with no end mark of the model's",
    ),
}


def fault(template: str | None, system_prompt: str | None = "Be brief.", ends: tuple[int, ...] = (2,)) -> str | None:
    tokenizer = tiny_tokenizer(template)
    return fault_of(
        template_of(tokenizer, DataSection(system_prompt=system_prompt)), ModelTokens(ends, len(tokenizer)), 64
    )


@pytest.mark.parametrize("system_prompt", [None, "Be brief."])
@pytest.mark.parametrize("name", SOUND)
def test_a_sound_template_has_no_fault_and_learns_the_text_and_one_end_mark(name, system_prompt):
    assert fault(SOUND[name], system_prompt) is None
    tokenizer = tiny_tokenizer(SOUND[name])
    record = Record("  two <b>&\n\n", "\n\tI21 </think> <|im_end|> \n")
    template = template_of(tokenizer, DataSection(system_prompt=system_prompt))
    (shown,) = template.shown([record])
    learned = tokenizer.decode(shown.learned)
    assert (shown.learned.count(2), shown.learned[-1]) == (1, 2)
    assert learned.count(record.response) == 1
    assert record.prompt in tokenizer.decode(shown.given)
    assert template.prompts([record.prompt]) == [shown.given]


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_template_is_told_by_what_it_does_and_what_to_do(name):
    template, said = UNSOUND[name]
    found = fault(template)
    assert found is not None
    assert found.startswith(said.replace("\\", ""))
    assert ": " in found
    assert "\n" not in found


def test_no_end_mark_at_all_and_one_that_only_generation_knows():
    tokenizer = tiny_tokenizer(None)
    tokenizer.eos_token = None
    assert "no end mark" in (fault_of(template_of(tokenizer, DataSection()), ModelTokens((), len(tokenizer)), 64) or "")
    by_turn = chatml(turn="{{ m.role }}: %s<|endoftext|>\n", ask="")
    assert fault(by_turn, ends=(0, 2)) is None


def test_a_frame_of_tokens_that_the_embedding_lacks():
    tokenizer = tiny_tokenizer(chatml(before="<|odd|>"))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|odd|>"]})
    last = len(tokenizer) - 1
    assert fault_of(template_of(tokenizer, DataSection()), ModelTokens((2,), last + 1), 64) is None
    found = fault_of(template_of(tokenizer, DataSection()), ModelTokens((2,), last), 64)
    assert found is not None
    assert found.startswith(f"takes a token of id {last}, but the base model has an embedding for {last} tokens only")


def test_a_frame_that_leaves_nothing_of_an_example():
    tokenizer = tiny_tokenizer()
    template, tokens = template_of(tokenizer, DataSection(system_prompt="Be brief.")), ModelTokens((2,), len(tokenizer))
    (given,) = template.prompts(["x"])
    assert fault_of(template, tokens, len(given) + 1) is None
    found = fault_of(template, tokens, len(given))
    assert found is not None
    assert found.startswith(f"takes {len(given)} tokens for a prompt of one word, which leaves nothing of data.max_")


def test_one_that_fails_on_every_text_is_left_to_the_records():
    assert fault("{{ raise_exception('no') }}") is None


ALTERING = {
    "trims": ("{{ m.content | trim }}", Record("a", "  indented")),
    "trims ends": ("{{ m.content | trim }}", Record("a\n", "b")),
    "escapes": ("{{ m.content | e }}", Record("a", "x < y")),
    "strips reasoning": ("{{ m.content.split('</think>')[-1] }}", Record("a", "<think>b</think>c")),
    "says more of some": ("{{ m.content }}{{ '!' if 'loud' in m.content }}", Record("loud", "a")),
}


@pytest.mark.parametrize("name", ALTERING)
def test_a_record_that_its_template_alters_is_not_shown_and_others_are(name):
    content, record = ALTERING[name]
    template = template_of(tiny_tokenizer(chatml(content)), DataSection())
    assert len(template.shown([Record("Describe I21.4.", "Acute infarction")])) == 1
    with pytest.raises(UnusableError, match="the base model's template alters a text") as raised:
        template.shown([record])
    assert raised.value.reason == "altered"


@pytest.mark.parametrize("name", ["reads the clock", "reads the hour alone", "does sums with the year"])
def test_a_template_that_writes_the_day_is_sound_where_the_recipe_names_one(name):
    tokenizer, tokens = tiny_tokenizer(UNSOUND[name][0]), ModelTokens((2,), 384)
    day = DataSection(template_date=date(2024, 7, 26))
    template = template_of(tokenizer, day)
    assert fault_of(template, tokens, 64) is None
    (shown,) = template.shown([Record("a", "b")])
    given = tokenizer.decode(shown.given)
    assert given.startswith({"reads the clock": "26 Jul 2024\n", "reads the hour alone": "00\n"}.get(name, "27\n"))
    assert template.prompts(["a"]) == [shown.given]


def test_a_day_in_the_recipe_does_not_hide_a_template_that_draws_at_random():
    template = template_of(tiny_tokenizer(UNSOUND["draws at random"][0]), DataSection(template_date=date(2024, 7, 26)))
    assert "draws at random" in (fault_of(template, ModelTokens((2,), 384), 64) or "")


def test_a_frame_that_leaves_nothing_where_conversations_bring_a_system_s_text():
    tokenizer = tiny_tokenizer()
    template, tokens = template_of(tokenizer, DataSection()), ModelTokens((2,), len(tokenizer))
    (alone,) = template.shown([Record("x", "x")])
    (shown,) = template.shown([Record("x", "x", earlier=(Turn("system", "x"),))])
    assert len(alone.given) < len(shown.given)
    assert fault_of(template, tokens, len(shown.given)) is None
    assert fault_of(template, tokens, len(shown.given) + 1, "all") is None
    found = fault_of(template, tokens, len(shown.given), "all")
    assert found is not None
    assert found.startswith(f"takes {len(shown.given)} tokens for a prompt of one word")
