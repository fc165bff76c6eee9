"""The devices of the site, or of the sites of a simulation, that this process is: started when they are asked for."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence

from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.device import device_names
from sealora_client.training.devices.group import DeviceGroup, require_first

_groups: dict[tuple[str, ...], tuple[AdaptedModel, DeviceGroup]] = {}


def device_group(model: AdaptedModel, asked: int | Sequence[str]) -> DeviceGroup | None:
    """The devices that share the model's sums out; None if this process is the only one. They are not prepared yet.

    Args:
        model: a process works with one at a time: another's devices are closed.
        asked: `devices` of the site's site.yaml.

    Raises:
        ModelError: this machine has not all of them, or the model lies on another than the first.
    """
    names = tuple(device_names(asked))
    if len(names) == 1:
        require_first(model, names)
        return None
    for others, (of, group) in list(_groups.items()):
        if of is not model:
            group.close()
            del _groups[others]
    if names not in _groups:
        _groups[names] = model, DeviceGroup(model, names)
    return _groups[names][1]


@atexit.register
def close_devices() -> None:
    """Ends all workers of this process."""
    for _, group in _groups.values():
        group.close()
    _groups.clear()


def _forget() -> None:
    for _, group in _groups.values():
        group.forget()
    _groups.clear()


os.register_at_fork(after_in_child=_forget)
