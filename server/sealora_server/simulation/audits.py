"""What an audit needs of the site package, found by its entry point: the server never imports it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sealora_common.errors import SealoraError
from sealora_common.recipe import Recipe

Interval = tuple[float, float]


class ClaimLike(Protocol):
    """See `sealora_client.audit.trial.Claim`."""

    @property
    def epsilon(self) -> float | None: ...
    @property
    def ledger_epsilon(self) -> float | None: ...
    @property
    def noise_multiplier(self) -> float: ...


class RocLike(Protocol):
    """See `sealora_client.audit.roc.Roc`."""

    @property
    def false_positive_rate(self) -> NDArray[np.float64]: ...
    @property
    def true_positive_rate(self) -> NDArray[np.float64]: ...
    @property
    def members(self) -> int: ...
    @property
    def non_members(self) -> int: ...
    @property
    def auc(self) -> float: ...
    @property
    def auc_interval(self) -> Interval: ...
    def true_positives_at(self, false_positive_rate: float) -> tuple[float, Interval]: ...


class GuessesLike(Protocol):
    """See `sealora_client.audit.guessing.Guesses`."""

    @property
    def lower_bound(self) -> float: ...
    @property
    def guessed_in(self) -> int: ...
    @property
    def guessed_out(self) -> int: ...
    @property
    def correct(self) -> int: ...


class FindingLike(Protocol):
    """See `sealora_client.audit.trial.Finding`."""

    @property
    def adversary(self) -> str: ...
    @property
    def guesses(self) -> GuessesLike: ...
    @property
    def roc(self) -> RocLike: ...


class TrialLike(Protocol):
    """See `sealora_client.audit.trial.Trial`."""

    @property
    def claim(self) -> ClaimLike: ...
    @property
    def findings(self) -> tuple[FindingLike, ...]: ...
    @property
    def canaries(self) -> int: ...
    @property
    def included(self) -> int: ...
    @property
    def lower_bound(self) -> float: ...
    @property
    def largest_bound(self) -> float: ...
    @property
    def refutes_claim(self) -> bool: ...


class SiteAuditLike(Protocol):
    """See `sealora_client.audit.site_audit.SiteAudit`."""

    @property
    def site(self) -> str: ...
    @property
    def units(self) -> int: ...
    @property
    def trial(self) -> TrialLike: ...
    @property
    def membership(self) -> RocLike: ...
    @property
    def seconds(self) -> float: ...


class CheckLike(Protocol):
    """See `sealora_client.audit.self_check.Check`."""

    @property
    def fault(self) -> str | None: ...
    @property
    def trial(self) -> TrialLike: ...
    @property
    def passed(self) -> bool: ...


class AuditsLike(Protocol):
    """See `sealora_client.audit.site_audit.Audits`."""

    @staticmethod
    def audit(
        recipe: Recipe,
        *,
        site: str | None,
        canaries: int,
        server_step: Callable[[int, NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]],
        on_round: Callable[[int], None],
    ) -> SiteAuditLike: ...

    @staticmethod
    def self_check(
        recipe: Recipe, *, site: str | None, canaries: int, on_check: Callable[[Any], None]
    ) -> list[CheckLike]: ...


def installed_audits() -> AuditsLike:
    """The installed site package's audits.

    Raises:
        SealoraError: no site package is installed.
    """
    for point in entry_points(group="sealora.audits"):
        loaded: AuditsLike = point.load()
        return loaded
    raise SealoraError("an audit needs the site package: pip install 'sealora[sim]'")
