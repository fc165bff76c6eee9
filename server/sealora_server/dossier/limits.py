"""What no dossier of this kind shows, said in it every time."""

from __future__ import annotations

from sealora_common.dossier.figure import DossierSection

_LIMITS = (
    "The promise is each site's, to its own data: somebody in the data of several sites is promised less.",
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


def limits_section() -> DossierSection:
    """The known limits."""
    return DossierSection(identifier="limits", title="Known limits", text=_LIMITS)
