"""The EU AI Act (Regulation 2024/1689), Annex IV: technical documentation of high-risk systems."""

from __future__ import annotations

from sealora_server.dossier.demands.demand import Demand, DemandDocument

AI_ACT = DemandDocument(
    title="EU AI Act, Annex IV (technical documentation, Article 11(1))",
    about="Written for whole systems. What is here is an adapter of a language model, a part that such a system may "
    "use; whether a system is high-risk follows from its use.",
    demands=(
        Demand(
            "1(a)",
            "Intended purpose, provider, version and its relation to earlier ones.",
            ("run",),
            ("finished",),
            "Purpose and provider are not known to a program.",
        ),
        Demand("1(b)", "What hardware and software it works with.", ("model",), (), "The base model, and no system."),
        Demand("1(c)", "Versions of software.", ("run", "sbom")),
        Demand(
            "1(d)",
            "In what forms it is placed on the market.",
            ("model",),
            ("finished",),
            "The adapter's file is named; how it is handed out is not.",
        ),
        Demand("1(e)", "On what hardware it is meant to run.", gap="Not in here."),
        Demand("1(f)", "Pictures, where it is a component of products.", gap="Not in here."),
        Demand("1(g)", "The interface for whoever deploys it.", gap="Not in here: an adapter has none."),
        Demand("1(h)", "Instructions for use.", (), (), "The model card shows how to load it, and no more."),
        Demand(
            "2(a)",
            "How it was developed, with what pre-trained models and tools of others.",
            ("model", "method", "sbom"),
            ("licence",),
        ),
        Demand(
            "2(b)",
            "Design: logic, choices, assumptions, what is optimised for, trade-offs.",
            ("method", "privacy"),
            (),
            "Settings are stated; why they were chosen is not.",
        ),
        Demand(
            "2(c)",
            "Architecture, and the computing that went into it.",
            ("model", "method"),
            (),
            "What computing was spent is told by time and messages in the log alone.",
        ),
        Demand(
            "2(d)",
            "Training data: where from, how selected, labelled and cleaned, what they are like.",
            ("data", "parts"),
            ("parts", "statements"),
            "Numbers of a site are in its part; origin and cleaning at most in its own words.",
        ),
        Demand("2(e)", "Human oversight that is needed.", gap="Not in here."),
        Demand("2(f)", "Changes that were determined beforehand.", gap="Not in here."),
        Demand(
            "2(g)",
            "Validation and testing: data, metrics, discriminatory effects, dated and signed reports.",
            ("measured", "parts"),
            ("finished", "parts"),
            "One held-out figure, signed and dated by the dossier's signatures; on discrimination no more than results "
            "by group in the parts of sites that ran `sealora-site evaluate --by`.",
        ),
        Demand("2(h)", "Cybersecurity.", ("method", "receipts", "sbom"), (), "Of training; none of a deployment."),
        Demand(
            "3",
            "Capabilities and limits, accuracy for groups of people, risks, oversight, what input it needs.",
            ("limits", "measured", "parts"),
            (),
            "Limits are named; accuracy for groups is told by parts of sites that ran `sealora-site evaluate --by` "
            "and nowhere else; unintended outcomes are not.",
        ),
        Demand("4", "Why the metrics are fit for it.", gap="The metric is named; why it is fit is for people."),
        Demand("5", "The risk management system (Article 9).", gap="Not in here."),
        Demand("6", "Changes over its life.", ("run", "trouble"), (), "Of this run alone."),
        Demand("7", "Harmonised standards that were applied.", gap="Not in here."),
        Demand("8", "The EU declaration of conformity.", gap="Not in here."),
        Demand("9", "How it is watched after it is on the market (Article 72).", gap="Not in here."),
    ),
)
