"""What whoever asked for an act is told once it is done, at the command line and at the dashboard alike."""

from __future__ import annotations

from sealora_server.deployment.operator.messages import Act, Approve, Delete, Refuse, Resume, Stop


def submitted_text(run: str, recipe_hash: str) -> str:
    """Of a submission."""
    return f"run {run}: submitted. Its recipe hash, which every site must have: {recipe_hash}"


def done_text(act: Act) -> str:
    """Of an act on a run."""
    match act:
        case Approve():
            return f"run {act.run}: approved; it begins when its turn has come"
        case Refuse():
            return f"run {act.run}: refused; to be resumed it must be asked for again"
        case Stop():
            return f"run {act.run}: stopped"
        case Resume():
            return f"run {act.run}: goes on, when its turn has come and, where that is demanded, it is approved"
        case Delete():
            return f"run {act.run}: deleted"
        case _:
            return "done"
