from __future__ import annotations

import numpy as np
import pytest

from sealora_client.audit.membership import membership_attack
from sealora_client.data.population import Population
from sealora_client.training.dp_sgd import train_round
from sealora_common.entropy import SeededEntropy
from sealora_common.privacy.plan import privacy_plan

from lora_kinds import lora


def halves(site):
    """Chance splits them, for neighbouring records of the tiny site are alike."""
    order = np.random.default_rng(0).permutation(len(site.records))
    units = [site.records.units[index] for index in order]
    return Population(tuple(units[::2])), Population(tuple(units[1::2]))


def test_before_training_the_loss_tells_members_from_nobody(tiny_site):
    site = tiny_site(records=200)
    site.model.write(lora().initial(site.model.layout))
    roc = membership_attack(site.model, *halves(site), site.recipe)
    assert roc.auc_interval[0] < 0.5 < roc.auc_interval[1]


@pytest.mark.slow
def test_records_learnt_by_heart_have_a_lower_loss(tiny_site):
    overrides = ("training.sample_rate=0.5", "training.steps_per_round=60", "training.learning_rate=0.05")
    site = tiny_site(*overrides, "lora.rank=8", privacy={"mechanism": "none"})
    members, others = halves(site)
    site.model.write(lora().initial(site.model.layout))
    plan = privacy_plan(site.recipe, 3).training
    train_round(
        site.model, members, plan=plan, recipe=site.recipe, round_number=1, leave=None, entropy=SeededEntropy(1)
    )
    roc = membership_attack(site.model, members, others, site.recipe)
    assert roc.auc > 0.9
    assert roc.members == len(members)
    assert roc.non_members == len(others)
