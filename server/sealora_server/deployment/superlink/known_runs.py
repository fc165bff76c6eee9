"""Which runs a request may name: Flower's handlers break (500) on one that its state does not have."""

from __future__ import annotations

from flwr.server.superlink.linkstate import LinkState
from flwr.supercore.error import ApiErrorCode, FlowerError


def require_known(state: LinkState, run: int) -> None:
    """Does nothing if Flower's state has this run, over or not.

    Raises:
        FlowerError: it has none of this number; what is raised for a run that is over, so that a site that outlived the
            SuperLink's memory lets go of it.
    """
    if not state.get_run_info(run_ids=[run]):
        raise FlowerError(ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED, f"there is no run {run}")
