"""TLS contexts. With certificates and servers they are tried in `tests/client/fleet/test_tls.py`."""

from __future__ import annotations

import ssl

import pytest

from sealora_common.errors import StorageError
from sealora_common.network.tls import client_context, unverified_client_context


def test_no_tls_older_than_1_2_is_spoken_and_certificates_are_checked_against_names():
    context = client_context(None)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_a_look_at_a_handshake_takes_any_certificate():
    assert unverified_client_context().verify_mode == ssl.CERT_NONE


def test_an_authority_that_cannot_be_used_is_told_in_one_sentence(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate", encoding="utf-8")
    with pytest.raises(StorageError, match="no certificate in PEM form"):
        client_context(tmp_path / "ca.pem")
    with pytest.raises(StorageError, match="No such file"):
        client_context(tmp_path / "missing.pem")
