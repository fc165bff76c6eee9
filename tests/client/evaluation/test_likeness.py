"""BLEU, chrF and ROUGE-L of answers: what the libraries say themselves, of each record by itself, within 0 and 1."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import sentence_bleu, sentence_chrf
from transformers import GenerationConfig

from sealora_client.data.example import Example
from sealora_client.data.examples import to_examples
from sealora_client.data.population import Population
from sealora_client.data.record import Record
from sealora_client.evaluation.choice import federation_metric
from sealora_client.evaluation.likeness import LikenessMetric
from sealora_client.evaluation.text_scores import likeness_score
from sealora_client.evaluation.written import written_answers
from sealora_client.model.adapted import AdaptedModel
from sealora_client.round.history import Told
from sealora_client.round.participation import Participation
from sealora_client.simulated import SimulatedSites
from sealora_common.errors import ModelError
from sealora_common.recipe import Recipe

from single_examples import load, recipe_for
from site_bench import Bench
from tiny_federation import PRIVATE

NAMES = ("bleu", "chrf", "rouge_l")
MOST = 8
DIRECTLY: dict[str, Callable[[str, str], float]] = {
    "bleu": lambda answer, right: sentence_bleu(answer, [right]).score / 100,
    "chrf": lambda answer, right: sentence_chrf(answer, [right]).score / 100,
    "rouge_l": lambda answer, right: RougeScorer(["rougeL"]).score(right, answer)["rougeL"].fmeasure,
}


@pytest.fixture(scope="module")
def model(tiny_base) -> AdaptedModel:
    return load(tiny_base("llama"))


def recipe_of(base: Path, metric: str, size: int = 4) -> Recipe:
    return recipe_for(
        base,
        evaluation={"metric": metric, "max_new_tokens": MOST},
        training={"micro_batch_size": size},
        data={"max_tokens": 64},
    )


@pytest.fixture(scope="module")
def asked(model: AdaptedModel) -> list[Example]:
    """Questions of several lengths, with responses that share words with what the model says to them."""
    recipe = recipe_of(Path("unused"), "bleu")
    prompts = [" ".join(["What is the diagnosis?"] * (1 + number % 3) + [str(number)]) for number in range(9)]
    bare = to_examples([Record(prompt, "x") for prompt in prompts], model.tokenizer, recipe.data)
    said = [written_answers(model, recipe, [example], MOST)[0].text for example in bare]
    responses = [text + (" and more" if number % 2 else "") for number, text in enumerate(said)]
    records = [Record(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
    return to_examples(records, model.tokenizer, recipe.data)


def by_itself(model: AdaptedModel, example: Example) -> str:
    """The answer to one example, by transformers alone: one row, no padding."""
    prompt = torch.tensor([example.tokens[: example.prompt_length].tolist()])
    settings = GenerationConfig(do_sample=False, max_new_tokens=MOST, eos_token_id=model.end_ids, pad_token_id=0)
    with torch.no_grad():
        whole = model.model.generate(input_ids=prompt, generation_config=settings)
    return model.tokenizer.decode(whole[0, prompt.shape[1] :], skip_special_tokens=True).strip()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_the_library_says_of_each_answer(model: AdaptedModel, asked: list[Example], name: str) -> None:
    right = [model.tokenizer.decode(e.tokens[e.prompt_length :], skip_special_tokens=True).strip() for e in asked]
    expected = [DIRECTLY[name](by_itself(model, one), text) for one, text in zip(asked, right, strict=True)]
    found = LikenessMetric(name).measure(model, Population.of(asked), recipe_of(Path("unused"), name))
    assert found.by_unit == pytest.approx(expected, abs=1e-12)
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.terms == len(asked)
    assert 0 < found.mean < 1


@settings(max_examples=8)
@given(order=st.permutations(range(9)), size=st.integers(1, 9))
def test_neither_order_nor_batch_size_nor_company_change_a_record_s(model, asked, order, size) -> None:
    base = Path("unused")
    expected = LikenessMetric("chrf").measure(model, Population.of(asked), recipe_of(base, "chrf")).by_unit
    population = Population.of([asked[place] for place in order])
    found = LikenessMetric("chrf").measure(model, population, recipe_of(base, "chrf", size))
    assert found.by_unit.tolist() == [expected[place] for place in order]
    alone = LikenessMetric("chrf").measure(model, Population.of([asked[order[0]]]), recipe_of(base, "chrf", size))
    assert alone.by_unit[0] == expected[order[0]]


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_shown_or_asks_nothing_is_like_nothing(model: AdaptedModel, name: str) -> None:
    nothing = [Example.placeholder("template"), Example(np.array([5, 6], np.int32), 2)]
    found = LikenessMetric(name).measure(model, Population.of(nothing), recipe_of(Path("unused"), name))
    assert found.by_unit.tolist() == [0.0, 0.0]
    assert np.isnan(found.mean)


@pytest.mark.parametrize("name", NAMES)
def test_a_text_that_a_library_fails_on_ends_no_round(
    model: AdaptedModel, asked: list[Example], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = LikenessMetric(name)

    def fails(answer: str, right: str) -> float:
        raise RecursionError("of this text")

    monkeypatch.setattr(metric, "_score", fails)
    found = metric.measure(model, Population.of(asked), recipe_of(Path("unused"), name))
    assert found.by_unit.tolist() == [0.0] * len(asked)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(answer=st.text(), right=st.text())
def test_a_unit_moves_the_sum_by_one_at_the_most_whatever_the_texts_are(name: str, answer: str, right: str) -> None:
    metric = LikenessMetric(name)
    assert 0 <= metric._likeness(answer, right) <= 1
    public = metric.public_range(recipe_of(Path("unused"), name))
    assert (public.low, public.high, public.worst) == (0.0, 1.0, 0.0)


def test_equal_texts_are_wholly_alike() -> None:
    said = "acute myocardial infarction of the wall"
    assert [LikenessMetric(name)._likeness(said, said) for name in NAMES] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_names_it(name: str) -> None:
    metric = federation_metric(recipe_of(Path("unused"), name))
    assert isinstance(metric, LikenessMetric)


MODULES = {"bleu": "sacrebleu.metrics", "chrf": "sacrebleu.metrics", "rouge_l": "rouge_score.rouge_scorer"}


@pytest.mark.parametrize("name", NAMES)
def test_a_package_that_is_missing_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    with pytest.raises(ModelError, match=r'not installed: pip install "sealora\[evaluation\]"'):
        likeness_score(name)


def test_and_is_said_before_anything_is_charged(tiny_base, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, tiny_base(), rounds=2, privacy=PRIVATE, evaluation={"metric": "bleu", "max_new_tokens": 2})
    bench.site.prepare()
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    for ask in (bench.site.prepare, lambda: Participation.begin(bench.site, bench.order(), bench.adapter, Told())):
        with pytest.raises(ModelError, match="BLEU needs the package sacrebleu"):
            ask()
    with bench.site.ledger() as ledger:
        assert not ledger.charges()
    with pytest.raises(ModelError, match="BLEU needs the package sacrebleu"):
        SimulatedSites.resolve(bench.recipe)
    monkeypatch.undo()
    Participation.begin(bench.site, bench.order(), bench.adapter, Told())
    with bench.site.ledger() as ledger:
        assert len(ledger.charges()) == 2


def test_how_many_steps_a_release_takes_tells_nothing_of_the_answers(model, asked, monkeypatch) -> None:
    recipe = recipe_of(Path("unused"), "chrf")
    metric, population = federation_metric(recipe), Population.of(asked)
    passes: list[int] = []
    hook = model.model.get_base_model().register_forward_hook(lambda *_: passes.append(1))
    counts, values = [], []
    try:
        for ends in ([], list(range(384))):  # nothing ends an answer; whatever is said does
            monkeypatch.setattr(type(model), "end_ids", property(lambda self, ends=ends: ends))
            metric.measure(model, population, recipe)  # so that the model was asked for its rows before
            passes.clear()
            values.append(metric.measure(model, population, recipe).by_unit.tolist())
            counts.append(len(passes))
    finally:
        hook.remove()
    assert values[0] != values[1]
    assert counts[0] == counts[1] > 0
