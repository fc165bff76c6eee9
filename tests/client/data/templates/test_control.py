"""Whatever people write is plain text: no token of it is a control token, and ordinary text is tokenised as ever."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sealora_client.data.record import Record
from sealora_client.data.templates.choice import template_of
from sealora_client.data.templates.control import as_plain_text, control_names, control_tokens, token_ids
from sealora_client.data.templates.framed import FramedText
from sealora_client.data.templates.template import UnusableError
from sealora_common.recipe.sections.data import DataSection

from tiny_models import CHATML, CHATML_WITHOUT_SYSTEM, tiny_tokenizer

TEMPLATES = {"chatml": CHATML, "no system role": CHATML_WITHOUT_SYSTEM, "plain": None}


def with_added(template: str | None) -> PreTrainedTokenizerBase:
    """Also with added tokens that are not special, one within another, and one that eats white space."""
    tokenizer = tiny_tokenizer(template)
    tokenizer.add_tokens(["<think>", "</think>", "<tool", "<tool_call>", "\n\n\n"])
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("[INST]", lstrip=True, rstrip=True)]})
    return tokenizer


def sentence_pieces(*, prepends: bool) -> PreTrainedTokenizerBase:
    """As Llama 2 and its like have it: words begin with a mark, the rest is bytes; inputs begin with <s>."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    for piece in ["\u2581", *"abcdefghijklmnopqrstuvwxyz<>/|_"]:
        vocabulary[piece] = len(vocabulary)
    vocabulary["\u2581a"] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, [("\u2581", "a")], unk_token="<unk>", byte_fallback=True))
    if prepends:
        marks = [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        tokenizer.normalizer = normalizers.Sequence(marks)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    parts = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(parts)
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


TOKENIZERS = {name: with_added(template) for name, template in TEMPLATES.items()}
TOKENIZERS |= {f"pieces, {prepends}": sentence_pieces(prepends=prepends) for prepends in (False, True)}
ORDINARY = st.text(max_size=60) | st.text(st.sampled_from(" \n\t<|>_im/sthnkendou[]IST\u2581"), max_size=60)


def texts_with_control(tokenizer: PreTrainedTokenizerBase) -> st.SearchStrategy[str]:
    """Control tokens' names, whole and in halves, between any text."""
    names = sorted(name.content for name in tokenizer.added_tokens_decoder.values())
    halves = [half for name in names for half in (name[: len(name) // 2], name[len(name) // 2 :])]
    return st.lists(st.sampled_from([*names, *halves]) | st.text(max_size=8), max_size=8).map("".join)


def count_control(tokens: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    return [token for token in tokens if token in control_tokens(tokenizer)]


@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_control_tokens_are_those_of_a_record_of_one_word_whatever_a_record_holds(name, system):
    tokenizer = TOKENIZERS[name]
    texts = texts_with_control(tokenizer)

    @given(prompt=texts, response=texts, system_prompt=texts.filter(bool))
    @settings(max_examples=60)
    def holds(prompt, response, system_prompt):
        template = template_of(tokenizer, DataSection(system_prompt=system_prompt if system else None))
        (shown,) = template.shown([Record(prompt, response)])
        (plain,) = template_of(tokenizer, DataSection(system_prompt="be brief" if system else None)).shown(
            [Record("a", "b")]
        )
        assert count_control(shown.given, tokenizer) == count_control(plain.given, tokenizer)
        assert count_control(shown.learned, tokenizer) == count_control(plain.learned, tokenizer)
        assert template.prompts([prompt]) == [shown.given]

    holds()


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_decodes_is_the_text_itself(name):
    tokenizer = TOKENIZERS[name]
    texts = texts_with_control(tokenizer)

    @given(response=texts, prompt=texts)
    @settings(max_examples=60)
    def decodes(prompt, response):
        (shown,) = template_of(tokenizer, DataSection()).shown([Record(prompt, response)])
        assert tokenizer.decode(shown.learned) == response + tokenizer.eos_token
        assert prompt in tokenizer.decode(shown.given)

    decodes()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_ordinary_text_is_tokenised_as_the_tokenizer_itself_does_it(name):
    tokenizer = TOKENIZERS[name]

    @given(text=ORDINARY.filter(lambda text: not control_names(tokenizer).search(text)), special=st.booleans())
    @settings(max_examples=150)
    def same(text, special):
        pieces = ("<|im_start|>user\n", "<|im_end|>\n") if tokenizer.chat_template else ("", "</s>")
        expected = tokenizer("".join((pieces[0], text, pieces[1])), add_special_tokens=special)["input_ids"]
        assert token_ids([FramedText(pieces, (text,))], tokenizer, add_special_tokens=special) == [expected]

    same()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_copy_with_other_names_tokenises_what_holds_no_control_just_as_the_tokenizer(name):
    """So that a text with control in it differs in nothing else from what the tokenizer would make of it."""
    tokenizer = TOKENIZERS[name]

    @given(text=ORDINARY.filter(lambda text: not control_names(tokenizer).search(text)), special=st.booleans())
    @settings(max_examples=150)
    def same(text, special):
        pieces = ("<|im_start|>user\n", "<|im_end|>\n") if tokenizer.chat_template else ("", "</s>")
        framed = FramedText(pieces, (text,))
        expected = tokenizer(str(framed), add_special_tokens=special)["input_ids"]
        assert as_plain_text(framed, tokenizer, count_control(expected, tokenizer), special) == expected

    same()


def test_a_name_that_begins_in_the_frame_and_ends_in_a_text_is_no_control():
    tokenizer = tiny_tokenizer()
    (tokens,) = token_ids([FramedText(("<|im_", "|>"), ("end|> a <|im_end",))], tokenizer)
    assert count_control(tokens, tokenizer) == []
    assert tokenizer.decode(tokens) == "<|im_end|> a <|im_end|>"


def test_what_one_text_holds_changes_no_other():
    tokenizer = with_added(CHATML)
    names = [name.content for name in tokenizer.added_tokens_decoder.values()]
    draw = random.Random(0)
    records = [Record(draw.choice(names) * 2 if n % 3 else f"plain {n}", draw.choice(names)) for n in range(60)]
    template = template_of(tokenizer, DataSection(system_prompt="<|im_end|>"))
    assert template.shown(records) == [shown for record in records for shown in template.shown([record])]


def test_runs_of_white_space_are_text_and_every_other_added_token_is_control():
    tokenizer = with_added(None)
    names = {name.content for name in control_tokens(tokenizer).values()}
    assert names == {
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<think>",
        "</think>",
        "<tool",
        "<tool_call>",
        "[INST]",
    }
    (tokens,) = token_ids([FramedText(("", ""), ("a\n\n\nb",))], tokenizer)
    assert len(tokens) == 3


def test_names_of_the_copy_cannot_be_written_by_who_knows_how_they_are_made():
    tokenizer = tiny_tokenizer()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    (tokens,) = token_ids([FramedText(("", ""), (f"<|im_end|>\ue000{end}\ue001",))], tokenizer)
    assert count_control(tokens, tokenizer) == []


def test_a_text_that_can_be_read_in_no_other_way_than_as_control_is_unusable():
    """A vocabulary of words may have a control token's name among them, apart from what was added."""
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "<end>": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.add_special_tokens(["<end>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="<end>")
    assert token_ids([FramedText(("", " <end>"), ("a",))], tokenizer) == [[1, 2]]
    with pytest.raises(UnusableError) as raised:
        token_ids([FramedText(("", " <end>"), ("a <end>",))], tokenizer)
    assert raised.value.reason == "tokenizer"


def test_the_copy_cuts_and_pads_nothing_though_the_tokenizer_was_saved_so():
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=64)
    text = FramedText(("", ""), ("a text of more tokens than four",))
    assert as_plain_text(text, tokenizer, [], False) == tiny_tokenizer()(str(text))["input_ids"]
