from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import normalizers
from transformers import PreTrainedTokenizerBase

from sealora_client.data.examples import blocks, fit, to_examples
from sealora_client.data.record import Record, Turn
from sealora_client.data.templates import chat
from sealora_client.data.templates.choice import template_of
from sealora_client.data.templates.template import Shown
from sealora_common.recipe.sections.data import DataSection

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
    prompts = template_of(tokenizer, DataSection(system_prompt="Be brief.")).prompts([RECORD.prompt])
    assert prompts == [example.tokens[: example.prompt_length].tolist()]


def test_a_long_response_loses_its_end():
    long = Record("Describe", "word " * 200)
    (whole,) = to_examples([long], tiny_tokenizer(), DataSection(max_tokens=4096))
    (cut,) = to_examples([long], tiny_tokenizer(), DataSection(max_tokens=100))
    assert (whole.truncated, cut.truncated) == (False, True)
    assert cut.tokens.tolist() == whole.tokens[:100].tolist()
    assert cut.prompt_length == whole.prompt_length


NUMBERED = " ".join(f"word{number * 7919 % 10007}" for number in range(400))


@pytest.mark.parametrize("max_tokens", [72, 73, 120])
@pytest.mark.parametrize("template", [CHATML, CHATML_WITHOUT_SYSTEM, THINKING, ENDLESS, None])
def test_a_long_prompt_loses_its_middle_and_no_frame_so_that_the_response_has_half_the_room(template, max_tokens):
    tokenizer = tiny_tokenizer(template)
    long = Record(NUMBERED, "another word " * 200)
    (whole,) = to_examples([long], tokenizer, DataSection(max_tokens=8192, system_prompt="Be brief."))
    (cut,) = to_examples([long], tokenizer, DataSection(max_tokens=max_tokens, system_prompt="Be brief."))
    assert (cut.truncated, len(cut.tokens), cut.response_length) == (True, max_tokens, max_tokens // 2)
    room, given = cut.prompt_length, whole.tokens[: whole.prompt_length].tolist()
    before, after = tokenizer.decode(given).split(NUMBERED)
    head, tail = (len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (before, after))
    half = head + (room - head - tail) // 2
    assert head < half < room - tail
    # The ends of a frame and of a text may be one token.
    splits = [given[:first] + given[len(given) - (room - first) :] for first in range(half - 1, half + 3)]
    assert cut.tokens[:room].tolist() in splits
    assert cut.tokens[room:].tolist() == whole.tokens[len(given) : len(given) + max_tokens // 2].tolist()


@given(
    given=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    learned=st.lists(st.integers(10, 19), min_size=1, max_size=40),
    ends=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    max_tokens=st.integers(8, 64),
)
@example(given=[1] * 40, learned=[11] * 40, ends=(7, 7), max_tokens=16)  # more frame than half of it
@example(given=[1] * 40, learned=[11] * 40, ends=(2, 12), max_tokens=8)  # more than all of it
def test_what_is_kept_of_any_example_is_its_frame_and_both_its_ends(given, learned, ends, max_tokens):
    head = min(ends[0], len(given))
    tail = min(ends[1], len(given) - head)
    example = fit(Shown(given, learned, head, tail), max_tokens)
    assert len(example.tokens) <= max_tokens
    assert example.truncated == (len(given) + len(learned) > max_tokens)
    prompt, response = (
        example.tokens[: example.prompt_length].tolist(),
        example.tokens[example.prompt_length :].tolist(),
    )
    assert response
    assert response == learned[: len(response)]
    assert len(response) >= min(len(learned), max_tokens // 2, max(1, max_tokens - head - tail))
    if head + tail < max_tokens:
        assert prompt[:head] == given[:head]
        assert prompt[len(prompt) - tail :] == given[len(given) - tail :]
    if example.truncated:
        assert len(example.tokens) == max_tokens
    else:
        assert (prompt, response) == (given, learned)


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


@pytest.mark.slow
def test_ten_thousand_records_take_seconds():
    records = [Record(f"Describe code I21.{number}.", f"Infarction number {number}") for number in range(10_000)]
    started = time.monotonic()
    examples = to_examples(records, tiny_tokenizer(), DataSection(system_prompt="Be brief."))
    assert len(examples) == 10_000
    assert time.monotonic() - started < 20


# Nothing a record holds breaks the others.

# As a record may: the template raises, or asks for what a text of this content does not have.
TOUCHY = (
    "{% for message in messages %}{% if 'refuse me' in message['content'] %}{{ raise_exception('no') }}{% endif %}"
    "{% if 'divide me' in message['content'] %}{{ 1 // 0 }}{% endif %}{% endfor %}" + CHATML
)


class Panic(BaseException):
    """What the tokenizer's Rust raises is no `Exception`."""


Panic.__module__ = "pyo3_runtime"


def failing_tokenizer(error: type[BaseException]) -> PreTrainedTokenizerBase:
    """Fails as a whole for a batch with the text `break me` in it."""
    tokenizer = tiny_tokenizer()

    class Failing(type(tokenizer)):
        def __call__(self, texts, **options):
            if any("break me" in text for text in texts):
                raise error("on one of them")
            return super().__call__(texts, **options)

    tokenizer.__class__ = Failing
    return tokenizer


HOSTILE: list[tuple[str, Callable[[], PreTrainedTokenizerBase], Record, str]] = [
    ("template raises", lambda: tiny_tokenizer(TOUCHY), Record("refuse me", "a"), "template"),
    ("template divides by zero", lambda: tiny_tokenizer(TOUCHY), Record("a", "divide me"), "template"),
    ("tokenizer fails", lambda: failing_tokenizer(ValueError), Record("break me", "a"), "tokenizer"),
    ("tokenizer is out of memory", lambda: failing_tokenizer(MemoryError), Record("a", "break me"), "tokenizer"),
    ("tokenizer panics", lambda: failing_tokenizer(Panic), Record("break me", "break me"), "tokenizer"),
]


@pytest.mark.parametrize(("tokenizer", "record", "reason"), [case[1:] for case in HOSTILE], ids=[c[0] for c in HOSTILE])
@pytest.mark.parametrize("system_prompt", [None, "Be brief."])
def test_a_record_on_which_template_or_tokenizer_fail_is_a_placeholder_and_the_rest_as_without_it(
    tokenizer, record, reason, system_prompt
):
    section = DataSection(system_prompt=system_prompt)
    others = [Record(f"Describe code I21.{number}.", f"Infarction {number}") for number in range(700)]
    expected = to_examples(others, tokenizer(), section)
    found = to_examples([*others[:300], record, *others[300:], record], tokenizer(), section)
    assert all(example.unusable is None for example in expected)
    for position in (300, -1):
        placeholder = found[position]
        assert (placeholder.unusable, placeholder.response_length) == (reason, 0)
        assert (placeholder.tokens.tolist(), placeholder.prompt_length) == ([0], 1)
    rest = [*found[:300], *found[301:-1]]
    assert [example.tokens.tolist() for example in rest] == [example.tokens.tolist() for example in expected]


def test_a_wish_to_stop_is_no_failure_of_a_record():
    with pytest.raises(KeyboardInterrupt):
        to_examples([Record("break me", "a")], failing_tokenizer(KeyboardInterrupt), DataSection())


def test_a_record_of_which_nothing_is_left_as_tokens_is_a_placeholder():
    tokenizer = tiny_tokenizer(None)
    gone = [normalizers.Replace(character, "") for character in "\n~"]
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(gone)
    prompt, fine = to_examples([Record("~~", "yes"), Record("a~", "~yes")], tokenizer, DataSection())
    assert prompt.unusable == "prompt"
    assert fine.unusable is None
    tokenizer.eos_token = None
    (response,) = to_examples([Record("a", "~~")], tokenizer, DataSection())
    assert response.unusable == "response"


def test_a_token_that_the_model_does_not_have_makes_a_placeholder_unless_it_is_cut_off():
    tokenizer = tiny_tokenizer()
    vocabulary = len(tokenizer)
    tokenizer.add_tokens(["\t\t\t"])  # white space: text, though it was added
    section = DataSection(max_tokens=40)
    texts = [Record("a", "\t\t\tb"), Record("b\t\t\t", "a"), Record("a", "b"), Record("a", "word " * 200 + "\t\t\tb")]
    found = to_examples(texts, tokenizer, section, vocabulary)
    assert [example.unusable for example in found] == ["vocabulary", "vocabulary", None, None]
    assert all(example.unusable is None for example in to_examples(texts, tokenizer, section, vocabulary + 1))


# Records that are longer than any example.


@pytest.mark.parametrize("template", [CHATML, THINKING, ENDLESS, None])
@pytest.mark.parametrize("record", [("long", "long"), ("long", "a"), ("a", "long")], ids=" and ".join)
def test_what_is_cut_before_it_is_tokenised_does_not_show(template, record):
    """Against the same without that cut, on words that no two share."""
    text = " ".join(f"word{number * 7919 % 10007}" for number in range(4000))
    prompt, response = (text if part == "long" else part for part in record)
    tokenizer, section = tiny_tokenizer(template), DataSection(max_tokens=64, system_prompt="Be brief.")
    room = 2 * section.max_tokens * max(map(len, tokenizer.get_vocab()))
    assert len(text) > 10 * room
    (cut,) = to_examples([Record(prompt, response)], tokenizer, section)
    (whole,) = to_examples([Record(prompt, response)], tokenizer, section, slack=len(text))
    assert cut.tokens.tolist() == whole.tokens.tolist()
    assert (cut.prompt_length, cut.truncated) == (whole.prompt_length, True)


def test_a_tokenizer_never_sees_more_of_a_record_than_an_example_can_need():
    tokenizer = tiny_tokenizer()
    seen = []

    class Watched(type(tokenizer)):
        def __call__(self, texts, **options):
            seen.extend(map(len, texts))
            return super().__call__(texts, **options)

    tokenizer.__class__ = Watched
    section = DataSection(max_tokens=64)
    to_examples([Record("p" * 5_000_000, "r" * 5_000_000)] * 3, tokenizer, section)
    room = 2 * section.max_tokens * max(map(len, tokenizer.get_vocab()))
    assert max(seen) < 2 * room + 200


def test_a_block_of_texts_is_bounded_in_records_and_characters():
    records = [Record("p" * length, "r") for length in (30, 30, 30, 500, 5, 5)]
    few_characters = blocks(records, characters_at_most=100)
    assert [[len(record.prompt) for record in block] for block in few_characters] == [[30, 30, 30], [500], [5, 5]]
    few_of_both = blocks(records, 2, 100)
    assert [[len(record.prompt) for record in block] for block in few_of_both] == [[30, 30], [30], [500], [5, 5]]


def talk(exchanges: int, *first: Turn) -> Record:
    said = [
        turn
        for number in range(exchanges)
        for turn in (Turn("user", f"q{number}"), Turn("assistant", f"a{number}", learned=True))
    ]
    return Record("and now?", "so", earlier=(*first, *said))


@pytest.mark.parametrize("first", [(), (Turn("system", "be brief"),)])
def test_a_conversation_without_end_takes_no_more_than_one_that_may_just_fit(monkeypatch, first):
    tokenizer = tiny_tokenizer(CHATML)
    section, written = DataSection(max_tokens=64, layout="messages"), []
    sound = chat.render

    def counted(*arguments: Any, **options: Any) -> str:
        written.append(0)
        if len(written) > 1000:
            pytest.fail("a template is asked without end")
        return sound(*arguments, **options)

    monkeypatch.setattr(chat, "render", counted)
    (endless,) = to_examples([talk(2_000, *first)], tokenizer, section)
    latest = talk(2_000, *first)
    latest = replace(latest, earlier=(*first, *latest.earlier[-40:]))
    (expected,) = to_examples([latest], tokenizer, section)
    assert endless.truncated
    assert expected.truncated
    assert endless.tokens.tolist() == expected.tokens.tolist()
    assert endless.earlier == expected.earlier != ()
