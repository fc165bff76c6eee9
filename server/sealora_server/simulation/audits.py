"""What an audit needs of the site package, found by its entry point: the server never imports it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sealora_common.errors import SealoraError
from sealora_common.recipe import Recipe
from sealora_common.records.audits import CheckSummary, SiteAudit


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
    ) -> SiteAudit: ...

    @staticmethod
    def self_check(
        recipe: Recipe, *, site: str | None, canaries: int, on_check: Callable[[str | None], None]
    ) -> list[CheckSummary]: ...


def installed_audits() -> AuditsLike:
    """The installed site package's audits.

    Raises:
        SealoraError: no site package is installed.
    """
    for point in entry_points(group="sealora.audits"):
        loaded: AuditsLike = point.load()
        return loaded
    raise SealoraError("an audit needs the site package: pip install 'sealora[sim]'")
