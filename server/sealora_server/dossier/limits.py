"""What no dossier of this kind shows, said in it every time."""

from __future__ import annotations

from sealora_common.dossier.figure import DossierSection
from sealora_common.privacy.promise import limits_of_promise
from sealora_common.recipe import Recipe

_LIMITS = (
    "The base model's own training data are not covered. What it knew before, it still knows.",
    "How many records a site has counts as public. How long a site computes can tell of the lengths of its records.",
    "Recipes that were chosen by looking at results cost privacy that stands in the ledger, not in this run's figure.",
    "Poisoning is bounded, not prevented: a site that lies can make the model worse or plant a behaviour in it.",
    "What the server's log says, beyond what receipts and signatures prove, is the server's own word.",
    "A ledger that was put back to an earlier state, with its head, is found out only by an export kept elsewhere.",
    "The accountant, the sealing and the noise are the software's own; whether they were reviewed is not told here.",
    "Purpose, legal basis, the rights of those whose data they are, human oversight and what becomes of the model "
    "after release are for people: a program cannot know them.",
)


def limits_section(recipe: Recipe) -> DossierSection:
    """The known limits, those of the recipe's promise first."""
    return DossierSection(identifier="limits", title="Known limits", text=(*limits_of_promise(recipe), *_LIMITS))
