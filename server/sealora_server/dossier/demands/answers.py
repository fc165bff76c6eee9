"""How far one dossier goes: each demand of each document, met, met in part, or not."""

from __future__ import annotations

from collections.abc import Mapping

from sealora_common.dossier.server_part import AnsweredDemand, AttachedPart, Framework, Status
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_server.dossier.demands.ai_act import AI_ACT
from sealora_server.dossier.demands.demand import LACKING, Demand, Need
from sealora_server.dossier.demands.dpia import DPIA
from sealora_server.dossier.demands.edpb import EDPB
from sealora_server.dossier.demands.nist import NIST
from sealora_server.dossier.demands.satre import SATRE
from sealora_server.dossier.run_evidence import RunEvidence

DOCUMENTS = (NIST, EDPB, AI_ACT, DPIA, SATRE)


def answered(has: Mapping[Need, bool]) -> tuple[Framework, ...]:
    """All documents, for a dossier that has these things and not those."""
    return tuple(
        Framework(
            title=document.title,
            about=document.about,
            answers=tuple(_answer(demand, has) for demand in document.demands),
        )
        for document in DOCUMENTS
    )


def what_it_has(
    run: RunEvidence, parts: tuple[AttachedPart, ...], licence: str | None, *, is_tested: bool
) -> dict[Need, bool]:
    """What the dossier of a run has, of that on which answers depend."""
    return {
        "privacy": mechanism_of(run.recipe).protects and not run.state.is_insecure,
        "finished": run.state.ended == "finished",
        "receipts": bool(run.proofs),
        "parts": bool(parts) and all(part.attached for part in parts),
        "statements": bool(parts) and all(part.has_statement for part in parts),
        "audits": bool(parts) and all(part.has_audit for part in parts),
        "memorisation": is_tested,
        "licence": licence is not None,
    }


def _answer(demand: Demand, has: Mapping[Need, bool]) -> AnsweredDemand:
    lacking = [need for need in demand.needs if not has[need]]
    status: Status = "met"
    if not demand.where or (lacking and len(lacking) == len(demand.needs)):
        status = "not met"
    elif lacking or demand.gap:
        status = "in part"
    remark = " ".join([*(LACKING[need] for need in lacking), *([demand.gap] if demand.gap else [])])
    return AnsweredDemand(
        reference=demand.reference, demand=demand.demand, status=status, where=demand.where, remark=remark
    )
