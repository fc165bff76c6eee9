"""What speaks against letting the model of a run leave, and what its files leave open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sealora_common.dossier.clearance import Clearance
from sealora_common.dossier.server_part import AttachedPart
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_server.dossier.run_evidence import RunEvidence
from sealora_server.memorisation.findings import LeakStanding

_ENDED = {
    "failed": "The run failed before its end.",
    "interrupted": "The run was interrupted before its end.",
    None: "The run has not come to its end.",
}


def judged(
    run: RunEvidence, parts: Sequence[AttachedPart], licence: str | None, leaks: LeakStanding | None = None
) -> Clearance:
    """Of a run, of what its sites' parts say in a word, and of what a memorisation test came to if there is one."""
    return Clearance.of(_against(run, parts, leaks), _open_points(run, parts, licence, leaks))


def _against(run: RunEvidence, parts: Sequence[AttachedPart], leaks: LeakStanding | None) -> Iterator[str]:
    if not mechanism_of(run.recipe).protects:
        yield "It was trained without differential privacy: the adapter may give records away."
    if run.state.is_insecure:
        yield "Its noise or its seal was seeded for a test: whoever knows the seed can undo both."
    if run.state.ended != "finished":
        yield _ENDED[run.state.ended]
    if run.broken:
        yield f"Its receipts do not hold: {run.broken}."
    elif not run.receipts:
        yield "No round has a receipt: nothing shows who took part."
    if run.roster.server is None or run.roster.server_key != run.identity.public_key:
        yield "The key that signs this dossier is not the server's on the run's roster."
    if run.adapter_doubt:
        yield f"The adapter is in doubt: {run.adapter_doubt}."
    for part in parts:
        if part.standing == "not cleared":
            yield f"The part of {part.site} says that the model must not leave."
    if leaks == "more extracted":
        yield "The memorisation test got planted personal data out of a model of this recipe."


def _open_points(
    run: RunEvidence, parts: Sequence[AttachedPart], licence: str | None, leaks: LeakStanding | None
) -> Iterator[str]:
    for part in parts:
        if not part.attached:
            yield f"The part of {part.site} is not here: that site has signed nothing."
        elif part.standing == "open":
            yield f"The part of {part.site} leaves points open."
    if run.recipe.continue_from is not None:
        yield "The run began with an earlier run's adapter: that run's dossier is needed beside this one."
    if leaks is None:
        yield "No memorisation test of this recipe was handed in."
    elif leaks == "too weak":
        yield "The memorisation test was too weak to say anything."
    if licence is None:
        yield "The licence of the base model is not stated."
