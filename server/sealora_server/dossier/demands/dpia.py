"""A data-protection impact assessment, as Article 35 GDPR has it and the usual templates follow."""

from __future__ import annotations

from sealora_server.dossier.demands.demand import Demand, DemandDocument

DPIA = DemandDocument(
    title="Impact assessment under Article 35 GDPR",
    about="What templates of authorities ask for. The dossier is material for one, and is none.",
    demands=(
        Demand(
            "Art. 35(7)(a)",
            "A description of the processing: nature, scope, context.",
            ("run", "data", "method", "parts"),
            ("parts", "statements"),
            "Of the training; context is at most in a site's own words.",
        ),
        Demand(
            "Art. 35(7)(a)",
            "The purposes, and the legitimate interest where there is one.",
            ("parts",),
            ("statements",),
            "At most in a site's own words.",
        ),
        Demand(
            "Art. 35(7)(b)",
            "Necessity and proportionality: legal basis, minimisation, retention, information of those concerned.",
            ("parts",),
            ("statements",),
            "At most in a site's own words.",
        ),
        Demand(
            "Art. 35(7)(c)",
            "The risks to people's rights and freedoms.",
            ("privacy", "limits"),
            ("privacy",),
            "What can be learnt of one unit is bounded; what harm that would do is for people.",
        ),
        Demand(
            "Art. 35(7)(d)",
            "Measures against these risks.",
            ("method", "privacy", "receipts", "parts"),
            ("privacy", "receipts"),
            "The technical ones of training.",
        ),
        Demand("Art. 35(2)", "The advice of the data-protection officer.", gap="The officer gives it, on this."),
        Demand("Art. 35(9)", "The views of those concerned, where fit.", gap="Not in here."),
        Demand("Art. 35(11)", "Review when the risk changes.", gap="Not in here: a dossier is of one run."),
        Demand("Art. 36", "Consultation of the authority where a high risk remains.", gap="Not in here."),
        Demand(
            "",
            "Who is controller, who processor, and whether data leave the country.",
            ("data",),
            (),
            "Sites and consortium are named; their roles in law are not. Records did not leave the sites.",
        ),
        Demand("", "A decision, with name and date, of whoever answers for it.", gap="The page has room for it."),
    ),
)
