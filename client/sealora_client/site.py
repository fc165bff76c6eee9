"""A site's directory: who it is, what it has agreed to, where its data and its books are.

site.yaml        name and data file (this file's own fields)
policy.yaml      what no server can override
recipe.yaml      the recipe this site agreed to; orders under any other are refused
roster.json      the sites of the federation, signed by its coordinator
identity.pem     the site's signing key, mode 0600; it never leaves the site
ledger.sqlite    privacy spent, across all runs
history.jsonl    this site's own figures, round by round
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from sealora_client.data.chat import to_examples
from sealora_client.data.fingerprint import DataSet
from sealora_client.data.population import Population
from sealora_client.data.records import Record, Split, read_records
from sealora_client.ledger import Ledger
from sealora_client.model.adapted import AdaptedModel, adapted_model
from sealora_client.policy import SitePolicy
from sealora_client.site_config import SiteConfig
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.roster import Roster
from sealora_common.storage import append_line


@dataclass(frozen=True)
class SiteData:
    """The site's records as the model sees them, by unit of privacy.

    Attributes:
        train: the units that are trained on.
        heldout: the units that are evaluated.
        train_set: what the ledger knows the training records by.
        heldout_set: what the ledger knows the evaluated records by.
    """

    train: Population
    heldout: Population
    train_set: DataSet
    heldout_set: DataSet

    @property
    def truncated(self) -> int:
        """How many examples were cut to the recipe's `data.max_tokens`."""
        units = [*self.train.units, *self.heldout.units]
        return sum(example.truncated for unit in units for example in unit)


class Site:
    """One site, opened from its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = SiteConfig.load(directory / "site.yaml")
        self.policy = SitePolicy.load(directory / "policy.yaml")
        self.recipe: Recipe = load_recipe(directory / "recipe.yaml")
        self.roster = Roster.load(directory / "roster.json", coordinator=self.config.coordinator)
        self.identity = _identity(self.config.name, directory / "identity.pem", _stamp(directory / "identity.pem"))
        index = self.roster.index(self.name)
        if self.roster.public_key(index) != self.identity.public_key:
            raise PolicyError(
                f"{directory / 'roster.json'}: the key it lists for {self.name!r} is not this site's: "
                "send the coordinator this site's card again"
            )
        if self.roster.server is None:
            raise PolicyError(f"{directory / 'roster.json'}: names no server key, so receipts prove nothing: add it")
        self.server_key = bytes.fromhex(self.roster.server)
        self.policy.check(self.recipe, self.roster)

    @property
    def name(self) -> str:
        return self.config.name

    def model(self) -> AdaptedModel:
        """The base model with the recipe's adapter on it; one for all sites of this process."""
        return adapted_model(self.recipe)

    def records(self) -> Split:
        """The site's records, read anew."""
        return read_records(self.directory / self.config.data, self.recipe.data)

    @cached_property
    def data(self) -> SiteData:
        """The site's records, tokenised."""
        records = self.records()
        heldout = records.heldout[: self.recipe.data.heldout_limit]
        return SiteData(
            train=self._population(records.train),
            heldout=self._population(heldout),
            train_set=DataSet.of(records.train),
            heldout_set=DataSet.of(heldout),
        )

    def _population(self, records: list[Record]) -> Population:
        examples = to_examples(records, self.model().tokenizer, self.recipe.data)
        by_person = self.recipe.data.unit == "person"
        return Population.of(examples, [record.person for record in records] if by_person else None)

    def ledger(self) -> Ledger:
        """The site's privacy ledger; close it after use."""
        return Ledger(self.directory / "ledger.sqlite", self.identity)

    def note(self, figures: dict[str, Any]) -> None:
        """Appends a line of this site's own figures. They stay here."""
        append_line(self.directory / "history.jsonl", json.dumps(figures))


def open_site(directory: Path) -> Site:
    """The site in `directory`, opened once a process and again when one of its files, or its data file, has changed.

    A caller works on the one `Site` it got: what it charges and what it trains on are then the same records.

    Raises:
        PolicyError: a file of the site is missing, malformed, or the policy refuses the recipe.
    """
    config = directory / "site.yaml"
    data = directory / _config(config, _stamp(config)).data
    files = [directory / name for name in ("policy.yaml", "recipe.yaml", "roster.json", "identity.pem")]
    return _opened(directory, tuple(_stamp(file) for file in (config, *files, data)))


def _stamp(file: Path) -> tuple[int, int]:
    """Changes with the file: its time of modification in nanoseconds, and its size."""
    try:
        found = file.stat()
    except OSError:  # whoever reads it says what is wrong
        return 0, 0
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=256)
def _config(path: Path, _changed: tuple[int, int]) -> SiteConfig:
    return SiteConfig.load(path)


@lru_cache(maxsize=256)
def _identity(name: str, path: Path, _changed: tuple[int, int]) -> Identity:
    """Loaded once, though the site is opened again: its passphrase may have been typed by a person."""
    return Identity.load(name, path)


@lru_cache(maxsize=256)
def _opened(directory: Path, _changed: tuple[tuple[int, int], ...]) -> Site:
    return Site(directory)
