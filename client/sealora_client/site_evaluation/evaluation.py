"""What an evaluation found: `evaluation.json` beside a kept run. No record, prompt or answer is in it.

EXACT: the figures of one site's records without noise, and no ledger knows of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from sealora_common.config import CONFIGURATION, from_json, read_file
from sealora_common.errors import StorageError, UnreadableError

EVALUATION: Final = "evaluation.json"
EVALUATION_PAGE: Final = "evaluation.html"
FEW: Final = 10
"""Records below which a group is not shown by itself."""
FEW_TOGETHER: Final = f"(fewer than {FEW})"
CONFIDENTIAL: Final = (
    "Exact figures of this site's records: no noise is on them and no ledger was charged. They must not leave, and "
    "nothing that was chosen by them may: no model, no round, no setting."
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Estimate(_Part):
    """A value with its 95 % interval; null where there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None


class EvaluatedFigure(_Part):
    """One figure of the adapter, beside the base model's on the same records."""

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher"]
    interval: Literal["wilson", "bootstrap"]
    """How the two intervals were made; that of the difference is a bootstrap's always."""
    adapter: Estimate
    base: Estimate
    difference: Estimate
    """The adapter's less the base model's, in pairs: of the same records each time."""
    beside: Estimate | None = None
    """Of the site's own adapter, where one was given."""
    over_beside: Estimate | None = None
    """The adapter's less that."""

    def text(self, value: float | None) -> str:
        """A value as it is shown: in percent where it lies between 0 and 1."""
        if value is None:
            return "-"
        return f"{value * 100:.1f} %" if self.is_part else f"{value:.4g}"

    def interval_text(self, estimate: Estimate) -> str:
        """`68.1 to 79.5 %`, or a dash."""
        if estimate.low is None or estimate.high is None:
            return "-"
        low = self.text(estimate.low)
        return f"{low.removesuffix(' %')} to {self.text(estimate.high)}"

    @property
    def is_part(self) -> bool:
        """Whether it lies between 0 and 1 by what it is."""
        return self.name not in ("loss", "perplexity")

    @property
    def differs(self) -> bool:
        """Whether the difference to the base model is beyond what other records of the same kind might have shown."""
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and (low > 0 or high < 0)


class GroupResult(_Part):
    """The records of one value of a column."""

    value: str
    records: int
    figures: tuple[EvaluatedFigure, ...]
    """None where all that are put together are still few."""


class GroupSpread(_Part):
    """How far apart the groups are in one figure of the adapter."""

    name: str
    title: str
    largest: str
    """Value of the group with the largest figure."""
    smallest: str
    difference: float
    within_intervals: bool
    """Whether the two groups' intervals meet, so that chance alone may be what tells them apart."""


class GroupsOfColumn(_Part):
    """The figures for each value of a column."""

    column: str
    groups: tuple[GroupResult, ...]
    spreads: tuple[GroupSpread, ...]


class BesideAdapter(_Part):
    """An adapter that the site trained for itself, on the same records."""

    title: str
    digest: str
    steps: int
    units: int
    """Records (persons) that it was trained on."""


class SiteEvaluation(_Part):
    """All of it."""

    site: str
    run: str
    recipe: str
    recipe_hash: str
    adapter_digest: str
    base_digest: str
    beside: BesideAdapter | None = None
    created: str
    source: str
    """The records: those that the run held out, or all of a file."""
    records: int
    """That the figures are of."""
    units: int
    """Records, or persons where the recipe protects persons."""
    unit: Literal["record", "person"]
    unusable: int
    """More that could not be shown to the model, in no figure."""
    truncated: int
    trained_on: int
    """Of the records those whose text this site trained on: they measure memory."""
    answers_cut: int | None
    """Answers of the adapter that were not at their end after `max_new_tokens`."""
    max_new_tokens: int | None
    seed: int
    """Of the bootstrap."""
    resamples: int
    figures: tuple[EvaluatedFigure, ...]
    by: tuple[GroupsOfColumn, ...]
    missing: tuple[str, ...]
    """Why some figures are not told."""
    packages: dict[str, str]
    """Versions of what computed them."""


def read_evaluation(path: Path) -> SiteEvaluation | None:
    """The evaluation that is there, if one is.

    Raises:
        StorageError: the file is no evaluation.
    """
    try:
        return from_json(SiteEvaluation, read_file(path, CONFIGURATION.longest), CONFIGURATION)
    except FileNotFoundError:
        return None
    except (OSError, UnreadableError) as error:
        raise StorageError(
            f"{path}: cannot be read ({error}): delete it, and `sealora-site evaluate` writes it again"
        ) from None
