"""Conversations that are longer than an example may be: what is left of them, and what of that is learned."""

from __future__ import annotations

import pytest

from sealora_client.data.examples import to_examples
from sealora_client.data.record import Record, Turn
from sealora_client.data.templates.choice import template_of
from sealora_client.data.templates.template import UnusableError
from sealora_common.recipe.sections.data import DataSection

from tiny_models import CHATML, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
SYSTEM = Turn("system", "Be kind.")
EXCHANGES = [
    turn for n in range(4) for turn in (Turn("user", f"And {n}?"), Turn("assistant", f"It is {n}.", learned=n != 2))
]
RECORD = Record("And now?", "Nothing.", earlier=(SYSTEM, *EXCHANGES))


def shown(record: Record, max_tokens: int):
    (example,) = to_examples([record], TOKENIZER, DataSection(layout="messages", max_tokens=max_tokens))
    return example


def whole(exchanges: list[Turn]) -> int:
    """Tokens of the conversation with these."""
    record = Record(RECORD.prompt, RECORD.response, earlier=(SYSTEM, *exchanges))
    return len(shown(record, 1024).tokens)


@pytest.mark.parametrize("dropped", range(5))
def test_as_few_of_the_earliest_exchanges_are_left_out_as_it_takes(dropped):
    left = EXCHANGES[2 * dropped :]
    for room in (whole(left), whole(EXCHANGES[2 * dropped - 2 :]) - 1 if dropped else whole(left) + 50):
        example = shown(RECORD, room)
        text = TOKENIZER.decode(example.tokens)
        assert (
            text
            == "<|im_start|>system\nBe kind.<|im_end|>\n"
            + "".join(
                f"<|im_start|>{turn.role}\n{turn.text}<|im_end|>\n" for turn in (*left, Turn("user", RECORD.prompt))
            )
            + "<|im_start|>assistant\nNothing.<|im_end|>"
        )
        assert example.truncated == (dropped > 0)
        learned = [TOKENIZER.decode(example.tokens[start:stop]) for start, stop in example.earlier]
        assert learned == [f"{turn.text}<|im_end|>" for turn in left if turn.learned]
        assert TOKENIZER.decode(example.tokens[example.prompt_length :]) == "Nothing.<|im_end|>"
        assert example.learned.sum() == example.response_length + sum(stop - start for start, stop in example.earlier)


def test_a_system_s_text_of_its_own_loses_its_middle_and_the_frame_stays():
    record = Record("And now?", "Nothing.", earlier=(Turn("system", "begin " + "so it goes " * 60 + "end"), *EXCHANGES))
    example = shown(record, 80)
    text = TOKENIZER.decode(example.tokens)
    assert example.truncated
    assert text.startswith("<|im_start|>system\nbegin")
    assert "end<|im_end|>\n<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\nNothing.<|im_end|>" in text
    assert "And 3?" not in text
    assert 40 < len(example.tokens) <= 80


def test_a_template_that_asks_otherwise_after_some_prompts_alters_their_conversations():
    asks = CHATML.replace("assistant\n{% endif %}", "assistant\n{{ '!' if 'loud' in messages[-1].content }}{% endif %}")
    template = template_of(tiny_tokenizer(asks), DataSection(layout="messages"))
    quiet, loud = (Record(prompt, "b", earlier=tuple(EXCHANGES[:2])) for prompt in ("quiet", "loud"))
    assert len(template.shown([quiet])) == 1
    with pytest.raises(UnusableError) as raised:
        template.shown([loud])
    assert raised.value.reason == "altered"
