from __future__ import annotations

import numpy as np
import pytest
import torch

from sealora_client.audit.attribution import CanaryGradients, median_norm
from sealora_client.audit.canaries import make_canaries
from sealora_client.data.population import Population
from sealora_client.model.loss import collate, response_losses
from sealora_common.adapter import AdapterLayout
from sealora_common.entropy import SeededEntropy

from lora_kinds import lora


def gradient_of(site, layout, unit):
    """One unit's gradient by torch alone, float64, shape (P,)."""
    model = site.model
    model.train_only(layout)
    losses = []
    for example in unit:
        nll, tokens = response_losses(model.model, collate([example], model.pad_id, model.device))
        losses.append(nll.sum() / tokens.sum())
    gradients = torch.autograd.grad(torch.stack(losses).mean(), model.parameters_of(layout))
    return torch.cat([gradient.reshape(-1) for gradient in gradients]).double().numpy()


@pytest.fixture
def prepared(tiny_site):
    site = tiny_site("lora.rank=8", records=30)
    site.model.write(lora().initial(site.model.layout))
    canaries = make_canaries(60, site.records, site.model.tokenizer, site.recipe, SeededEntropy("canaries"))
    return site, lora().trained(site.model.layout, 1), canaries.population


def clipped(gradient, clip_norm):
    return gradient * min(1.0, clip_norm / np.linalg.norm(gradient))


def test_the_coefficients_are_how_often_each_canary_was_used(prepared):
    site, layout, canaries = prepared
    used = np.random.default_rng(0).poisson(1.0, size=len(canaries))
    rows = [clipped(gradient_of(site, layout, unit), 1.0) for unit in canaries.units]
    change = -sum(times * row for times, row in zip(used, rows, strict=True))
    found = CanaryGradients(site.model, layout, canaries, Population(()), recipe=site.recipe, clip_norm=1.0)
    scores = found.coefficients(change)
    assert np.corrcoef(scores, used)[0, 1] > 0.99
    assert scores[used > 0].min() > scores[used == 0].max()


def test_what_known_records_contribute_is_not_laid_at_a_canary_s_door(prepared):
    """Thirty records that pull the same way, a hundred times over, would drown every canary."""
    site, layout, canaries = prepared
    used = np.zeros(len(canaries))
    used[::3] = 1.0
    change = -sum(clipped(gradient_of(site, layout, unit), 1.0) for unit in canaries.units[::3])
    change = change - 100 * sum(clipped(gradient_of(site, layout, unit), 1.0) for unit in site.records.units)
    knowing = CanaryGradients(site.model, layout, canaries, site.records, recipe=site.recipe, clip_norm=1.0)
    ignorant = CanaryGradients(site.model, layout, canaries, Population(()), recipe=site.recipe, clip_norm=1.0)
    assert np.corrcoef(knowing.coefficients(change), used)[0, 1] > 0.7
    assert np.corrcoef(ignorant.coefficients(change), used)[0, 1] < 0.5


def test_the_scores_beat_plain_inner_products_where_gradients_overlap(prepared):
    site, layout, canaries = prepared
    rows = np.array([clipped(gradient_of(site, layout, unit), 1.0) for unit in canaries.units])
    shared = np.random.default_rng(1).normal(size=rows.shape[1])
    used = np.arange(len(rows)) % 2 == 0
    change = -(used @ rows) - 10 * rows[0] - 0.002 * shared
    found = CanaryGradients(site.model, layout, canaries, Population(()), recipe=site.recipe, clip_norm=1.0)

    def gap(scores):
        return (scores[2::2].mean() - scores[1::2].mean()) / scores[1::2].std()

    assert gap(found.coefficients(change)) > 2 * gap(-rows @ change)


def test_gradients_are_clipped_as_in_training(prepared):
    site, layout, canaries = prepared
    norms = [np.linalg.norm(gradient_of(site, layout, unit)) for unit in canaries.units]
    clip_norm = float(np.median(norms))
    found = CanaryGradients(site.model, layout, canaries, Population(()), recipe=site.recipe, clip_norm=clip_norm)
    expected = np.minimum(norms, clip_norm)
    np.testing.assert_allclose(found._rows[:-1].float().norm(dim=1).numpy(), expected, rtol=2e-3)
    assert median_norm(site.model, layout, canaries, site.recipe) == pytest.approx(clip_norm, rel=1e-4)


def test_each_matrix_is_clipped_by_itself_where_the_recipe_says_so(prepared):
    site, layout, canaries = prepared
    per_layer = site.recipe.model_copy(
        update={"privacy": site.recipe.privacy.model_copy(update={"clipping": "per_layer"})}
    )
    found = CanaryGradients(site.model, layout, canaries, Population(()), recipe=per_layer, clip_norm=1.0)
    bound = 1.0 / np.sqrt(len(layout.tensors))
    start = 0
    for tensor in layout.tensors:
        part = found._rows[:-1, start : start + tensor.size].float().norm(dim=1)
        assert part.max() <= bound * 1.003
        start += tensor.size


def test_a_person_s_gradient_is_the_mean_over_their_records(prepared):
    site, layout, canaries = prepared
    examples = [unit[0] for unit in canaries.units]
    persons = Population(tuple(tuple(examples[start : start + 3]) for start in range(0, 60, 3)))
    few_at_once = site.recipe.model_copy(
        update={"training": site.recipe.training.model_copy(update={"micro_batch_size": 4})}
    )
    found = CanaryGradients(site.model, layout, persons, Population(()), recipe=few_at_once, clip_norm=1e9)
    for row, unit in zip(found._rows[:-1], persons.units, strict=True):
        expected = gradient_of(site, layout, unit)
        assert np.linalg.norm(row.double().numpy() - expected) < 5e-3 * np.linalg.norm(expected)


def test_without_gradients_there_are_no_scores(prepared):
    """A while B is zero."""
    site, _, canaries = prepared
    layout = AdapterLayout(tuple(tensor for tensor in site.model.layout.tensors if ".lora_A." in tensor.name))
    found = CanaryGradients(site.model, layout, canaries, site.records, recipe=site.recipe, clip_norm=1.0)
    np.testing.assert_array_equal(found.coefficients(np.ones(layout.size)), np.zeros(len(canaries)))
