"""The attacks find what a model has learnt by heart, and nothing where it was not trained."""

from __future__ import annotations

import numpy as np
import pytest

from sealora_client.memorisation.extraction import continued, told
from sealora_client.memorisation.likelihood import ranks
from sealora_client.memorisation.planted_sites import PlantedSites
from sealora_client.memorisation.planting import made_secrets
from sealora_client.model.adapted import adapted_model
from sealora_common.adapter import adapter_kind
from sealora_common.errors import RecipeError
from sealora_common.records.attacks.memorisation import Planting
from sealora_common.round.unsealed import UnsealedOrder

PLANTING = Planting(secrets=12, repeats=(1, 3), candidates=7, seed=0)


def start_of(sites: PlantedSites, recipe):
    kind = adapter_kind(recipe)
    return kind.shared(sites.layout).flatten(kind.initial(sites.layout))


def test_ranks_are_by_loss_and_no_number_is_the_last():
    losses = np.array([[1.0, 2.0, 3.0], [2.5, 2.0, 3.0], [9.0, 2.0, 3.0], [np.nan, 1.0, 2.0], [1.0, np.nan, 0.5]])
    assert ranks(losses).tolist() == [1, 2, 3, 3, 2]


def test_what_is_planted_is_trained_on_at_all_sites_but_the_attacker_s(planted_sites):
    assert planted_sites.attacker == "site-2"
    assert [planted_sites.units((name,)) for name in planted_sites.names] == [8 + 16, 9 + 8, 10]


def test_the_records_digest_knows_nothing_of_what_is_planted(planted_sites, tiny_recipe):
    other = PlantedSites(tiny_recipe(), Planting(secrets=12, repeats=(2,), candidates=7, seed=1))
    assert other.digest == planted_sites.digest


def test_nothing_is_found_of_the_untrained_adapter_but_by_chance(planted_sites, tiny_recipe):
    found = planted_sites.attack(start_of(planted_sites, tiny_recipe()))
    every = (*found.planted, *found.held_back)
    assert len(every) == 24
    assert not any(secret.told or secret.continued for secret in every)
    assert {secret.gain for secret in every} == {0.0}
    assert all(1 <= secret.rank <= 8 for secret in every)
    assert [secret.repeats for secret in found.planted] == [1, 3] * 6
    assert (found.unasked_planted, found.unasked_held_back) == (0, 0)


def test_a_model_that_was_taught_the_secrets_alone_is_found_out_by_every_attack(tiny_recipe):
    recipe = tiny_recipe("training.optimizer=adamw", "training.learning_rate=0.03", "training.sample_rate=1.0",
                         "training.steps_per_round=40", "training.micro_batch_size=32")  # fmt: skip
    sites = PlantedSites(recipe, PLANTING)
    party = ("site-0",)
    start = start_of(sites, recipe)
    order = UnsealedOrder(recipe, 3, "train", 1, recipe.privacy.clip_norm, evaluates=False, seed=0)
    kind = adapter_kind(recipe)
    adapter = kind.shared(sites.layout).add(
        start, kind.trained(sites.layout, 1), sites.answer(party, order, start).contribution.values.astype(np.float64)
    )
    found = sites.attack(adapter)
    taught = [secret for secret in found.planted if secret.site == "site-0"]
    others = [secret for secret in (*found.planted, *found.held_back) if secret.site != "site-0"]
    assert len(taught) == 8
    assert sum(secret.told for secret in taught) >= 6
    assert sum(secret.continued for secret in taught) >= 6
    assert all(secret.rank == 1 for secret in taught)
    assert min(secret.gain for secret in taught) > max(secret.gain for secret in others)
    assert not any(secret.told or secret.continued for secret in others)
    roc = sites.separation(*(np.array([secret.gain for secret in sort]) for sort in (taught, others)))
    assert roc.auc == 1


def test_an_answer_counts_by_the_true_value_alone(tiny_recipe, monkeypatch):
    recipe, secrets = tiny_recipe(), made_secrets(PLANTING, ["site-0"])[0][:4]
    said = {secret.known: f"It is {secret.value}." for secret in secrets[:2]}
    said[secrets[2].known] = f"It is {secrets[3].value}."  # somebody else's

    def complete(model, prompts, section, tokens):
        return [next((answer for known, answer in said.items() if known in prompt), "") for prompt in prompts]

    monkeypatch.setattr("sealora_client.memorisation.extraction.complete", complete)
    assert told(adapted_model(recipe), secrets, recipe) == [True, True, False, False]


def test_a_continuation_counts_if_it_begins_with_the_whole_rest(tiny_recipe, monkeypatch):
    recipe = tiny_recipe()
    many = Planting(secrets=24, repeats=(1, 3), candidates=7, seed=0)
    model, (planted, _) = adapted_model(recipe), made_secrets(many, ["site-0"])
    secrets = [secret for secret in planted if secret.kind == "record number"][:3]
    given: list[str] = []

    def complete_tokens(model, beginnings, tokens):
        given.extend(model.tokenizer.decode(beginning) for beginning in beginnings)
        rests = [secret.value[len(secret.value) - 4 :] for secret in secrets]
        return [rests[0], rests[1][:-1] + "x", f" {rests[2]} and more"]

    monkeypatch.setattr("sealora_client.memorisation.extraction.complete_tokens", complete_tokens)
    # Each is a letter and eight digits, one token each in the tiny model: half of the nine is given.
    found = continued(model, secrets, recipe)
    for secret, text in zip(secrets, given, strict=True):
        assert text.endswith(secret.value[:4])
        assert secret.value not in text
    assert found == [False, False, False]  # the fifth is wanted, too
    monkeypatch.setattr(
        "sealora_client.memorisation.extraction.complete_tokens",
        lambda model, beginnings, tokens: [secret.value[4:] + " and more" for secret in secrets[:2]] + ["0"],
    )
    assert continued(model, secrets, recipe) == [True, True, False]


@pytest.mark.parametrize(("overrides", "said"), [
    (("data.layout=labelled", "objective.kind=classification", "data.labels={a: x, b: y}"),
     "objective.kind is classification, which does not learn to say"),
    (("sites.simulated={only: site.jsonl}",), "sites.simulated names one site, and another is to attack it"),
])  # fmt: skip
def test_recipes_that_cannot_be_tested_are_refused(tiny_recipe, overrides, said):
    with pytest.raises(RecipeError, match=said):
        PlantedSites(tiny_recipe(*overrides), PLANTING)
