"""A site's own files: what it is, what it agreed to, and whether they fit together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from sealora_client.fleet.node_key import load_node_key, public_half
from sealora_client.site.config import SiteConfig
from sealora_client.site.policy import SitePolicy
from sealora_client.site.seen_rosters import check_roster
from sealora_common.errors import SealoraError
from sealora_common.health.finding import Finding, failed, passed, warned
from sealora_common.identity import Identity
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.roster import Roster

Read = TypeVar("Read")
_EXPIRY_WARNING = timedelta(days=30)


@dataclass
class Agreement:
    """What could be read of a site's directory; None for what could not, which a finding says."""

    directory: Path
    config: SiteConfig
    policy: SitePolicy | None = None
    recipe: Recipe | None = None
    roster: Roster | None = None
    identity: Identity | None = None
    node_key: EllipticCurvePrivateKey | None = None


def check_agreement(agreement: Agreement) -> Iterator[Finding]:
    """Reads the files into `agreement` and says what is wrong with each and between them."""
    directory, config = agreement.directory, agreement.config
    findings: list[Finding] = []

    def read(check: str, load: Callable[[], Read]) -> Read | None:
        try:
            return load()
        except SealoraError as error:
            findings.append(failed(check, str(error)))
            return None

    agreement.identity = read("identity", lambda: Identity.load(config.name, directory / "identity.pem"))
    agreement.node_key = read("node key", lambda: load_node_key(directory / config.node_key))
    agreement.recipe = read("recipe", lambda: load_recipe(directory / "recipe.yaml"))
    agreement.roster = read("roster", lambda: Roster.load(directory / "roster.json", coordinator=config.coordinator))
    agreement.policy = read("policy", lambda: SitePolicy.load(directory / "policy.yaml"))
    yield from findings
    if agreement.recipe is not None:
        yield _on_recipe(agreement.recipe)
    if agreement.roster is not None:
        yield from _on_roster(agreement, agreement.roster)
    if agreement.policy is not None and agreement.recipe is not None:
        yield from _on_policy(agreement.policy, agreement.recipe, agreement.roster)


def _on_recipe(recipe: Recipe) -> Finding:
    if recipe.model.digest is None:
        return warned(
            "recipe",
            f"{recipe.name} names no model.digest, so nothing says which base model is meant: have it added "
            "(`sealora-site model pin`) and take the new recipe",
        )
    epochs = f"{recipe.expected_epochs:.3g} expected epochs"
    return passed("recipe", f"{recipe.name}, {recipe.rounds} rounds, {epochs}; its hash begins {recipe.hash[:12]}")


def _on_roster(agreement: Agreement, roster: Roster) -> Iterator[Finding]:
    name = agreement.config.name
    member = next((member for member in roster.members if member.name == name), None)
    if member is None:
        yield failed("roster", f"{name!r} is not on it: send the coordinator this site's card")
        return
    try:
        check_roster(agreement.directory, roster, now := datetime.now(UTC))
    except SealoraError as error:
        yield failed("roster", str(error))
        return
    if roster.has_expired(now + _EXPIRY_WARNING):
        yield warned("roster", f"it expires {roster.expires}: have the coordinator sign it anew before")
    if agreement.identity is not None and roster.public_key(roster.index(name)) != agreement.identity.public_key:
        yield failed(
            "roster", "the signing key it lists for this site is another: send the coordinator this site's card again"
        )
        return
    if member.node_key is None:
        yield warned(
            "roster",
            "it lists no node key for this site, which a server asks for: send the coordinator this site's card",
        )
    elif agreement.node_key is not None and member.node_key != public_half(agreement.node_key):
        yield failed(
            "roster", "the node key it lists for this site is another: send the coordinator this site's card again"
        )
        return
    if roster.server is None:
        yield failed(
            "roster", "it names no server key, so orders and receipts prove nothing: have the coordinator add it"
        )
        return
    yield passed(
        "roster",
        f"signed, number {roster.sequence}, {len(roster)} sites, this one among them; fingerprint {roster.fingerprint} "
        "(compare it with the coordinator's by telephone)",
    )


def _on_policy(policy: SitePolicy, recipe: Recipe, roster: Roster | None) -> Iterator[Finding]:
    refused = [verdict for verdict in policy.verdicts(recipe, roster) if not verdict.allowed]
    for verdict in refused:
        yield failed("policy", f"{verdict}: agree on another recipe, or change that line of policy.yaml")
    if not refused:
        hours = f"; orders are taken {', '.join(policy.hours)} ({policy.time_zone})" if policy.hours else ""
        yield passed("policy", f"it allows the recipe{hours}")
