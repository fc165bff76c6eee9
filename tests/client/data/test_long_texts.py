"""Texts of more tokens than an example may have: shown in pieces that stay one unit of privacy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_client.data.example import Example
from sealora_client.data.examples import to_examples
from sealora_client.data.population import Population
from sealora_client.data.record import Record
from sealora_client.training.clipped_sum import ClippedSum
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SeededEntropy
from sealora_common.recipe.sections.data import DataSection

from single_examples import load, plan_for, recipe_for
from tiny_models import tiny_tokenizer


def shown(text: str, max_tokens: int, **fields: object) -> Example:
    section = DataSection.model_validate({"layout": "text", "long_texts": "split", "max_tokens": max_tokens} | fields)
    (example,) = to_examples([Record("", text)], tiny_tokenizer(), section)
    return example


def joined(example: Example) -> list[int]:
    first, *others = example.pieces
    return [*first.tokens.tolist(), *(token for piece in others for token in piece.tokens[1:].tolist())]


@settings(max_examples=80)
@given(st.text(min_size=1, max_size=400), st.integers(8, 40))
def test_the_pieces_are_the_text_and_each_token_but_the_first_is_predicted_once(text, max_tokens):
    (whole,) = to_examples([Record("", text)], tiny_tokenizer(), DataSection(layout="text", max_tokens=4096))
    example = shown(text, max_tokens)
    assert joined(example) == whole.tokens.tolist()
    assert sum(int(piece.learned.sum()) for piece in example.pieces) == len(whole.tokens) - 1
    assert all(2 <= len(piece.tokens) <= max_tokens for piece in example.pieces)
    assert not any(piece.truncated for piece in example.pieces)


def test_each_piece_begins_with_the_token_before_it():
    example = shown("the patient was seen " * 20, 16)
    for one, other in zip(example.pieces, example.pieces[1:], strict=False):
        assert len(one.tokens) == 16
        assert other.tokens[0] == one.tokens[-1]
        assert not other.learned[0]


def test_a_text_that_fits_is_shown_as_ever():
    section = DataSection(layout="text", max_tokens=64)
    (cut,) = to_examples([Record("", "a clinic")], tiny_tokenizer(), section)
    example = shown("a clinic", 64)
    assert example.following == ()
    np.testing.assert_array_equal(example.tokens, cut.tokens)


def test_without_the_setting_a_text_is_cut():
    example = shown("word " * 200, 64, long_texts="cut")
    assert example.truncated
    assert example.following == ()


def test_a_text_that_is_tokenised_in_parts_is_cut_between_words():
    longest = max(map(len, tiny_tokenizer().get_vocab()))
    text = "seen in the clinic " * (3 * 2 * 8 * longest)  # several times the most that is tokenised at once
    (whole,) = to_examples([Record("", text)], tiny_tokenizer(), DataSection(layout="text", max_tokens=131072))
    assert joined(shown(text, 8)) == whole.tokens.tolist()


def test_a_long_text_with_a_token_that_the_model_lacks_is_one_placeholder():
    section = DataSection(layout="text", long_texts="split", max_tokens=16)
    (example,) = to_examples([Record("", "a b " * 50 + "clinic")], tiny_tokenizer(), section, vocabulary=300)
    assert example.unusable == "vocabulary"
    assert example.following == ()


def test_a_unit_of_privacy_is_the_text_or_its_person():
    texts = [shown("the patient was seen " * count, 16) for count in (1, 20, 10)]
    by_record = Population.of(texts)
    assert [len(unit) for unit in by_record.units] == [len(text.pieces) for text in texts]
    assert len(by_record) == 3
    by_person = Population.of(texts, ["a", "b", "a"])
    assert [len(unit) for unit in by_person.units] == [
        len(texts[0].pieces) + len(texts[2].pieces),
        len(texts[1].pieces),
    ]


@pytest.mark.parametrize(("most", "seen"), [(1, 1), (3, 3), (100, None)])
def test_a_text_that_is_drawn_contributes_a_few_of_its_pieces_and_one_clipped_gradient(
    tiny_base: Callable[..., Path], most: int, seen: int | None
) -> None:
    model = load(tiny_base("llama"))
    recipe = recipe_for(
        Path("unused"),
        data={"layout": "text", "long_texts": "split", "max_tokens": 16},
        training={"sample_rate": 1.0},
        privacy={"records_per_person": most},
    )
    text = shown("the patient was seen " * 20, 16)
    layout = adapter_kind(recipe).trained(model.layout, 1)
    sums = ClippedSum(
        model,
        layout,
        Population.of([text]),
        plan=plan_for(recipe),
        recipe=recipe,
        clip_norm=1e-3,
        entropy=SeededEntropy("s"),
    )
    with sums:
        first, second = sums.draw(), sums.draw()
    assert sums.figures.examples == 2 * (seen or len(text.pieces))
    assert len(sums.figures.norms) == 2
    assert float(first.norm()) <= 1 << 24  # one clipping norm, however many pieces
    assert bool((first == second).all()) == (seen is None)  # drawn anew
