"""NIST SP 800-226 (final, March 2025): what to ask of a claim of differential privacy."""

from __future__ import annotations

from sealora_server.dossier.demands.demand import Demand, DemandDocument

NIST = DemandDocument(
    title="NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees (2025)",
    about="Its pyramid, from epsilon down to how data are collected. It sets no epsilon that would be small enough.",
    demands=(
        Demand("", "The privacy parameters are stated: epsilon and delta.", ("privacy",), ("privacy",)),
        Demand(
            "",
            "The unit of privacy is stated: whom or what the promise is about.",
            ("privacy",),
            ("privacy",),
        ),
        Demand(
            "",
            "It is stated which data sets count as neighbours.",
            ("privacy",),
            ("privacy",),
        ),
        Demand(
            "",
            "The size of epsilon is justified for the use.",
            gap="A program cannot weigh it: whoever signs does.",
        ),
        Demand(
            "",
            "Releases compose: what analyses of the same records spend together is bounded and kept account of.",
            ("privacy", "parts"),
            ("privacy", "parts"),
        ),
        Demand(
            "",
            "The model of trust is stated: who must be trusted, and against whom the promise holds.",
            ("privacy", "method"),
            ("privacy",),
        ),
        Demand(
            "",
            "The mechanism is named, and why it keeps the promise is argued.",
            ("privacy", "method"),
            ("privacy",),
            "The argument is in the software's documents (docs/privacy.md), not in here; one proof is its makers' own.",
        ),
        Demand(
            "",
            "The implementation is correct and was tested, its arithmetic and its randomness too.",
            ("parts", "limits"),
            ("audits",),
            "An audit can refute the promise and cannot prove it; no independent review is told here.",
        ),
        Demand(
            "",
            "Side channels are considered.",
            ("limits",),
            (),
            "Time is named as one that remains; nothing was measured for this run.",
        ),
        Demand(
            "",
            "What the noise costs in usefulness, and for whom, is measured: small groups lose most.",
            ("measured", "parts"),
            ("finished",),
            "There is one figure over everybody; for groups there are those in the parts of sites that ran "
            "`sealora-site evaluate --by`.",
        ),
        Demand(
            "",
            "The data themselves are secured: storage, access, keys.",
            (),
            (),
            "That is each institution's own, and nothing of it is in here.",
        ),
        Demand(
            "",
            "No more is collected than is needed.",
            ("parts",),
            ("statements",),
            "At most what a site says in its own words; no program checked it.",
        ),
    ),
)
