"""The site's own policy: what no order from a server can override."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sealora_common.errors import PolicyError
from sealora_common.recipe import Recipe
from sealora_common.roster import Roster

_STRENGTH = {"curious": 0, "malicious": 1}


class SitePolicy(BaseModel):
    """`policy.yaml` in the site's directory."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    epsilon_limit: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
    """Most that a data set may spend over its lifetime, all runs and recipes together."""
    delta_limit: Annotated[float, Field(gt=0, lt=1)]
    """The delta at which the limit is meant; a recipe's delta may not be larger."""
    minimum_sites: int = Field(default=3, ge=2)
    """Smallest roster this site takes part in."""
    minimum_survivors: int = Field(default=3, ge=2)
    """Smallest sum this site helps to open. With two, each party reads the other's delta."""
    adversary: Literal["malicious", "curious"] = "malicious"
    """The weakest server model a recipe may be sealed against."""
    allow_without_privacy: bool = False
    """Whether recipes without differential privacy are accepted."""

    @classmethod
    def load(cls, path: Path) -> SitePolicy:
        """Reads a policy.

        Raises:
            PolicyError: the file is missing or malformed.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise PolicyError(f"{path}: the site has no policy: write one before it takes part") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            why = " ".join(str(error).split())
            raise PolicyError(f"{path}: cannot be read ({why}): correct the file") from None
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in problem["loc"]) or "policy"
            raise PolicyError(f"{path}: {field}: {problem['msg']}: correct it there") from None

    def check(self, recipe: Recipe, roster: Roster) -> None:
        """Refuses a recipe or roster outside the policy.

        Raises:
            PolicyError: names the policy's line and the recipe's value.
        """
        if recipe.privacy.mechanism == "none":
            if not self.allow_without_privacy:
                raise PolicyError(
                    "policy.yaml: allow_without_privacy is false, but the recipe's privacy.mechanism is none: "
                    "the order is refused"
                )
        elif recipe.privacy.delta > self.delta_limit:
            raise PolicyError(
                f"policy.yaml: delta_limit is {self.delta_limit:g}, but the recipe's privacy.delta is "
                f"{recipe.privacy.delta:g}: the order is refused"
            )
        if len(roster) < self.minimum_sites:
            raise PolicyError(
                f"policy.yaml: minimum_sites is {self.minimum_sites}, but the roster has {len(roster)}: "
                "the order is refused"
            )
        if recipe.sealing.min_survivors < self.minimum_survivors:
            raise PolicyError(
                f"policy.yaml: minimum_survivors is {self.minimum_survivors}, but the recipe's "
                f"sealing.min_survivors is {recipe.sealing.min_survivors}: the order is refused"
            )
        if _STRENGTH[recipe.sealing.adversary] < _STRENGTH[self.adversary]:
            raise PolicyError(
                f"policy.yaml: adversary is {self.adversary}, but the recipe's sealing.adversary is "
                f"{recipe.sealing.adversary}: the order is refused"
            )
