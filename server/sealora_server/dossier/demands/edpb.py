"""EDPB Opinion 28/2024 on AI models (December 2024): what shows that a model is anonymous, and the rest."""

from __future__ import annotations

from sealora_server.dossier.demands.demand import Demand, DemandDocument

EDPB = DemandDocument(
    title="EDPB Opinion 28/2024 on certain data protection aspects of AI models",
    about="What a supervisory authority may look at when a model is claimed to be anonymous, and legitimate interest. "
    "This dossier does not claim that the model is anonymous.",
    demands=(
        Demand(
            "",
            "How the sources of the training data were selected, and whether they were fit and needed.",
            ("parts",),
            ("statements",),
            "At most in a site's own words.",
        ),
        Demand(
            "",
            "How the data were prepared and minimised before training: pseudonyms, filters, what was left out.",
            ("data", "parts"),
            ("statements",),
            "At most in a site's own words.",
        ),
        Demand(
            "",
            "Which methods of training were chosen to lessen that people can be identified.",
            ("method", "privacy"),
            ("privacy",),
        ),
        Demand(
            "",
            "Measures on the model's output once it is used.",
            gap="The adapter is handed over as it is; what stands around it is for whoever deploys it.",
        ),
        Demand(
            "",
            "That the measures were carried out as designed, shown by review or audit.",
            ("receipts", "parts"),
            ("receipts", "audits"),
            "Receipts show who took part; no outside review of the code is told here.",
        ),
        Demand("", "Tests of membership inference.", ("parts",), ("audits",)),
        Demand(
            "",
            "Tests of attribute inference, of model inversion and of reconstruction.",
            ("memorisation",),
            ("memorisation",),
            "At most a datum of made-up persons asked for by name; none on real ones, and no inversion. Differential "
            "privacy bounds what such an attack on one unit can gain; that is no test.",
        ),
        Demand(
            "",
            "Tests of regurgitation: whether training texts can be drawn out of the model.",
            ("memorisation",),
            ("memorisation",),
            "At most of made-up records, planted in a simulation that trains the recipe anew.",
        ),
        Demand(
            "",
            "The likelihood that somebody is identified is assessed, with all means likely to be used.",
            ("privacy", "limits"),
            ("privacy",),
            "The bound is stated; the assessment is for people.",
        ),
        Demand(
            "",
            "An impact assessment, or why none was needed, and the advice of the data-protection officer.",
            gap="Not in here: this dossier is material for both.",
        ),
        Demand(
            "",
            "Technical and organisational measures over the model's life are documented.",
            ("method", "privacy", "receipts"),
            ("receipts",),
            "The technical ones of training; none of organisation, and none after release.",
        ),
        Demand(
            "",
            "What whoever deploys the model must know to keep it so.",
            ("limits",),
            (),
            "The model card names limits; instructions for a deployment are not in here.",
        ),
        Demand(
            "",
            "A legal basis for training and for use; with legitimate interest, its three steps.",
            ("parts",),
            ("statements",),
            "At most in a site's own words.",
        ),
    ),
)
