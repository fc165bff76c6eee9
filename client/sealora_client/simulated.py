"""The sites of a simulated federation: directories like those of real ones, prepared on one machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from sealora_client.check.site_times import site_times
from sealora_client.data.load import examples_of, load_data, read_records_of
from sealora_client.data.record import Record
from sealora_client.demo_data.choice import are_demo_files
from sealora_client.dossier.lived_run import runs_of
from sealora_client.dossier.part import HandedIn, write_part
from sealora_client.evaluation.choice import federation_metric
from sealora_client.memorisation.planted_sites import PlantedSites
from sealora_client.model.adapted import AdaptedModel, adapted_model
from sealora_client.model.fetch import locate_base
from sealora_client.model.generate import complete
from sealora_client.model.model_files import digest_of
from sealora_client.model.outline import outlined_layout
from sealora_client.site.directory import Site
from sealora_client.site.policy import SitePolicy
from sealora_client.training.gradients.batch_invariance import require_batch_invariant
from sealora_client.unsealed_sites import UnsealedSites
from sealora_common.adapter import AdapterLayout, Tensors, adapter_kind
from sealora_common.config import CONFIGURATION, read_file, why_not, yaml_value
from sealora_common.entropy import site_entropy
from sealora_common.errors import BudgetError, DataError, PolicyError, RecipeError, UnreadableError
from sealora_common.identity import Identity
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.privacy.plan import privacy_plan
from sealora_common.privacy.several_sites import at_several_sites
from sealora_common.recipe import Recipe
from sealora_common.records.attacks.memorisation import Planting
from sealora_common.records.completions import Completion
from sealora_common.records.site_time import SiteTime
from sealora_common.roster import Roster
from sealora_common.round.groups import smallest_group
from sealora_common.storage.durable import write_atomically

if TYPE_CHECKING:
    from sealora_client.trained.answers import Answers


class SimulatedSites:
    """What `sealora simulate`, `plan`, `compare`, `tune` and `memorisation` ask of the installed site package."""

    @staticmethod
    def check(recipe: Recipe) -> None:
        """Reads every site's data, so that a fault in it ends the simulation before anything is written.

        Raises:
            RecipeError: the recipe names fewer simulated sites than its minimum.
            DataError: a site's data cannot be used.
            BudgetError: the recipe's epsilon or delta cannot be had.
        """
        sites = recipe.sites.simulated
        if len(sites) < recipe.sites.minimum:
            raise RecipeError(
                f"sites.simulated names {len(sites)} sites, sites.minimum is {recipe.sites.minimum}: "
                "add sites or lower the minimum (three is the least that hides each from the others)"
            )
        for name, data in sites.items():
            records = read_records_of(Path(data), recipe)
            _require_units(name, recipe, len(records.train_set))
        privacy_plan(recipe, len(sites))

    @staticmethod
    def units(recipe: Recipe) -> dict[str, int]:
        """How many units (records, persons) each site trains on, of those whose file is here. Needs no model.

        Raises:
            DataError: a site's data cannot be used.
        """
        here = {name: Path(path) for name, path in recipe.sites.simulated.items() if Path(path).exists()}
        found = {name: read_records_of(path, recipe) for name, path in here.items()}
        persons = recipe.data.unit == "person"
        return {name: len(each.train_set if persons else each.train) for name, each in found.items()}

    @staticmethod
    def outlined_layout(recipe: Recipe) -> AdapterLayout | None:
        """Names and shapes of the adapter; None if the base model is not here.

        Raises:
            ModelError: the base model takes no such adapter.
        """
        return outlined_layout(recipe)

    @staticmethod
    def times(recipe: Recipe, units: Mapping[str, int]) -> list[SiteTime] | None:
        """What the work of sites with so many units takes on this machine; None without their files and the model.

        Raises:
            DataError: a site's data cannot be used.
            ModelError: the model cannot be, with this recipe.
        """
        return site_times(recipe, units)

    @staticmethod
    def resolve(recipe: Recipe) -> Recipe:
        """Fetches the base model if need be, binds the recipe to its digest, and tries adapter and records on it.

        Raises:
            ModelError: the base model cannot be had, does not take the recipe's adapter, lets examples meet in a
                batch, or shows records otherwise than they are meant; or a package is missing that the recipe's metric
                takes.
            DataError: a site's records cannot be shown to the model: nobody else's are here, whom a refusal would tell.
        """
        bound = recipe.with_model_digest(digest_of(locate_base(recipe.model)))
        federation_metric(bound)
        model = adapted_model(bound)
        require_batch_invariant(model, bound)
        for path in recipe.sites.simulated.values():
            data = load_data(Path(path), bound, model)
            if not data.teaches:
                raise DataError(data.warning or path)
        return bound

    @staticmethod
    def unsealed(recipe: Recipe) -> UnsealedSites:
        """All sites' records and the model in this process, for rounds without messages.

        Args:
            recipe: as `resolve` bound it.

        Raises:
            DataError: a site's records cannot be used, or none of its held-out ones can be measured.
            ModelError: the model cannot be, with this recipe.
        """
        return UnsealedSites(recipe)

    @staticmethod
    def holds_demo_data(recipe: Recipe) -> bool:
        """Whether the sites' records are those of `sealora-site demo-data`, which are made up or public.

        Raises:
            StorageError: a file cannot be read.
        """
        return are_demo_files([Path(path) for path in recipe.sites.simulated.values()])

    @staticmethod
    def planted(recipe: Recipe, planting: Planting) -> PlantedSites:
        """As `unsealed`, with made-up records planted among the sites', and attacks on them.

        Args:
            recipe: as `resolve` bound it.
            planting: what is planted.

        Raises:
            RecipeError: records cannot be planted with this recipe, or there are fewer than two sites.
            DataError: a site's records cannot be used.
            ModelError: the model cannot be, with this recipe.
        """
        return PlantedSites(recipe, planting)

    @staticmethod
    def prepare(recipe: Recipe, directory: Path, server_key: bytes) -> Roster:
        """Makes one site directory under `directory` for each of the recipe's simulated sites.

        A directory that is there is kept as it is: its identity and its ledger outlive the run.

        Returns:
            The roster, signed by a coordinator made for the occasion.
        """
        sites = recipe.sites.simulated
        identities = {name: _identity(directory / name, name) for name in sorted(sites)}
        roster_path = directory / "roster.json"
        if roster_path.exists():
            roster = Roster.load(roster_path)
        else:
            coordinator = Identity.create("coordinator", site_entropy("coordinator", "identity"))
            keys = {name: identity.public_key for name, identity in identities.items()}
            # For good: its coordinator is gone, so nobody could renew it for a run that is resumed later.
            roster = Roster.create(
                f"simulation of {recipe.name}", keys, coordinator, server_key, term=timedelta(days=36500)
            )
            roster.save(roster_path)
        for name, data in sites.items():
            _write_site(directory / name, name, Path(data).resolve(), recipe, roster)
        return roster

    @staticmethod
    def epsilon_at_two_sites(recipe: Recipe) -> float | None:
        """What a run promises a record (person) that two of the simulated sites hold; None without privacy."""
        promised = at_several_sites(recipe, len(recipe.sites.simulated), 2)
        return None if promised is None else promised.epsilon

    @staticmethod
    def dossier_part(directory: Path, run: str, out: Path, audit: Path | None) -> bool:
        """Writes the part of a dossier that the site in `directory` signs, with its exact figures.

        Returns:
            Whether the site knows of the run; if not, nothing was written.

        Raises:
            PolicyError: the run is not known there, or the audit is of another site or recipe.
            StorageError: a file of the site's is damaged, or `out` cannot be written.
        """
        if run not in runs_of(directory, Identity.load(directory.name, directory / "identity.pem")):
            return False
        write_part(directory, run, out, HandedIn(audit=audit))
        return True

    @staticmethod
    def completions(
        recipe: Recipe, directory: Path, final: Tensors, count: int, start: Tensors | None = None, *, lot: str = ""
    ) -> list[Completion]:
        """Held-out prompts completed by the adapter that the run began with and by the final one, site after site.

        A site whose held-out records all cannot be shown to the model has none.

        Args:
            recipe: of the run.
            directory: of the sites.
            final: the adapter that it ended with.
            count: how many prompts.
            start: the adapter that it began with; None for the untrained one.
            lot: decides which prompts: by chance, as it is another for each run, and the same ones whenever asked.
        """
        model = adapted_model(recipe)
        usable = {name: _by_lot(_usable(Site(directory / name), model), lot) for name in sorted(recipe.sites.simulated)}
        names = [name for name, records in usable.items() if records]
        chosen = []
        for position in range(count if names else 0):
            name = names[position % len(names)]
            chosen.append((name, usable[name][(position // len(names)) % len(usable[name])]))
        prompts = [record.prompt for _, record in chosen]
        with model.lock:
            model.write(adapter_kind(recipe).initial(model.layout) if start is None else start)
            before = complete(model, prompts, recipe.data)
            model.write({name: final[name] for name in adapter_kind(recipe).shared(model.layout).names})
            after = complete(model, prompts, recipe.data)
        return [
            Completion(site=name, prompt=record.prompt, reference=record.response, before=old, after=new)
            for (name, record), old, new in zip(chosen, before, after, strict=True)
        ]

    @staticmethod
    def answers(run: Path) -> Answers:
        """The base model with the adapter that the run in a directory ended with, to be asked.

        Raises:
            SealoraError: see `find_trained` and `Answers`.
        """
        from sealora_client.trained.answers import Answers
        from sealora_client.trained.trained_adapter import find_trained

        return Answers(find_trained(str(run), Path()))

    @staticmethod
    def export(run: Path, out: Path, *, merged: bool, base_name: str | None, licence: str) -> str:
        """Writes the adapter that the run in a directory ended with, for others, into `out`; says which one it is.

        Raises:
            SealoraError: see `hand_on`.
        """
        from sealora_client.trained.hand_on import HandOn, hand_on
        from sealora_client.trained.trained_adapter import find_trained

        trained = find_trained(str(run), Path())
        hand_on(trained, HandOn(out, "merged" if merged else "peft", base_name, licence))
        return trained.sentence


def _usable(site: Site, model: AdaptedModel) -> list[Record]:
    """The held-out records that can be shown to the model, of those whose prompt is all that is given and whose
    response is one to learn."""
    records = site.records().heldout
    examples = examples_of(records, site.recipe, model)
    return [
        record
        for record, example in zip(records, examples, strict=True)
        if example.unusable is None and record.prompt and not record.earlier and record.wanted is not False
    ]


def _by_lot(records: list[Record], lot: str) -> list[Record]:
    def drawn(place: int) -> bytes:
        return hashlib.sha256(f"{lot} {place}".encode()).digest()

    return [records[place] for place in sorted(range(len(records)), key=drawn)]


def _require_units(site: str, recipe: Recipe, units: int) -> None:
    try:
        mechanism_of(recipe).require_units(recipe, units)
    except BudgetError as error:
        raise BudgetError(f"site {site!r}: {error}") from None


def _identity(directory: Path, name: str) -> Identity:
    path = directory / "identity.pem"
    if path.exists():
        return Identity.load(name, path)
    identity = Identity.create(name, site_entropy(name, "identity"))
    identity.save(path)
    return identity


def _write_site(directory: Path, name: str, data: Path, recipe: Recipe, roster: Roster) -> None:
    policy = SitePolicy(
        epsilon_limit=recipe.privacy.epsilon,
        delta_limit=recipe.privacy.delta,
        minimum_sites=min(recipe.sites.minimum, smallest_group(recipe, len(roster))),
        minimum_survivors=recipe.sealing.min_survivors,
        adversary=recipe.sealing.adversary,
        allow_without_privacy=not mechanism_of(recipe).protects,
    )
    if not mechanism_of(recipe).protects and recipe.sealing.groups > 1:
        policy = policy.model_copy(update={"allow_groups_without_privacy": True})
    if recipe.adapter not in policy.adapters:
        policy = policy.model_copy(update={"adapters": (recipe.adapter,)})
    described: dict[str, object] = {"name": name, "data": str(data), "coordinator": roster.coordinator_pin}
    described |= _devices(directory / "site.yaml")
    files = {
        "policy.yaml": yaml.safe_dump(policy.model_dump(mode="json", exclude_unset=True), sort_keys=False),
        "recipe.yaml": yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        "roster.json": roster.model_dump_json(indent=2),
        "site.yaml": yaml.safe_dump(described),
    }
    for file, text in files.items():
        write_atomically(directory / file, text.encode())


def _devices(file: Path) -> dict[str, object]:
    """What a site's `site.yaml` says of devices: the machine's business, which no recipe knows."""
    if not file.exists():
        return {}
    # The rest of the file is written anew, whatever it says: it may be one that `sealora-site init` began.
    try:
        value = yaml_value(read_file(file, CONFIGURATION.longest))
    except (OSError, UnreadableError) as error:
        raise PolicyError(f"{file}: cannot be read ({why_not(error)}): correct the file, or delete it") from None
    return {"devices": value["devices"]} if isinstance(value, dict) and "devices" in value else {}
