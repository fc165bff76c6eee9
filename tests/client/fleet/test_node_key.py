from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sealora_client.fleet.node_key import load_node_key, public_half
from sealora_common.errors import StorageError
from sealora_common.identity import PASSPHRASE_FILE
from sealora_common.identity.card import create_node_key


@pytest.fixture(autouse=True)
def no_passphrase_from_outside(monkeypatch):
    monkeypatch.delenv(PASSPHRASE_FILE, raising=False)


def test_it_reads_what_init_writes(tmp_path):
    public = create_node_key(tmp_path / "node.key")
    assert public_half(load_node_key(tmp_path / "node.key")) == public


def test_it_opens_a_locked_one_which_a_supernode_cannot(tmp_path, monkeypatch):
    public = create_node_key(tmp_path / "node.key", b"secret")
    (tmp_path / "passphrase").write_text("secret\n")
    monkeypatch.setenv(PASSPHRASE_FILE, str(tmp_path / "passphrase"))
    assert public_half(load_node_key(tmp_path / "node.key")) == public
    (tmp_path / "passphrase").write_text("wrong\n")
    with pytest.raises(StorageError, match="cannot be opened, the passphrase is wrong"):
        load_node_key(tmp_path / "node.key")


def test_a_locked_one_without_passphrase_names_the_remedy(tmp_path):
    create_node_key(tmp_path / "node.key", b"secret")
    with pytest.raises(StorageError, match=f"name a file that holds it in {PASSPHRASE_FILE}"):
        load_node_key(tmp_path / "node.key")


def test_one_that_others_can_read_is_refused(tmp_path):
    create_node_key(tmp_path / "node.key")
    (tmp_path / "node.key").chmod(0o640)
    with pytest.raises(StorageError, match="others can read this private key"):
        load_node_key(tmp_path / "node.key")


def test_a_missing_one_is_said(tmp_path):
    with pytest.raises(StorageError, match="the node key is missing: restore it from a backup or enrol anew"):
        load_node_key(tmp_path / "node.key")


OTHERS = {
    "a P-256 key": lambda: generate_private_key(SECP256R1()),
    "an Ed25519 key": Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_kind_of_key_is_refused(tmp_path, case):
    path = tmp_path / "node.key"
    path.write_bytes(OTHERS[case]().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(StorageError, match="not a P-384 private key"):
        load_node_key(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"-----BEGIN OPENSSH PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused(tmp_path, content):
    path = tmp_path / "node.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StorageError, match="it is no private key"):
        load_node_key(path)
