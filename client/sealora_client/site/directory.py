"""A site's directory: who it is, what it has agreed to, where its data and its books are.

site.yaml          name and data file (this file's own fields)
policy.yaml        what no server can override
recipe.yaml        the recipe this site agreed to; orders under any other are refused
roster.json        the sites of the federation, signed by its coordinator
seen-rosters.json  which rosters it has used
identity.pem       the site's signing key, mode 0600; it never leaves the site
ledger.sqlite      privacy spent, across all runs
history.jsonl      this site's own figures, round by round
sent.jsonl         every message that left it; at-work.json, departure.json: see `sealora_client.operator`
round-aside        in a simulation, the round between two stages, mode 0600
"""

from __future__ import annotations

import hashlib
import logging
import threading
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from pydantic import BaseModel

from sealora_client.data.load import SiteData, SiteRecords, load_data, read_records_of
from sealora_client.data.source.rows import files_of
from sealora_client.ledger import LEDGER, Ledger
from sealora_client.model.adapted import AdaptedModel, adapted_model
from sealora_client.site.config import SiteConfig
from sealora_client.site.policy import SitePolicy
from sealora_client.site.seen_rosters import check_roster, remember_roster
from sealora_common.errors import ModelError, PolicyError, SealoraError
from sealora_common.identity import Identity
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.records.names import HISTORY
from sealora_common.records.site_rounds import SiteRound
from sealora_common.roster import Roster
from sealora_common.storage.durable import append_line

if TYPE_CHECKING:
    from sealora_client.training.devices.group import DeviceGroup

Agreed = TypeVar("Agreed", bound=BaseModel)

log = logging.getLogger(__name__)


class Site:
    """One site, opened from its directory.

    Args:
        directory: the site's.
        before: the site as it was opened there before, whose data are kept if the file now holds none that can be used.
        at: the time, which the roster's term is compared with; None is now.
    """

    def __init__(self, directory: Path, before: Site | None = None, at: datetime | None = None) -> None:
        self.directory = directory
        self.config = SiteConfig.load(directory / "site.yaml")
        self.policy = SitePolicy.load(directory / "policy.yaml")
        self.recipe: Recipe = _one_of(load_recipe(directory / "recipe.yaml"))
        self.roster = _one_of(Roster.load(directory / "roster.json", coordinator=self.config.coordinator))
        check_roster(directory, self.roster, at or datetime.now(UTC))
        self.identity = _identity(self.config.name, directory / "identity.pem", _stamp(directory / "identity.pem"))
        index = self.roster.index(self.name)
        if self.roster.public_key(index) != self.identity.public_key:
            raise PolicyError(
                f"{directory / 'roster.json'}: the key it lists for {self.name!r} is not this site's: "
                "send the coordinator this site's card again"
            )
        if self.roster.server is None:
            raise PolicyError(
                f"{directory / 'roster.json'}: names no server key, so orders and receipts prove nothing: add it"
            )
        self.policy.check(self.recipe, self.roster)
        remember_roster(directory, self.roster)
        self._loaded: SiteData | None = None
        # Under another recipe, or of another file, the records would be others: that is a new start.
        if before is not None and (before.recipe.hash, before.data_file) == (self.recipe.hash, self.data_file):
            self._loaded = before._loaded

    @property
    def name(self) -> str:
        return self.config.name

    def model(self) -> AdaptedModel:
        """The base model with the recipe's adapter on it; one for all sites of this process."""
        return adapted_model(self.recipe)

    def devices(self) -> DeviceGroup | None:
        """The devices that share training out with this process; None if there are none.

        Raises:
            ModelError: site.yaml names one that this machine has not, or another than the model's first.
        """
        from sealora_client.training.devices.choice import device_group

        return device_group(self.model(), self.config.devices)

    def prepare(self) -> None:
        """Loads the model and the records, so that what is wrong with them is told now and not in a round.

        The model is asked, on each device it will train on, whether examples meet in a micro-batch of it, and all
        devices whether they compute the same bits.

        Raises:
            DataError: the records cannot be used.
            ModelError: the model cannot, or not with this recipe, or a package is missing that its metric takes.
        """
        import torch

        from sealora_client.evaluation.choice import federation_metric
        from sealora_client.training.gradients.batch_invariance import require_batch_invariant

        federation_metric(self.recipe)
        try:
            devices = self.devices()
            if devices is None:
                require_batch_invariant(self.model(), self.recipe)
            else:
                with self.model().lock:
                    devices.prepare(self.recipe)
        except torch.OutOfMemoryError:
            raise ModelError(
                f"a micro-batch of {self.recipe.training.micro_batch_size} records of "
                f"{self.recipe.data.max_tokens} tokens does not fit this machine's memory: use a larger GPU, or agree "
                "on a smaller training.micro_batch_size or data.max_tokens"
            ) from None
        _ = self.data

    @property
    def data_file(self) -> Path:
        """Where the site's records are."""
        return self.directory / self.config.data

    def records(self) -> SiteRecords:
        """The site's records as text, read anew."""
        return read_records_of(self.data_file, self.recipe)

    @cached_property
    def data(self) -> SiteData:
        """The site's records, tokenised.

        A file that was changed into one that cannot be used stops no site that has loaded it before: whether a site
        answers an order would then tell of a record. It goes on with what it has, and says so in its log.

        Raises:
            DataError: the records cannot be used, and were not loaded before under this recipe.
            ModelError: the model cannot be loaded, or not with this recipe.
        """
        model = self.model()
        try:
            data = load_data(self.data_file, self.recipe, model)
        except Exception as error:
            if self._loaded is None:
                raise
            log.error(
                "site %s: the data file has changed and cannot be used (%s): until that is put right, rounds go on "
                "with the records that were read before the change",
                self.name,
                error if isinstance(error, SealoraError) else f"reading it failed with {type(error).__name__}",
            )
            return self._loaded
        if data.warning is not None:
            log.warning("site %s: %s", self.name, data.warning)
        if data.truncated:
            most = self.recipe.data.max_tokens
            log.warning("site %s: %d records are cut to data.max_tokens %d", self.name, data.truncated, most)
        for remark in data.remarks:
            log.warning("site %s: %s", self.name, remark)
        self._loaded = data
        return data

    def ledger(self) -> Ledger:
        """The site's privacy ledger; close it after use."""
        return Ledger(self.directory / LEDGER, self.identity)

    def note(self, figures: SiteRound) -> None:
        """Appends a line of this site's own figures. They stay here.

        Raises:
            StorageError: it could not be written.
        """
        append_line(self.directory / HISTORY, figures.to_line())


_agreed: WeakValueDictionary[bytes, BaseModel] = WeakValueDictionary()


def _one_of(value: Agreed) -> Agreed:
    """The same object for all sites of this process that have agreed to the same, for as long as one of them is open.

    A roster of hundreds has half a megabyte: a simulation of as many sites would hold it once for each of them.
    """
    content = f"{type(value).__name__} {value.model_dump_json()}".encode()
    same = _agreed.setdefault(hashlib.sha256(content).digest(), value)
    return same if isinstance(same, type(value)) else value


Stamps = tuple[tuple[int, int], ...]
_opened: dict[Path, tuple[Stamps, Site]] = {}
_opening = threading.RLock()


def open_site(directory: Path) -> Site:
    """The site in `directory`, opened once a process and again when one of its files, or of its data's, has changed.

    A caller works on the one `Site` it got: what it charges and what it trains on are then the same records.

    Raises:
        PolicyError: a file of the site is missing, malformed, or the policy refuses the recipe.
    """
    config = directory / "site.yaml"
    data = directory / _config(config, _stamp(config)).data
    files = [directory / name for name in ("policy.yaml", "recipe.yaml", "roster.json", "identity.pem")]
    stamps = tuple(_stamp(file) for file in (config, *files, *files_of(data)))
    with _opening:
        known, site = _opened.get(directory, (None, None))
        if site is None or known != stamps:
            site = Site(directory, before=site)
            _opened[directory] = stamps, site
        return site


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
