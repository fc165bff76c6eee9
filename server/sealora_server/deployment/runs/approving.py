"""Whether one run may begin, on a server that demands another person's approval."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sealora_common.errors import SealoraError
from sealora_server.deployment.config import ApprovalSection
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.approval import Approval, require_approved
from sealora_server.deployment.operator.messages import ApprovalStatus, RunCondition
from sealora_server.deployment.operator.person import Person


def require_approver(section: ApprovalSection, person: Person) -> None:
    """Refuses who may not approve runs.

    Raises:
        DeploymentError: `person` may not.
    """
    if person.account if section.approvers is None else person.listed not in section.approvers:
        raise DeploymentError(f"{person.listed} may not approve runs: `approval` in server.yaml says who may")


def _now() -> datetime:
    return datetime.now(UTC)


class RunApproval:
    """What was asked for and approved of the run in a directory.

    Args:
        directory: the run's.
        required: whether the server demands approval.
        now: the clock.

    Raises:
        StorageError: the run's file of it is damaged.
    """

    def __init__(self, directory: Path, *, required: bool, now: Callable[[], datetime] = _now) -> None:
        self._directory = directory
        self.required = required
        self._now = now
        self._kept = Approval.load(directory)

    def why_not(self) -> str:
        """Why the run may not go on as it stands on the disk now, in a sentence; empty if it may."""
        if not self.required:
            return ""
        try:
            require_approved(self._directory)
        except SealoraError as error:
            return str(error)
        return ""

    def ask(self, person: Person) -> None:
        """Keeps that `person` asks for the run as it stands on the disk now; whatever was approved before is over.

        Raises:
            StorageError: a file cannot be read or written.
            PolicyError: the roster cannot be read.
        """
        self._keep(Approval.asked(self._directory, person, self._now()))

    def require_waiting(self, condition: RunCondition) -> Approval:
        """What waits for approval, of a run in this condition.

        Raises:
            DeploymentError: nothing does.
        """
        if condition != "unapproved" or self._kept is None:
            raise DeploymentError(f"run {self._directory.name!r} is {condition}: nothing of it waits for approval")
        return self._kept

    def check(self, condition: RunCondition, person: Person, looked_at: str) -> Approval:
        """What `give` would keep.

        Raises:
            DeploymentError: nothing waits for approval, `person` asked for it, or what is there now is not what has the
                digest `looked_at`.
            StorageError: a file cannot be read.
            PolicyError: the roster cannot be read.
        """
        waiting = self.require_waiting(condition)
        try:
            waiting.require_of(self._directory)
            return waiting.given(person, looked_at, self._now())
        except DeploymentError as error:
            raise DeploymentError(f"run {self._directory.name!r}: {error}") from None

    def give(self, condition: RunCondition, person: Person, looked_at: str) -> None:
        """Keeps that `person`, who may approve runs and has looked at what has this digest, approves.

        Raises:
            DeploymentError: see `check`.
            StorageError: a file cannot be read or written.
            PolicyError: the roster cannot be read.
        """
        self._keep(self.check(condition, person, looked_at))

    @property
    def wanted_text(self) -> str:
        """What must be done, and for whom."""
        asked = f"{self._kept.asked_by.name} asked for it: " if self._kept else ""
        return f"{asked}another person must approve it, with `sealora server approve` or at the dashboard"

    @property
    def status(self) -> ApprovalStatus | None:
        """As an operator is told of it."""
        kept = self._kept
        if kept is None:
            return None
        return ApprovalStatus(
            digest=kept.digest,
            asked_by=kept.asked_by.name,
            asked_at=kept.asked_at,
            approved_by=kept.approved_by.name if kept.approved_by else None,
            approved_at=kept.approved_at,
        )

    def _keep(self, approval: Approval) -> None:
        approval.save(self._directory)
        self._kept = approval
