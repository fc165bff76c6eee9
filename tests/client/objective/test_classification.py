"""Classification: only the agreed words count, whatever they are made of, and what cannot be told apart is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from objective_bench import OBJECTIVES, objective_recipe, single_gradients, some_of
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.data.record import Record
from sealora_client.evaluation.accuracy import AccuracyMetric
from sealora_client.evaluation.choice import federation_metric
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.model.adapted import AdaptedModel
from sealora_client.objective.classification import Classification
from sealora_client.training.clipped_sum import ClippedSum
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import ModelError
from sealora_common.privacy.event import PrivacyEvent
from sealora_common.privacy.releases import HeldoutPlan
from sealora_common.recipe.sections.data import DataSection

from single_examples import in_float64, plan_for, relative_error, write_random_adapter
from tiny_models import tiny_tokenizer

LABELS = {"0": "benign", "1": "malignant", "2": "unclear"}
RECIPE = objective_recipe("classification")


def classification(labels: dict[str, str] = LABELS, weights: dict[str, float] | None = None) -> Classification:
    return Classification(DataSection(layout="labelled", labels=labels), weights or {})


def test_a_record_is_its_prompt_and_the_token_that_its_word_begins_with():
    objective = classification()
    records = [Record("A growth.", word) for word in LABELS.values()]
    examples = objective.examples(records, tiny_tokenizer(), objective.section)
    tokenizer = tiny_tokenizer()
    for word, example in zip(LABELS.values(), examples, strict=True):
        assert example.response_length == 1
        assert example.tokens[-1] == tokenizer(word, add_special_tokens=False)["input_ids"][0]
        assert example.tokens[:-1].tolist() == examples[0].tokens[:-1].tolist()


def test_words_that_begin_alike_are_refused_before_any_record_is_read():
    objective = classification({"0": "clinic", "1": "clinical"})
    with pytest.raises(ModelError, match=r"'clinic' and 'clinical' of data\.labels begin with the same token"):
        objective.examples([], tiny_tokenizer(), objective.section)


def test_a_word_that_the_model_has_no_embedding_for_is_refused():
    objective = classification({"0": "a", "1": "the"})
    with pytest.raises(ModelError, match="no embedding for a token"):
        objective.examples([], tiny_tokenizer(), objective.section, vocabulary=80)


def test_a_text_that_melts_into_its_word_is_a_placeholder_and_changes_no_other():
    """Without a template the end of a text and a word could be one token."""
    objective = classification()
    good, odd = Record("A growth.", "benign"), Record("", "benign")
    examples = objective.examples([good, odd, good], tiny_tokenizer(), objective.section)
    assert [example.unusable for example in examples[::2]] == [None, None]


@given(st.sampled_from(sorted(LABELS.values())))
def test_two_labels_may_share_a_word(word):
    objective = classification({"a": "benign", "b": "benign", "c": "malignant"})
    assert objective.words == ("benign", "malignant")


def test_the_loss_is_that_among_the_words_and_not_among_all_tokens(model: AdaptedModel) -> None:
    write_random_adapter(model)
    (example,) = some_of(RECIPE, model, 1)
    found = HeldoutLossMetric().measure(model, Population.of([example]), RECIPE).mean
    with in_float64(model), torch.no_grad():
        tokens = torch.from_numpy(example.tokens.astype(np.int64))
        logits = model.model(input_ids=tokens[None], use_cache=False).logits[0, -2]
    among_all = float(functional.cross_entropy(logits[None], tokens[-1:]))
    assert found < among_all - 1  # most of what the model would say is none of the words
    assert found < math.log(3) + 10


def test_a_label_s_weight_scales_its_gradient_and_no_measurement(model: AdaptedModel) -> None:
    write_random_adapter(model)
    weighted = objective_recipe(
        "classification", objective={"label_weights": {"1": 4.0}}, training={"sample_rate": 1.0, "micro_batch_size": 2}
    )
    objective = classification(weights={"1": 4.0})
    records = [Record("A growth.", "benign"), Record("Another.", "malignant"), Record("A third.", "malignant")]
    examples = objective.examples(records, model.tokenizer, objective.section)
    assert [example.weight for example in examples] == [1.0, 4.0, 4.0]
    layout = adapter_kind(weighted).trained(model.layout, 1)
    rows = single_gradients(weighted, model, layout, examples)
    expected = rows[0] + 4 * rows[1] + 4 * rows[2]
    sums = ClippedSum(
        model,
        layout,
        Population.of(examples),
        plan=plan_for(weighted),
        recipe=weighted,
        clip_norm=1000.0,
        entropy=SeededEntropy("s"),
    )
    with sums:
        total = sums.draw()
    assert relative_error(total * 1000.0 / (1 << 24), expected) < 1e-3
    losses = HeldoutLossMetric().measure(model, Population.of(examples), weighted).by_unit
    plain = HeldoutLossMetric().measure(model, Population.of(examples), RECIPE).by_unit
    np.testing.assert_array_equal(losses, plain)


def test_no_weight_takes_a_record_beyond_the_clipping_norm(model: AdaptedModel) -> None:
    write_random_adapter(model)
    recipe = objective_recipe("classification", training={"sample_rate": 1.0})
    objective = classification(weights={"1": 1e6})
    examples = objective.examples([Record("Another.", "malignant")], model.tokenizer, objective.section)
    sums = ClippedSum(
        model,
        adapter_kind(recipe).trained(model.layout, 1),
        Population.of(examples),
        plan=plan_for(recipe),
        recipe=recipe,
        clip_norm=0.01,
        entropy=SeededEntropy("s"),
    )
    with sums:
        assert float(sums.draw().norm()) <= 1 << 24


def test_accuracy_equals_a_loop_over_single_examples(model: AdaptedModel) -> None:
    write_random_adapter(model)
    recipe = objective_recipe("classification", evaluation={"metric": "accuracy"}, training={"micro_batch_size": 4})
    examples = some_of(recipe, model, 30)
    metric = federation_metric(recipe)
    assert isinstance(metric, AccuracyMetric)
    found = metric.measure(model, Population.of(examples), recipe)
    classes = [model.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in LABELS.values()]
    expected = []
    with in_float64(model), torch.no_grad():
        for example in examples:
            tokens = torch.from_numpy(example.tokens.astype(np.int64))
            logits = model.model(input_ids=tokens[None], use_cache=False).logits[0, -2]
            expected.append(float(classes[int(logits[classes].argmax())] == example.tokens[-1]))
    assert 0 < sum(expected) < 30
    assert found.by_unit.tolist() == expected
    assert found.mean == pytest.approx(np.mean(expected))


def test_a_placeholder_is_no_hit_and_counts_as_a_unit(model: AdaptedModel) -> None:
    recipe = objective_recipe("classification", evaluation={"metric": "accuracy"})
    found = AccuracyMetric().measure(model, Population.of([Example.placeholder("label")]), recipe)
    assert found.by_unit.tolist() == [0.0]
    assert math.isnan(found.mean)


def test_what_leaves_of_it_is_noised_by_its_own_width(model: AdaptedModel) -> None:
    recipe = objective_recipe("classification", evaluation={"metric": "accuracy"}, privacy={"heldout_clip": 1000.0})
    population = Population.of(some_of(recipe, model, 20))
    metric = AccuracyMetric()
    public = metric.public_range(recipe)
    assert (public.low, public.high, public.worst) == (0.0, 1.0, 0.0)
    found = metric.measure(model, population, recipe)
    plan = HeldoutPlan(PrivacyEvent(2.0, 1.0, 1))
    told = [found.released_mean(public, plan, SeededEntropy(seed)) for seed in range(300)]
    assert np.mean(told) == pytest.approx(found.by_unit.mean(), abs=0.03)
    assert np.std(told) == pytest.approx(2.0 / 20, rel=0.2)


def test_every_objective_s_recipe_is_one(tmp_path: Path) -> None:
    assert all(objective_recipe(name).hash for name in OBJECTIVES)


def test_a_text_that_meets_its_word_in_a_token_teaches_nothing_and_others_do():
    """With a tokenizer that marks what goes on a word, and a template that puts nothing between."""
    vocabulary = {"[UNK]": 0, "<end>": 1, "x": 2, "a": 3, ".": 4, "bc": 5, "##bc": 6, "d": 7, "##d": 8}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<end>",
        unk_token="[UNK]",
        chat_template="{% for m in messages %}{{ m.content }}{% endfor %}",
    )
    section = DataSection(layout="labelled", labels={"0": "bc", "1": "d"})
    objective = Classification(section, {})
    assert objective.tokens(tokenizer) == (6, 8)
    met, apart = objective.examples([Record("a.", "bc"), Record("a", "d")], tokenizer, section)
    assert (met.unusable, met.response_length) == ("label", 0)
    assert (apart.unusable, apart.tokens.tolist()) == (None, [3, 8])
