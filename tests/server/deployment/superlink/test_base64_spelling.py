"""Base64 ends in bits that stand for nothing: a header that sets them is another spelling, and refused."""

from __future__ import annotations

import base64
import datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from fleet_bench import signed

from sealora_server.deployment.superlink.node_auth import NodeAuthentication, UnauthenticatedError

KEY = generate_private_key(SECP384R1())
DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def test_a_signature_with_bits_set_past_its_end_is_refused() -> None:
    at = datetime.datetime.now(datetime.UTC)
    while True:  # a signature's length varies; every third fills its last digit
        at += datetime.timedelta(microseconds=1)
        headers = signed(KEY, at.isoformat())
        name, value = headers[1]
        if value.endswith(b"="):
            break
    last = len(value.rstrip(b"=")) - 1
    respelled = value[:last] + DIGITS[DIGITS.index(value[last]) ^ 1 :][:1] + value[last + 1 :]
    assert respelled != value
    assert base64.b64decode(respelled, validate=True) == base64.b64decode(value, validate=True)
    authentication = NodeAuthentication(lambda key: 1, most=10)
    with pytest.raises(UnauthenticatedError):
        authentication.node([headers[0], (name, respelled), headers[2]])
    assert authentication.node(headers)[0] == 1
