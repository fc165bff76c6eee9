"""A site's policy in words: a sentence for each line, for whoever answers for the site and has not written it."""

from __future__ import annotations

from collections.abc import Iterator

from sealora_client.site.policy import Range, SitePolicy
from sealora_common.show.quantities import count_text, target_text


def policy_sentences(policy: SitePolicy) -> Iterator[tuple[str, str]]:
    """Each line's name, and what it means as it stands. A line that asks for nothing is said to."""
    yield (
        "epsilon_limit",
        f"Every data set may spend epsilon {policy.epsilon_limit:g} over its lifetime, all runs together.",
    )
    yield (
        "delta_limit",
        f"That is meant at delta {target_text(policy.delta_limit)}; no recipe may ask for a larger one.",
    )
    yield (
        "minimum_sites",
        f"This site takes part with {count_text(policy.minimum_sites, 'site')} or more, itself included.",
    )
    yield "roster_cosignatures", _cosigned(policy.roster_cosignatures)
    yield "minimum_survivors", f"It helps to open sums of {count_text(policy.minimum_survivors, 'site')} or more."
    yield (
        "adversary",
        "Sums are sealed against a server that lies and alters messages."
        if policy.adversary == "malicious"
        else "Sums need be sealed against a server that only looks, and keeps to the protocol.",
    )
    yield "allow_without_privacy", _allowed(policy.allow_without_privacy, "runs without differential privacy")
    yield (
        "allow_groups_without_privacy",
        _allowed(policy.allow_groups_without_privacy, "runs without differential privacy that are sealed in groups"),
    )
    yield "mechanisms", f"Mechanisms of differential privacy that it takes part in: {_listed(policy.mechanisms)}."
    yield (
        "unit",
        "What is protected must be a person with all of their records."
        if policy.unit == "person"
        else "What is protected may be a single record, or a person.",
    )
    digests = None if policy.base_models is None else tuple(digest[:12] for digest in policy.base_models)
    yield "base_models", _only("Base models", digests)
    yield "adapters", _only("Kinds of adapter", policy.adapters)
    yield (
        "most_parameters",
        "An adapter may have any size."
        if policy.most_parameters is None
        else f"An adapter has {policy.most_parameters:,} numbers at most.",
    )
    yield "rank", _between("An adapter's rank", policy.rank)
    yield "rounds", _between("A recipe's rounds", policy.rounds)
    yield "learning_rate", _between("The sites' learning rate", policy.learning_rate)
    yield "target_modules", _only("Parts of the model that an adapter may sit on", policy.target_modules)
    yield "objectives", _only("Kinds of objective", policy.objectives)
    yield "hours", _hours(policy)
    yield "time_zone", f"Hours are those of {policy.time_zone}."


def _cosigned(count: int) -> str:
    if not count:
        return "A roster needs the coordinator's signature alone."
    return f"A roster must be co-signed by {count_text(count, 'member')}."


def _allowed(is_allowed: bool, what: str) -> str:
    return f"It takes part in {what}." if is_allowed else f"It refuses {what}."


def _only(what: str, allowed: tuple[str, ...] | None) -> str:
    return f"{what}: any." if allowed is None else f"{what}: {_listed(allowed)}, and no other."


def _between(what: str, allowed: Range | None) -> str:
    return f"{what} may be any." if allowed is None else f"{what} is {allowed[0]:g} to {allowed[1]:g}."


def _hours(policy: SitePolicy) -> str:
    if not policy.hours:
        return "Orders are taken at any time of the day."
    return f"Orders are taken {_listed(policy.hours)} only; a round that began then goes on afterwards."


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
