"""The site's own policy: what no order from a server can override."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from sealora_client.site.hours import Window, is_open, next_opening
from sealora_common.config import load_yaml
from sealora_common.errors import OrderRefusedError, PolicyError, UnreadableError
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.adapter import SECTION_OF_KIND, AdapterKindName
from sealora_common.recipe.sections.adapters.core import CoreSection
from sealora_common.recipe.sections.adapters.ia3 import Ia3Section
from sealora_common.recipe.sections.adapters.layer_norm import LayerNormSection
from sealora_common.recipe.sections.adapters.layers import LinearLayersSection
from sealora_common.recipe.sections.data import Unit
from sealora_common.recipe.sections.lora import LoraSection
from sealora_common.recipe.sections.objective import ObjectiveName
from sealora_common.recipe.sections.privacy import ProtectingMechanismName
from sealora_common.roster import Roster
from sealora_common.round.groups import smallest_group

_ON_MODULES = (LoraSection, Ia3Section, LinearLayersSection, LayerNormSection)
"""Sections of the kinds of adapter that sit on modules of the base model."""
_STRENGTH = {"curious": 0, "malicious": 1}


def _in_order(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"[{value[0]:g}, {value[1]:g}] holds nothing: write the least first, then the most")
    return value


Range = Annotated[tuple[float, float], AfterValidator(_in_order)]
"""The least and the most that is allowed, both included."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Verdict:
    """What one line of a policy says to a recipe.

    Attributes:
        line: the line's name and what it asks for.
        found: what the recipe or the roster has.
        allowed: whether that will do.
    """

    line: str
    found: str
    allowed: bool

    @property
    def field(self) -> str:
        """The line's name."""
        return self.line.partition(" is ")[0]

    def __str__(self) -> str:
        return f"{self.line}, {'and' if self.allowed else 'but'} {self.found}"


class SitePolicy(BaseModel):
    """`policy.yaml` in the site's directory."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    epsilon_limit: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
    """Most that a data set may spend over its lifetime, all runs and recipes together."""
    delta_limit: Annotated[float, Field(gt=0, lt=1)]
    """The delta at which the limit is meant; a recipe's delta may not be larger. Best a power of ten below half of
    1 / (number of training records, or persons), see docs/privacy.md."""
    minimum_sites: int = Field(default=3, ge=2)
    """Smallest roster this site takes part in; where a recipe seals in groups, smallest group."""
    roster_cosignatures: int = Field(default=0, ge=0)
    """How many members must have co-signed the roster, so that no two sites can have been shown two."""
    minimum_survivors: int = Field(default=3, ge=2)
    """Smallest sum this site helps to open. With two, each party reads the other's delta."""
    adversary: Literal["malicious", "curious"] = "malicious"
    """The weakest server model a recipe may be sealed against."""
    allow_without_privacy: bool = False
    """Whether recipes without differential privacy are accepted."""
    allow_groups_without_privacy: bool = False
    """Whether recipes without differential privacy may be sealed in groups: each group's sum is then read by itself,
    and it hides this site among its few members and no more."""
    mechanisms: tuple[ProtectingMechanismName, ...] = ("local", "distributed")  # by name: none joins by an upgrade
    """Mechanisms of differential privacy that are accepted. `distributed` rests on the seal and on other sites."""
    unit: Unit = "record"
    """Smallest unit of privacy that is accepted: a `record`, or a `person` with all of their records."""
    base_models: tuple[Digest, ...] | None = None
    """Digests of the base models that are accepted (`sealora-site model digest`); null for any."""
    adapters: tuple[AdapterKindName, ...] = ("lora",)  # by name: none joins by an upgrade
    """Kinds of adapter that are accepted (`adapter` of a recipe)."""
    most_parameters: int | None = Field(default=None, ge=1)
    """Most numbers that a run may train and send in all, of whatever kind its adapter is; null for any, as for all
    that follow."""
    rank: Range | None = None
    """Least and most of the adapter's rank (`lora.rank`), where its kind has one: `[1, 64]`."""
    rounds: Range | None = None
    """Least and most of the recipe's rounds (`rounds`)."""
    learning_rate: Range | None = None
    """Least and most of the sites' learning rate (`training.learning_rate`)."""
    target_modules: tuple[str, ...] | None = None
    """Names that the adapter's `target_modules` may hold, where its kind has them; `all-linear` is one."""
    objectives: tuple[ObjectiveName, ...] | None = None
    """Kinds of objective that are accepted; null for any."""
    hours: tuple[str, ...] = ()
    """Parts of the day in which orders are accepted, like `20:00-06:00`; none for all day. A round that began in
    them goes on after them."""
    time_zone: str = "UTC"
    """Of the hours, like `Europe/Berlin`."""

    @field_validator("hours")
    @classmethod
    def _are_windows(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(Window.parse(text)) for text in value)

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{value!r} is no time zone: write one like Europe/Berlin, or UTC") from None
        return value

    @classmethod
    def load(cls, path: Path) -> SitePolicy:
        """Reads a policy.

        Raises:
            PolicyError: the file is missing or malformed.
        """
        try:
            return load_yaml(cls, path, "policy")
        except FileNotFoundError:
            raise PolicyError(f"{path}: the site has no policy: write one before it takes part") from None
        except UnreadableError as error:
            raise PolicyError(str(error)) from None

    def check(self, recipe: Recipe, roster: Roster) -> None:
        """Refuses a recipe or roster outside the policy.

        Raises:
            OrderRefusedError: names the policy's line and the recipe's value.
        """
        for verdict in self.verdicts(recipe, roster):
            if not verdict.allowed:
                raise OrderRefusedError(f"policy.yaml: {verdict}: the order is refused")

    def check_hours(self, now: datetime) -> None:
        """Refuses orders outside the policy's hours.

        Args:
            now: the time, with its time zone.

        Raises:
            OrderRefusedError: names the line and when the next of the hours begin.
        """
        windows, zone = tuple(map(Window.parse, self.hours)), ZoneInfo(self.time_zone)
        if not is_open(windows, zone, now):
            raise OrderRefusedError(
                f"policy.yaml: hours are {self._hours_in_words()}, but it is {now.astimezone(zone):%H:%M} there: "
                f"the order is refused until {next_opening(windows, zone, now)}"
            )

    def check_size(self, parameters: int) -> None:
        """Refuses an adapter of which more travels than the policy allows; how much, the base model decides too.

        Raises:
            OrderRefusedError: names the line and the number.
        """
        if self.most_parameters is not None and parameters > self.most_parameters:
            raise OrderRefusedError(
                f"policy.yaml: most_parameters is {self.most_parameters}, but the recipe's adapter has {parameters} on "
                "this base model: the order is refused"
            )

    def verdicts(self, recipe: Recipe, roster: Roster | None) -> Iterator[Verdict]:
        """What each line says to a recipe, and to a roster if there is one; lines that ask for nothing are left out."""
        yield from self._on_privacy(recipe)
        yield from self._on_others(recipe, roster)
        yield from self._on_the_adapter(recipe)

    def verdicts_over_the_run(self, recipe: Recipe) -> Iterator[Verdict]:
        """What the limit over a data set's lifetime says to a whole run: its first rounds may fit and its last not."""
        if mechanism_of(recipe).protects:
            yield Verdict(
                f"epsilon_limit is {self.epsilon_limit:g}",
                f"the recipe's privacy.epsilon is {recipe.privacy.epsilon:g} over all its rounds",
                recipe.privacy.epsilon <= self.epsilon_limit,
            )

    def _on_privacy(self, recipe: Recipe) -> Iterator[Verdict]:
        privacy = recipe.privacy
        if not mechanism_of(recipe).protects:
            line = f"allow_without_privacy is {'true' if self.allow_without_privacy else 'false'}"
            yield Verdict(line, "the recipe's privacy.mechanism is none", self.allow_without_privacy)
            if recipe.sealing.groups > 1:
                allowed = self.allow_groups_without_privacy
                yield Verdict(
                    f"allow_groups_without_privacy is {'true' if allowed else 'false'}",
                    f"the recipe's privacy.mechanism is none and its sealing.groups {recipe.sealing.groups}",
                    allowed,
                )
            return
        yield Verdict(
            f"mechanisms is {_listed(self.mechanisms)}",
            f"the recipe's privacy.mechanism is {privacy.mechanism}",
            privacy.mechanism in self.mechanisms,
        )
        yield Verdict(
            f"delta_limit is {self.delta_limit:g}",
            f"the recipe's privacy.delta is {privacy.delta:g}",
            privacy.delta <= self.delta_limit,
        )
        field = f"data.person_field is {recipe.data.person_field or 'not set'}"
        yield Verdict(
            f"unit is {self.unit}",
            f"the recipe's unit of privacy is a {recipe.data.unit} ({field})",
            self.unit == "record" or recipe.data.unit == "person",
        )

    def _on_others(self, recipe: Recipe, roster: Roster | None) -> Iterator[Verdict]:
        if roster is not None:
            grouped = recipe.sealing.groups > 1
            fewest = smallest_group(recipe, len(roster))
            yield Verdict(
                f"minimum_sites is {self.minimum_sites}",
                f"the smallest of the recipe's {recipe.sealing.groups} groups has {fewest}"
                if grouped
                else f"the roster has {fewest}",
                fewest >= self.minimum_sites,
            )
            if self.roster_cosignatures:
                cosigned = len(roster.cosigners)
                yield Verdict(
                    f"roster_cosignatures is {self.roster_cosignatures}",
                    f"{cosigned} {'member has' if cosigned == 1 else 'members have'} co-signed the roster",
                    cosigned >= self.roster_cosignatures,
                )
        sealing = recipe.sealing
        yield Verdict(
            f"minimum_survivors is {self.minimum_survivors}",
            f"the recipe's sealing.min_survivors is {sealing.min_survivors}",
            sealing.min_survivors >= self.minimum_survivors,
        )
        yield Verdict(
            f"adversary is {self.adversary}",
            f"the recipe's sealing.adversary is {sealing.adversary}",
            _STRENGTH[sealing.adversary] >= _STRENGTH[self.adversary],
        )

    def _on_the_adapter(self, recipe: Recipe) -> Iterator[Verdict]:
        if self.base_models is not None:
            digest = recipe.model.digest
            yield Verdict(
                f"base_models is {_listed([each[:12] for each in self.base_models])}",
                f"the recipe's model.digest is {digest[:12] if digest else 'not set'}",
                digest in self.base_models,
            )
        yield Verdict(
            f"adapters is {_listed(self.adapters)}",
            f"the recipe's adapter is {recipe.adapter}",
            recipe.adapter in self.adapters,
        )
        section, name = recipe.adapter_section, SECTION_OF_KIND[recipe.adapter]
        rank = section.rank if isinstance(section, LoraSection | CoreSection) else None
        ranges: tuple[tuple[str, Range | None, str, float | None], ...] = (
            ("rank", self.rank, f"{name}.rank", rank),
            ("rounds", self.rounds, "rounds", recipe.rounds),
            ("learning_rate", self.learning_rate, "training.learning_rate", recipe.training.learning_rate),
        )
        for line, allowed, field, value in ranges:
            if allowed is not None and value is not None:
                yield Verdict(
                    f"{line} is {allowed[0]:g} to {allowed[1]:g}",
                    f"the recipe's {field} is {value:g}",
                    allowed[0] <= value <= allowed[1],
                )
        if self.objectives is not None:
            yield Verdict(
                f"objectives is {_listed(self.objectives)}",
                f"the recipe's objective.kind is {recipe.objective.kind}",
                recipe.objective.kind in self.objectives,
            )
        if self.target_modules is not None and isinstance(section, _ON_MODULES):
            named = section.target_modules
            asked = (named,) if isinstance(named, str) else named
            yield Verdict(
                f"target_modules is {_listed(self.target_modules)}",
                f"the recipe's {name}.target_modules is {_listed(asked)}",
                set(asked) <= set(self.target_modules),
            )

    def _hours_in_words(self) -> str:
        return f"{_listed(self.hours)} ({self.time_zone})"


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names) or "empty"
