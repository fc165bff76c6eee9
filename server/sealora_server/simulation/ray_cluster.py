"""The Ray that a simulation's sites run on: one that is started for it on this machine, or a cluster that is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sealora_common.errors import SealoraError

_OWN = "local"
"""Of Ray's addresses the one that always starts a new instance, whatever else runs on the machine."""
_PASSED_ON = ("SEALORA_CACHE", "SEALORA_INSECURE_SEED")
"""Of this process's environment; a cluster's workers have that of whoever started the cluster."""


def check_ray_address(address: str) -> None:
    """Refuses what is no address of a cluster that this machine is a node of.

    Raises:
        SealoraError: it is that of a cluster's client server.
    """
    if "://" in address:
        raise SealoraError(
            f"--ray-address {address}: a simulation is no client of a cluster, but runs on one of its machines: give "
            "HOST:PORT as `ray start` prints it, or auto, and run the command there"
        )


@contextmanager
def ray_cluster(address: str | None, environment: Mapping[str, str]) -> Iterator[float]:
    """Connects this process to Ray, which Flower's engine then uses, and gives how many GPUs it has.

    Args:
        address: HOST:PORT of the cluster's head, or `auto` for the cluster that this machine is a node of; None starts
            an instance on this machine, which ends with the simulation.
        environment: variables that the workers get, beside those that they need to find what is installed.

    Raises:
        SealoraError: there is no such cluster.
    """
    import ray

    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # As Flower's engine does it, which leaves a Ray that is connected already as it is.
    places = os.pathsep.join([*sys.path, *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        ray.init(
            address=address or _OWN,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            runtime_env={"env_vars": {**passed_on, **environment, "PYTHONPATH": places}},
        )
    except Exception as error:  # Ray raises that itself, where a node of it does not start in time
        if address is None:
            raise SealoraError(f"Ray cannot be started on this machine: {_first_line(error)}") from error
        raise SealoraError(
            f"no Ray cluster can be joined at {address} ({_first_line(error)}): start its head with `ray start --head` "
            "and the same versions of Python and Ray, and run this on one of its machines"
        ) from error
    try:
        yield float(ray.cluster_resources().get("GPU", 0.0))
    finally:
        ray.shutdown()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
