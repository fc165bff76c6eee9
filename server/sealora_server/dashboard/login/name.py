"""A person's name, whoever vouches for it."""

from __future__ import annotations

import re

from sealora_common.errors import PolicyError
from sealora_server.deployment.operator.person import ACCOUNT

_NAME = re.compile(r"[!-~]{1,255}")


def person_name(name: str) -> str:
    """The name, if it is one that can be compared and shown without doubt.

    Raises:
        PolicyError: it has spaces or other letters than ASCII has, or is what settings call an account.
    """
    if _NAME.fullmatch(name) is None or name.lower().startswith(ACCOUNT):
        raise PolicyError(
            "this name cannot be used here: it must be up to 255 ASCII letters, digits and signs, without spaces"
        )
    return name
