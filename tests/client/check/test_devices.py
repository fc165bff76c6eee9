"""What `sealora-site check` says of the devices that site.yaml names."""

from __future__ import annotations

import pytest
import torch
from enrolled_site import EnrolledSite

from sealora_client.model import device
from sealora_client.training.devices import choice, group

from check_site import check, not_passed


@pytest.fixture(autouse=True)
def _chosen_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check chooses the device of its whole process, which other tests share."""
    monkeypatch.setattr(device, "_chosen", [])


def test_devices_that_are_not_there_are_told(site: EnrolledSite) -> None:
    site.configure(devices=["cuda:7"])
    found = not_passed(site)
    assert [entry[:2] for entry in found] == [("fail", "device"), ("warn", "training")]
    assert found[0][2].startswith("site.yaml: devices: cuda:7 is asked for, but this machine has ")


@pytest.mark.slow
def test_several_are_started_and_compared_and_ended(site: EnrolledSite, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        site.configure(devices=2)
        code, findings = check(site)
        said = {finding["check"]: finding["said"] for finding in findings}
        assert code == 0
        assert said["devices"] == "2 of them compute the same, to the last bit"
        assert said["device"] == "no GPU, 2 threads of the CPU, shared out to 2 processes"
        assert said["memory"]
        assert choice._groups == {}
        assert torch.get_num_threads() == 2
        monkeypatch.setattr(group, "bits_of_device", lambda *_: b"others")
        ((status, name, told),) = not_passed(site)
    finally:
        torch.set_num_threads(threads)
    assert (status, name) == ("fail", "devices")
    assert "computes other bits than the first device" in told


def test_more_processes_than_threads_are_no_help(site: EnrolledSite) -> None:
    site.configure(devices=["cpu"] * 64)
    ((status, name, said),) = not_passed(site, "--quick")
    assert (status, name) == ("warn", "device")
    assert said.startswith("site.yaml: devices: 64 processes share ")
