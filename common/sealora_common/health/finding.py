"""One line of a pre-flight."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Status = Literal["pass", "warn", "fail"]


class Finding(BaseModel):
    """What one check found. If it is no pass, the sentence ends in what to do."""

    model_config = ConfigDict(frozen=True)

    check: str
    status: Status
    said: str


def passed(check: str, said: str) -> Finding:
    return Finding(check=check, status="pass", said=said)


def warned(check: str, said: str) -> Finding:
    return Finding(check=check, status="warn", said=said)


def failed(check: str, said: str) -> Finding:
    return Finding(check=check, status="fail", said=said)
