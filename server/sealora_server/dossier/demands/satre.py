"""SATRE, the standard architecture for trusted research environments: what it asks of outputs that leave."""

from __future__ import annotations

from sealora_server.dossier.demands.demand import Demand, DemandDocument

SATRE = DemandDocument(
    title="SATRE: egress and output management (3.1 and 3.3 of the specification)",
    about="It asks this of whoever runs the environment; the dossier is what an output checker there can be given.",
    demands=(
        Demand(
            "3.1.2", "Decisions on handling data are recorded.", gap="The page has room for it; nothing fills it in."
        ),
        Demand(
            "3.1.5",
            "Leaving is a process in which all who must approve do.",
            ("parts",),
            ("parts",),
            "Each site signs its part, which is no approval; who must approve is the environment's to say.",
        ),
        Demand(
            "3.1.6",
            "Nobody but the owners of the data, or whom they name, lets something out.",
            gap="Sealora's server writes the adapter to its operator's disk: what keeps it there is not its own.",
        ),
        Demand(
            "3.3.1", "Outputs are classified.", ("run", "privacy"), (), "What standing a run has; no class of yours."
        ),
        Demand(
            "3.3.2",
            "What is to come out is settled at the outset.",
            ("method", "privacy"),
            ("receipts",),
            "The recipe is agreed on before anybody trains, and sites confirm its hash; its purpose is not in it.",
        ),
        Demand(
            "3.3.3",
            "Every output passes a documented control of disclosure.",
            ("privacy", "receipts", "limits"),
            ("privacy", "receipts"),
            "The dossier documents the control that the software makes; the process around it is yours.",
        ),
        Demand("3.3.4", "Somebody is responsible for checking outputs.", gap="Not in here."),
        Demand(
            "3.3.5",
            "For outputs that nobody can check by eye, as weights are, risks are lessened and documented.",
            ("privacy", "parts", "limits"),
            ("privacy", "audits"),
        ),
        Demand(
            "3.3.6",
            "There is a statistical basis for judging an output safe.",
            ("privacy", "parts"),
            ("privacy", "parts"),
            "The bound is that basis; how large it may be is yours to say.",
        ),
        Demand(
            "3.3.7",
            "Checks are partly automatic, with people deciding.",
            ("receipts", "run"),
            ("receipts",),
        ),
        Demand(
            "3.3.8",
            "No more leaves than is needed.",
            ("model", "method"),
            ("finished",),
            "An adapter is smaller than a model; whether it is needed is for people.",
        ),
    ),
)
