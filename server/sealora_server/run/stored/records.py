"""The small files of a run's directory, a model for each."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from sealora_server.run.best_round import ToldFigure

EVALUATION: Final = "evaluation.json"
RECORD: Final = "round.json"
RESULT: Final = "result.json"
SERVER_KEY: Final = "server.pem"


class RunIdentity(BaseModel):
    """`run.json`: what makes this run this run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    recipe_hash: str
    server_key: str = SERVER_KEY
    """Path of the key that signs orders and receipts, from the run's directory: a server keeps one for all its runs."""


class RoundRecord(BaseModel):
    """`rounds/NNNN/round.json`: what came of a round. Written last, so that it marks the round as finished."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    round_number: int
    attempt: int
    survivors: tuple[str, ...]
    heldout_loss: float | None
    """Noisy mean of the sites' held-out losses before the round; None if it evaluated nothing."""
    clipped_fraction: float
    next_clip_range: float
    """Public range of a coordinate that follows from this round's sum."""
    next_clip_norm: float
    """Clipping norm of the next round."""
    adapter_sha256: str
    seconds: float

    @property
    def told(self) -> list[ToldFigure]:
        """Its figure of the adapter that came into it; none if it did not evaluate."""
        if self.heldout_loss is None:
            return []
        return [ToldFigure(self.round_number - 1, self.heldout_loss, len(self.survivors))]


class EvaluationRecord(BaseModel):
    """`evaluation.json`: what came of the final evaluation. It is there once the sites were charged for one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    heldout_loss: float
    """Noisy mean of the sites' held-out losses under the final adapter."""
    survivors: tuple[str, ...]


class RunResult(BaseModel):
    """`result.json`: what came of the run. It is there once the run has come to its end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapter_sha256: str
    heldout_loss_before: float | None
    heldout_loss_after: float
    """Of the adapter that was kept."""
    kept_round: int | None = None
    """Rounds that the adapter which was kept had been trained; null in those of older versions: all."""
