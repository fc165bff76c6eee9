"""The devices that site.yaml names: whether each can be used, and whether they compute the same."""

from __future__ import annotations

from sealora_client.model.adapted import AdaptedModel
from sealora_client.site.config import Devices
from sealora_client.training.devices.choice import device_group
from sealora_common.errors import SealoraError
from sealora_common.health.finding import Finding, failed, passed
from sealora_common.recipe import Recipe


def check_devices(recipe: Recipe, model: AdaptedModel, asked: Devices) -> tuple[Finding | None, int]:
    """Starts a worker on each further device and has it load the model, as the site would; they stay until
    `close_devices`.

    Returns:
        What was found, None where there is one device; and how many share a round's sums out.
    """
    try:
        devices = device_group(model, asked)
        if devices is None:
            return None, 1
        with model.lock:
            devices.prepare(recipe)
    except SealoraError as error:
        return failed("devices", str(error)), 1
    count = 1 + len(devices.pids)
    return passed("devices", f"{count} of them compute the same, to the last bit"), count
