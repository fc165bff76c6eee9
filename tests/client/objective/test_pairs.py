"""How a chosen and a rejected response are shown beside each other, and that their loss is their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_client.data.example import Example
from sealora_client.data.examples import to_examples
from sealora_client.data.population import Population
from sealora_client.data.record import Record, Turn
from sealora_client.model.fixed_shape import micro_batches
from sealora_client.objective.orpo import OddsRatioPreference
from sealora_client.objective.pairs import by_pair
from sealora_common.recipe.sections.data import DataSection

from tiny_models import tiny_tokenizer

OBJECTIVE = OddsRatioPreference(0.1)
words = st.lists(st.sampled_from(["the", "clinic", "was", "seen", "code", "right"]), min_size=1, max_size=60)


def shown(record: Record, max_tokens: int = 512) -> Example:
    (example,) = OBJECTIVE.examples([record], tiny_tokenizer(), DataSection(layout="preference", max_tokens=max_tokens))
    return example


def test_each_response_is_shown_as_it_would_be_alone():
    record = Record("Which?", "the right one", rejected="no")
    chosen, rejected = shown(record).sequences
    section = DataSection(layout="preference")
    alone = to_examples([Record("Which?", "the right one"), Record("Which?", "no")], tiny_tokenizer(), section)
    assert [each.tokens.tolist() for each in (chosen, rejected)] == [each.tokens.tolist() for each in alone]
    assert chosen.prompt_length == rejected.prompt_length == alone[0].prompt_length


@settings(max_examples=60)
@given(words, words, words, st.integers(24, 80))
def test_both_responses_stand_behind_the_same_tokens_and_within_the_limit(prompt, one, other, max_tokens):
    record = Record(" ".join(prompt), " ".join(one), rejected=" ".join(other))
    chosen, rejected = shown(record, max_tokens).sequences
    assert chosen.prompt_length == rejected.prompt_length
    given = chosen.prompt_length
    assert chosen.tokens[:given].tolist() == rejected.tokens[:given].tolist()
    assert max(len(chosen.tokens), len(rejected.tokens)) <= max_tokens
    assert min(chosen.response_length, rejected.response_length) >= 1


def test_earlier_turns_are_dropped_for_both_where_one_response_needs_the_room():
    earlier = (Turn("user", "before " * 8), Turn("assistant", "said " * 8))
    record = Record("Now?", "yes " * 30, earlier=earlier, rejected="no")
    chosen, rejected = shown(record, 120).sequences
    assert chosen.truncated
    assert rejected.truncated
    assert chosen.tokens[: chosen.prompt_length].tolist() == rejected.tokens[: rejected.prompt_length].tolist()


@pytest.mark.parametrize(("chosen", "rejected"), [("a", "a clinic"), ("a clinic", "a")])
def test_a_pair_of_which_one_cannot_be_shown_is_a_placeholder(chosen, rejected):
    section, tokenizer = DataSection(layout="preference"), tiny_tokenizer(None)
    ((beyond, _),) = tokenizer([" clinic"], add_special_tokens=False)["input_ids"]
    (example,) = OBJECTIVE.examples([Record("a", chosen, rejected=rejected)], tokenizer, section, beyond)
    assert example.unusable == "vocabulary"
    assert example.sequences == (example,)


def test_pairs_go_into_micro_batches_by_their_longer_sequence():
    short, long = Example(torch.arange(10).numpy(), 5), Example(torch.arange(100).numpy(), 5)
    pairs = [replace(short, rejected=long), replace(short, rejected=short), replace(long, rejected=short)]
    assert [pair.length for pair in pairs] == [100, 10, 100]
    assert list(micro_batches(pairs, 2)) == [[0, 2], [1]]
    assert Population.of(pairs).examples == 3


def test_a_pair_s_value_has_the_same_bits_wherever_it_stands():
    """The last bits are looked at: as float32 has them, differences show once in a few thousand pairs only."""
    rows = 5 * torch.randn(806, generator=torch.Generator().manual_seed(0))

    def last_bits(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return torch.remainder(torch.sigmoid(one - other) * 2.0**53, 2.0**20)

    together = by_pair(last_bits, rows)
    alone = [by_pair(last_bits, rows[place : place + 2])[0] for place in range(0, len(rows), 2)]
    assert torch.equal(together, torch.stack(alone))


def test_numbers_come_the_chosen_s_first_and_row_by_row():
    chosen_first = by_pair(
        lambda a, b, c, d: a + 10 * b + 100 * c + 1000 * d, torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    )
    assert chosen_first.tolist() == [4321.0]


def test_the_counts_of_a_padded_batch_are_pairs(tiny_base: Callable[..., Path]):
    from single_examples import load

    model = load(tiny_base("llama"))
    batch = OBJECTIVE.batch([shown(Record("Which?", "one", rejected="two"))], model.pad_id, model.device, 3)
    assert batch.rows == 6
    assert OBJECTIVE.losses(model, batch).counts.tolist() == [1, 0, 0]
