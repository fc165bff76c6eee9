"""Joining in two steps: which step an invitation is for a site's directory, and what each does.

1. Without a roster: the coordinator's fingerprint is compared with the one that a person was read out, the policy is
   made to fit the recipe, and the site begins, with keys, card, site.yaml and policy.yaml. The card travels.
2. With the signed roster: it must be the pinned coordinator's, have this site's keys, follow what the site has used,
   and name the server that signed the invitation; then roster, recipe and authority are put in place.

Whatever is in the way is one sentence that leads back, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sealora_client.data.load import read_records_of
from sealora_client.fleet.node_key import load_node_key, public_half
from sealora_client.joining.agreement import differences
from sealora_client.joining.fitting_policy import FittingPolicy, fitting_policy, refused
from sealora_client.joining.in_place import agree_to, agreed_recipe, is_in_place, put_in_place
from sealora_client.site.config import SiteConfig
from sealora_client.site.enrolment import IDENTITY, Enrolled, Passphrase, enrol
from sealora_client.site.policy import SitePolicy
from sealora_client.site.seen_rosters import check_roster, remember_roster
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity
from sealora_common.invitation import Invitation
from sealora_common.roster import Roster

RECIPE = "recipe"
"""What `--accept` calls a recipe that is another than the one that was agreed to."""


@dataclass(frozen=True)
class Offer:
    """The first step, before a person has agreed to it.

    Attributes:
        invitation: what the site was sent.
        fitting: the policy that it would begin with.
        own_policy: whether that is a policy.yaml which is there already, and is kept.
        records: the site's training records, or persons.
        data: its records' file, from anywhere.
    """

    invitation: Invitation
    fitting: FittingPolicy
    own_policy: bool
    records: int
    data: Path


def has_begun(directory: Path) -> bool:
    """Whether there is a site in `directory`.

    Raises:
        PolicyError: there is half of one.
    """
    site, keys = directory / "site.yaml", directory / IDENTITY
    if site.exists() and not keys.exists():
        raise PolicyError(
            f"{directory}: has a site.yaml and no {IDENTITY}: put the keys back from a backup, or begin in another "
            "directory with --directory"
        )
    if keys.exists() and not site.exists():
        raise PolicyError(
            f"{directory}: has keys and no site.yaml: put that back from a backup, or begin in another directory with "
            "--directory"
        )
    return keys.exists()


def offer(invitation: Invitation, source: Path, directory: Path, data: Path, accepted: Collection[str]) -> Offer:
    """Looks at the first step. Writes nothing.

    Args:
        invitation: what the site was sent.
        source: its file, for sentences.
        directory: the site's, with nothing of a site in it yet.
        data: the site's records.
        accepted: lines of the policy that may be loosened as far as the recipe asks.

    Raises:
        PolicyError: it is no first step, the policy that is there refuses the recipe, or `accepted` names what is none.
        DataError: the records cannot be used with the recipe.
    """
    if invitation.roster is not None:
        raise PolicyError(
            f"{source}: holds a signed roster already, and {directory} has no keys of a site yet: name the site's "
            f"directory with --directory, or, if {invitation.site} never joined, ask the operator for an invitation "
            "without a roster and begin with that"
        )
    recipe, records_file = invitation.parsed_recipe, data.absolute()
    if not records_file.exists():
        raise PolicyError(f"{data}: no such file: name this site's records with --data")
    records = len(read_records_of(records_file, recipe).train_set)
    policy_file = directory / "policy.yaml"
    if not policy_file.exists():
        return Offer(invitation, fitting_policy(recipe, records, accepted), False, records, records_file)
    if accepted:
        raise PolicyError(
            f"{policy_file}: is this site's own, so --accept changes nothing in it: edit the line there, and leave the "
            "option out"
        )
    own = SitePolicy.load(policy_file)
    return Offer(invitation, FittingPolicy(own, tuple(refused(own, recipe))), True, records, records_file)


def begin(offered: Offer, directory: Path, passphrase: Passphrase) -> Enrolled:
    """Begins the site, once its person agrees: keys, card, site.yaml, policy.yaml, and what was agreed to.

    Raises:
        PolicyError: site.yaml would not take a value.
        StorageError: a file could not be written.
    """
    invitation = offered.invitation
    begun = enrol(
        directory,
        invitation.site,
        offered.data,
        server=invitation.server,
        coordinator=invitation.coordinator_pin,
        pins_ca=invitation.ca is not None,
        policy=(offered.fitting.policy, "what the recipe asks for"),
        passphrase=passphrase,
    )
    agree_to(directory, invitation)
    return begun


def require_fingerprint(invitation: Invitation, typed: str) -> None:
    """Compares the fingerprint that a person was read out with that of the coordinator's key in the invitation.

    The right one is not shown: whoever copies it from here has compared nothing.

    Raises:
        PolicyError: they differ; it says where.
    """
    right = invitation.coordinator_fingerprint.split("-")
    letters = "".join(mark for mark in typed.upper() if mark.isalnum())
    if not letters.isascii() or len(letters) != sum(map(len, right)):
        raise PolicyError(
            f"{typed!r} is no fingerprint: it has four groups of five letters and digits; have the coordinator read "
            "it out again"
        )
    groups = [letters[start : start + 5] for start in range(0, len(letters), 5)]
    wrong = [str(number) for number, (a, b) in enumerate(zip(groups, right, strict=True), 1) if a != b]
    if len(wrong) == len(right):
        raise PolicyError(
            "the invitation's key is not the one whose fingerprint was typed: do not use this invitation, and tell the "
            "coordinator"
        )
    if wrong:
        raise PolicyError(
            f"the fingerprint differs from that of the invitation's key in group {' and '.join(wrong)} of four: "
            "have it read out again; if it still differs, do not use this invitation"
        )


def require_same_site(invitation: Invitation, source: Path, directory: Path) -> SiteConfig:
    """The settings of the site in `directory`, whose invitation this must be.

    Raises:
        PolicyError: it is another site's or another coordinator's, or site.yaml says otherwise.
    """
    config = SiteConfig.load(directory / "site.yaml")
    if config.name != invitation.site:
        raise PolicyError(
            f"{source}: is for {invitation.site}, and {directory} is {config.name}'s: ask the operator for "
            f"{config.name}'s invitation, or name {invitation.site}'s directory with --directory"
        )
    if config.coordinator != invitation.coordinator_pin:
        raise PolicyError(
            f"{source}: names another coordinator's key ({invitation.coordinator_fingerprint}) than "
            f"{directory / 'site.yaml'} has pinned: do not use it, and call the coordinator"
        )
    if config.server != invitation.server:
        raise PolicyError(
            f"{source}: the server is at {invitation.server}, and {directory / 'site.yaml'} says {config.server}: ask "
            "its operator which is right, and correct `server` in site.yaml if it is the new one"
        )
    return config


def changed_recipe(invitation: Invitation, directory: Path) -> list[str]:
    """Where the recipe differs from the one in place, or else from the one agreed to; empty if it does not."""
    agreed = agreed_recipe(directory)
    if agreed is None or agreed.hash == invitation.recipe_hash:
        return []
    return differences(agreed, invitation.parsed_recipe)


def require_accepted(invitation: Invitation, source: Path, directory: Path, accepted: Collection[str]) -> None:
    """Refuses a recipe that is another than the one agreed to, unless a person accepts it, or that the policy refuses.

    Raises:
        PolicyError: see above; it names the fields, or the policy's lines.
    """
    unknown = sorted(set(accepted) - {RECIPE})
    if unknown:
        raise PolicyError(
            f"--accept {unknown[0]}: this site has its policy.yaml, which stays as it is: edit the line there, and "
            "leave the option out"
        )
    changed = changed_recipe(invitation, directory)
    if changed and RECIPE not in accepted:
        raise PolicyError(
            f"{source}: the recipe is another than the one that this site agreed to ({'; '.join(changed)}): --accept "
            f"{RECIPE} if it agrees to this one"
        )
    if accepted and not changed:
        raise PolicyError(f"--accept {RECIPE}: the recipe is the one that this site agreed to: leave the option out")
    policy = SitePolicy.load(directory / "policy.yaml")
    wrong = list(refused(policy, invitation.parsed_recipe))
    if wrong:
        raise PolicyError(
            f"{directory / 'policy.yaml'}: refuses the recipe: {'; '.join(map(str, wrong))}: agree on another recipe, "
            "or edit that line"
        )


def complete(
    invitation: Invitation,
    source: Path,
    directory: Path,
    config: SiteConfig,
    at: datetime,
    loaded: Callable[[str, Path], Identity] = Identity.load,
) -> bool:
    """The second step: judges the roster, and puts all in place.

    Args:
        invitation: with the roster.
        source: its file, for sentences.
        directory: the site's.
        config: its settings, which are this invitation's, see `require_same_site`.
        at: the time, with its time zone.
        loaded: reads the site's identity, whose passphrase may be asked for.

    Returns:
        Whether there was anything left to do.

    Raises:
        PolicyError: the roster or the invitation may not be used; nothing was written.
        StorageError: a file cannot be read or written.
    """
    roster = invitation.roster
    assert roster is not None  # noqa: S101 (whoever calls has looked)
    where = f"{source}: "
    _require_sound(roster, invitation, where)
    check_roster(directory, roster, at, source)
    _require_own_keys(roster, directory, config, where, loaded)
    policy = SitePolicy.load(directory / "policy.yaml")
    verdicts = policy.verdicts(invitation.parsed_recipe, roster)
    refusal = next((verdict for verdict in verdicts if not verdict.allowed), None)
    if refusal is not None:
        raise PolicyError(
            f"{directory / 'policy.yaml'}: refuses the roster: {refusal}: ask the coordinator, or edit that line"
        )
    if is_in_place(directory, invitation, roster):
        return False
    remember_roster(directory, roster)
    put_in_place(directory, invitation, roster)
    return True


def _require_sound(roster: Roster, invitation: Invitation, where: str) -> None:
    if not roster.is_signed:
        raise PolicyError(
            f"{where}the coordinator's signature of the roster does not hold: do not use it, and ask for it again"
        )
    if roster.server != invitation.server_key:
        raise PolicyError(
            f"{where}not written by the server that the coordinator put on the roster, so its address and recipe may "
            "be anybody's: do not use it, and call the coordinator"
        )


def _require_own_keys(
    roster: Roster, directory: Path, config: SiteConfig, where: str, loaded: Callable[[str, Path], Identity]
) -> None:
    card = directory / f"{config.name}.card.json"
    if config.name not in roster.names:
        raise PolicyError(f"{where}{config.name} is not on the roster: send {card} to the coordinator")
    member = roster.members[roster.index(config.name)]
    own = loaded(config.name, directory / IDENTITY)
    node_key = directory / config.node_key
    if roster.public_key(roster.index(config.name)) != own.public_key:
        raise PolicyError(
            f"{where}the roster has another key for {config.name} than this site's ({own.fingerprint}): send {card} to "
            "the coordinator again"
        )
    if member.node_key != public_half(load_node_key(node_key)):
        raise PolicyError(
            f"{where}the roster has another node key for {config.name} than {node_key}: send {card} to the "
            "coordinator again"
        )
