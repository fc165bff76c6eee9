"""Each line of a policy has a sentence, which says what the line says."""

from __future__ import annotations

from sealora_client.site.policy import SitePolicy
from sealora_client.site.policy_text import policy_sentences

OPEN = SitePolicy(epsilon_limit=8, delta_limit=1e-5)
CLOSED = SitePolicy(
    epsilon_limit=2.5,
    delta_limit=1e-6,
    minimum_sites=4,
    roster_cosignatures=2,
    minimum_survivors=4,
    adversary="curious",
    allow_without_privacy=True,
    allow_groups_without_privacy=True,
    mechanisms=("local",),
    unit="person",
    base_models=("ab" * 32,),
    adapters=("lora", "dora"),
    most_parameters=1_000_000,
    rank=(1, 64),
    rounds=(1, 100),
    learning_rate=(1e-6, 1e-2),
    target_modules=("all-linear",),
    objectives=("causal",),
    hours=("20:00-06:00",),
    time_zone="Europe/Berlin",
)


def test_every_line_has_a_sentence_which_differs_where_the_line_does():
    of_open, of_closed = dict(policy_sentences(OPEN)), dict(policy_sentences(CLOSED))
    assert list(of_open) == list(of_closed) == list(SitePolicy.model_fields)
    for name, sentence in of_closed.items():
        assert sentence != of_open[name], name
        assert sentence.endswith(".")


def test_what_the_sentences_say():
    said = dict(policy_sentences(CLOSED))
    assert said["epsilon_limit"] == "Every data set may spend epsilon 2.5 over its lifetime, all runs together."
    assert said["hours"].startswith("Orders are taken 20:00-06:00 only")
    assert said["allow_without_privacy"] == "It takes part in runs without differential privacy."
    assert dict(policy_sentences(OPEN))["allow_without_privacy"].startswith("It refuses")
