from __future__ import annotations

import time

import pytest

from sealora_client.data.chat import prompt_tokens, to_examples
from sealora_client.data.records import Record
from sealora_common.recipe.schema import DataSection

from tiny_models import CHATML, CHATML_WITHOUT_SYSTEM, tiny_tokenizer

RECORD = Record("Describe code I21.4.", "Acute infarction")
# As the templates of reasoning models do: what the prompt ends with is no part of a finished turn.
THINKING = CHATML.replace("<|im_start|>assistant\n{%", "<|im_start|>assistant\n<think>\n{%")
ENDLESS = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def parts(template: str | None, record: Record = RECORD, **fields) -> tuple[str, str]:
    """The prompt and the response of the one example, as text."""
    tokenizer = tiny_tokenizer(template)
    (example,) = to_examples([record], tokenizer, DataSection(**fields))
    tokens = example.tokens.tolist()
    assert example.response_length > 0
    return tokenizer.decode(tokens[: example.prompt_length]), tokenizer.decode(tokens[example.prompt_length :])


def test_response_runs_to_the_end_of_its_turn_and_no_further():
    assert parts(CHATML) == (
        "<|im_start|>user\nDescribe code I21.4.<|im_end|>\n<|im_start|>assistant\n",
        "Acute infarction<|im_end|>",
    )


def test_the_system_prompt_goes_into_the_template():
    prompt, _ = parts(CHATML, system_prompt="Be brief.")
    assert prompt.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")


def test_a_template_without_system_role_gets_it_in_the_user_s_turn():
    prompt, response = parts(CHATML_WITHOUT_SYSTEM, system_prompt="Be brief.")
    assert prompt.startswith("<|im_start|>user\nBe brief.\n\nDescribe code")
    assert response == "Acute infarction<|im_end|>"


def test_a_template_that_does_not_continue_its_prompt_falls_back_to_response_and_end_of_text():
    prompt, response = parts(THINKING)
    assert prompt.endswith("assistant\n<think>\n")
    assert response == "Acute infarction<|im_end|>"


def test_a_template_that_never_ends_a_turn_gets_an_end_of_text():
    assert parts(ENDLESS) == ("user: Describe code I21.4.\nassistant: ", "Acute infarction<|im_end|>")


def test_a_tokenizer_without_template_gets_the_plain_form():
    assert parts(None) == ("Describe code I21.4.\n", "Acute infarction<|im_end|>")
    assert parts(None, system_prompt="Be brief.")[0] == "Be brief.\nDescribe code I21.4.\n"


@pytest.mark.parametrize("template", [CHATML, CHATML_WITHOUT_SYSTEM, THINKING, ENDLESS, None])
def test_training_sees_the_prompt_that_generation_will_see(template):
    tokenizer = tiny_tokenizer(template)
    section = DataSection(system_prompt="Be brief.")
    (example,) = to_examples([RECORD], tokenizer, section)
    assert prompt_tokens([RECORD.prompt], tokenizer, "Be brief.") == [example.tokens[: example.prompt_length].tolist()]


def test_a_long_response_loses_its_end():
    long = Record("Describe", "word " * 200)
    (whole,) = to_examples([long], tiny_tokenizer(), DataSection(max_tokens=4096))
    (cut,) = to_examples([long], tiny_tokenizer(), DataSection(max_tokens=100))
    assert (whole.truncated, cut.truncated) == (False, True)
    assert cut.tokens.tolist() == whole.tokens[:100].tolist()
    assert cut.prompt_length == whole.prompt_length


@pytest.mark.parametrize("max_tokens", [8, 9, 20])
def test_a_long_prompt_loses_its_beginning_so_that_the_response_has_half_the_room(max_tokens):
    long = Record("word " * 200, "another word " * 200)
    (whole,) = to_examples([long], tiny_tokenizer(), DataSection(max_tokens=4096))
    (cut,) = to_examples([long], tiny_tokenizer(), DataSection(max_tokens=max_tokens))
    assert cut.truncated
    assert len(cut.tokens) == max_tokens
    assert cut.response_length == max_tokens // 2
    end = whole.prompt_length
    assert cut.tokens.tolist() == whole.tokens[end - cut.prompt_length : end + cut.response_length].tolist()


def test_a_short_response_is_kept_whole_after_a_long_prompt():
    (cut,) = to_examples([Record("word " * 200, "I")], tiny_tokenizer(), DataSection(max_tokens=64))
    assert (cut.response_length, len(cut.tokens), cut.truncated) == (2, 64, True)


def test_an_example_that_just_fits_is_not_truncated():
    (whole,) = to_examples([RECORD], tiny_tokenizer(), DataSection())
    (same,) = to_examples([RECORD], tiny_tokenizer(), DataSection(max_tokens=len(whole.tokens)))
    (cut,) = to_examples([RECORD], tiny_tokenizer(), DataSection(max_tokens=len(whole.tokens) - 1))
    assert (same.truncated, cut.truncated) == (False, True)
    assert same.tokens.dtype == "int32"


def test_no_records_no_examples():
    assert to_examples([], tiny_tokenizer(), DataSection()) == []


def test_ten_thousand_records_take_seconds():
    records = [Record(f"Describe code I21.{number}.", f"Infarction number {number}") for number in range(10_000)]
    started = time.monotonic()
    examples = to_examples(records, tiny_tokenizer(), DataSection(system_prompt="Be brief."))
    assert len(examples) == 10_000
    assert time.monotonic() - started < 20
