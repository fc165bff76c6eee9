"""What the figure is that evaluations tell: every page that shows it asks here for its name, unit and direction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

from sealora_common.records.record import WrittenRecord

if TYPE_CHECKING:
    from sealora_common.recipe import Recipe
    from sealora_common.recipe.sections.evaluation import MetricName
    from sealora_common.recipe.sections.objective import ObjectiveName

_UNITS: Final[dict[ObjectiveName, str]] = {
    "causal": "nats a token",
    "classification": "nats a record",
    "dpo": "nats a pair",
    "orpo": "nats a pair",
    "kto_zero": "from 0 to 1 a record",
}

_SHARES: Final[dict[MetricName, tuple[str, str]]] = {
    "accuracy": ("held-out accuracy", "share of records"),
    "exact_match": ("held-out exact match", "share of records"),
    "token_accuracy": ("held-out token accuracy", "share of tokens"),
    "bleu": ("held-out BLEU", "likeness of answers, mean over records"),
    "chrf": ("held-out chrF", "likeness of answers, mean over records"),
    "rouge_l": ("held-out ROUGE-L", "likeness of answers, mean over records"),
}
"""Names and units of metrics that are no losses."""

_LARGEST: Final[dict[ObjectiveName, float]] = {"kto_zero": 1.0}
"""Of the losses that have an upper bound."""


class HeldoutFigure(WrittenRecord):
    """The figure of one recipe. In events and histories it has the key `heldout_loss`, whatever it is."""

    name: str = "held-out loss"
    unit: str = "nats a token"
    better: Literal["lower", "higher"] = "lower"

    @classmethod
    def of(cls, recipe: Recipe) -> HeldoutFigure:
        """What the recipe's evaluations tell."""
        metric = recipe.evaluation.metric
        if metric != "loss":
            return cls(name=_SHARES[metric][0], unit=_SHARES[metric][1], better="higher")
        return cls(unit=loss_unit(recipe))

    @property
    def is_loss(self) -> bool:
        """Whether it is a loss, whose relative change says something; a share's would be taken for points."""
        return self.better == "lower"

    @property
    def judges_answers(self) -> bool:
        """Whether it counts answers that are right to the letter, so that an example is right or wrong."""
        return self.name == _SHARES["exact_match"][0]

    def range_width(self, recipe: Recipe) -> float:
        """Of the range to which one unit's value is clipped, from 0 on: noise grows with it."""
        most = _LARGEST.get(recipe.objective.kind, recipe.privacy.heldout_clip)
        return min(recipe.privacy.heldout_clip, most) if self.is_loss else 1.0

    @property
    def title(self) -> str:
        """The name as a heading has it."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def short(self) -> str:
        """The name in a narrow column: `loss`."""
        return self.name.removeprefix("held-out ")

    def text(self, value: float | None) -> str:
        """A value as every page writes it: `74.2 %` of a share, `3.214` of a loss, a dash for one not measured."""
        if value is None:
            return "-"
        return f"{value:.3f}" if self.is_loss else f"{value * 100:.1f} %"

    def noise_text(self, deviation: float) -> str:
        """A standard deviation of it, in points of a share and else with two digits, rounded UP: `0.013`, `2.4`."""
        if not self.is_loss or deviation <= 0:
            return self.text(deviation)
        unit = 10.0 ** (math.floor(math.log10(deviation)) - 1)
        return f"{math.ceil(deviation / unit - 1e-9) * unit:.3g}"

    def range_text(self, low: float, high: float) -> str:
        """`68.1 to 79.5 %`."""
        return f"{self.text(low).removesuffix(' %')} to {self.text(high)}"


def loss_unit(recipe: Recipe) -> str:
    """What the recipe's loss is counted in."""
    kind, loss = recipe.objective.kind, recipe.objective.loss
    return "squared, a pair" if kind == "dpo" and loss == "ipo" else _UNITS[kind]
