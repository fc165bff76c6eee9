"""Nodes that are not let in: the operator reads one line a node, and nothing of what they sent."""

from __future__ import annotations

import asyncio
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fleet_bench import FleetBench
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from sealora_server.deployment import refused_nodes
from sealora_server.deployment.refused_nodes import RefusedNodes, fingerprint


def test_a_key_has_the_fingerprint_that_ssh_keygen_shows(tmp_path):
    key = generate_private_key(SECP384R1()).public_key()
    (tmp_path / "key.pub").write_bytes(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    shown = subprocess.run(["ssh-keygen", "-lf", tmp_path / "key.pub"], capture_output=True, text=True, check=False)
    found = fingerprint(public_key_to_bytes(key))
    assert found.startswith("SHA256:")
    assert len(found) == 50
    if shown.returncode == 0:
        assert found in shown.stdout


@pytest.mark.parametrize("key", [b"", b"\xff\x00", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_is_said_to_be_none(key, caplog):
    RefusedNodes().unknown(key)
    assert "(no key at all)" in caplog.records[0].getMessage()
    assert "BEGIN" not in caplog.text


def test_each_is_told_of_once_and_no_more_are_remembered_than_so_many(caplog, monkeypatch):
    monkeypatch.setattr(refused_nodes, "_REMEMBERED", 3)
    keys = [public_key_to_bytes(generate_private_key(SECP384R1()).public_key()) for _ in range(4)]
    refused = RefusedNodes()
    for key in (keys[0], keys[0], keys[1], keys[0]):
        refused.unknown(key)
    assert len(caplog.records) == 2
    for key in (*keys[1:], keys[0]):
        refused.unknown(key)
    assert len(refused._told) == 3
    caplog.clear()
    for since in ("t1", "t1", "t2"):
        refused.busy("os\x1b[2Jlo", since)
    assert [record.getMessage()[:14] for record in caplog.records] == ["site os [2Jlo "] * 2


def test_what_a_check_asks_is_in_no_log_and_a_second_session_is_by_the_site_s_name(caplog):
    caplog.set_level("INFO")
    bench = FleetBench()
    node = bench.node()  # which is online

    async def ask() -> list[int]:
        requests = [
            ActivateNodeRequest(public_key=bench.pem(node), heartbeat_interval=interval) for interval in (0, 30, 0, 30)
        ]
        statuses = [(await bench.post("activate-node", request, node)).status for request in requests]
        late = PullMessagesRequest(node=Node(node_id=node + 1))
        return [*statuses, (await bench.post("pull-messages", late, node)).status]

    assert all(status >= 400 for status in asyncio.run(ask()))
    ours = [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert len(ours) == 1
    assert "asked for a second session while one is open" in ours[0]
    assert "PUBLIC KEY" not in caplog.text
