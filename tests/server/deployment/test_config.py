from __future__ import annotations

import pytest

from sealora_server.deployment.config import ServerConfig
from sealora_server.deployment.errors import DeploymentError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hosts: []", "hosts: "),
        ("listen: 0.0.0.0:9443", "hosts: missing: add it"),
        ("hosts: [a]\nlistn: b", "listn: unknown key, did you mean 'listen'?"),
        ("hosts: [a]\nlisten: here", "listen: 'here' is no address and port, such as 0.0.0.0:9443"),
        ("hosts: [a]\nlimits: {body_bytes: 5}", "limits.body_bytes: "),
        ("hosts: [a]\nfront: apache", "front: 'apache' will not do: input should be 'embedded', 'nginx' or 'none'"),
        ("hosts: [a, 'https://x:9443']", "hosts: ['a', 'https://x:9443'] will not do: 'https://x:9443' is no"),
        ("hosts: ['[::1]']", "hosts: ['[::1]'] will not do: '[::1]' is no host name and no address: write '::1'"),
        ("hosts: [a]\ndashboard: {listen: '0.0.0.0:9190'}", "dashboard: other machines would log in at 0.0.0.0:9190"),
        (
            "hosts: [a]\napproval: {required: true}",
            "server: nobody could approve a run, as approval.required demands: add",
        ),
        ("hosts: [a]\napproval: {required: true, approvers: [anna]}", "server: nobody could approve a run"),
        ("hosts: [a", "cannot be read ("),
        ("[]", "server: "),
        ("", "server: "),
    ],
)
def test_what_is_wrong_is_said_with_file_and_field(tmp_path, text, said):
    path = tmp_path / "server.yaml"
    path.write_text(text)
    with pytest.raises(DeploymentError) as caught:
        ServerConfig.load(path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_no_text_ends_in_a_sentence(tmp_path):
    with pytest.raises(DeploymentError, match="no such file: name the server's with --config"):
        ServerConfig.load(tmp_path / "server.yaml")
    (tmp_path / "server.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DeploymentError, match="cannot be read"):
        ServerConfig.load(tmp_path / "server.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "dashboard: {}",
        "dashboard: {listen: '[::1]:9190'}",
        "dashboard: {listen: '0.0.0.0:9190', tls: proxy}",
        "approval: {required: true}\ndashboard: {}",
        "approval: {required: true, approvers: ['account:root']}",
        "approval: {approvers: [anna]}",
    ],
)
def test_where_somebody_can_log_in_and_approve_nothing_is_said(tmp_path, text):
    (tmp_path / "server.yaml").write_text(f"hosts: [a]\n{text}\n")
    ServerConfig.load(tmp_path / "server.yaml")


def test_hosts_are_all_that_must_be_said(tmp_path):
    (tmp_path / "server.yaml").write_text("hosts: [a]")
    config = ServerConfig.load(tmp_path / "server.yaml")
    assert (config.front, config.listen, config.superlink_state) == ("embedded", "0.0.0.0:9443", "memory")


@pytest.mark.parametrize("value", ["", ":", "a", "a:", ":80", "a:b", "a:-1", "a:65536", "a:8 0"])
def test_what_is_no_address_is_refused(tmp_path, value):
    (tmp_path / "server.yaml").write_text(f"hosts: [a]\nlisten: {value!r}\n")
    with pytest.raises(DeploymentError, match=r"is no address and port, such as 0\.0\.0\.0:9443"):
        ServerConfig.load(tmp_path / "server.yaml")
