"""Who asks something of a running server, and when two who ask are one."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ACCOUNT = "account:"
"""What settings put before the name of an account of this machine, beside which persons have theirs bare."""


class Person(BaseModel):
    """Somebody who was found to be who they say: by the kernel, at the operator's socket, or by a login."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=256)
    account: bool = False
    """Whether it is the name of an account of this machine."""
    subject: str = Field(default="", max_length=1024)
    """What a login service knows the person by, whatever name they have at the moment; empty if none vouches."""

    @model_validator(mode="after")
    def _is_not_called_like_an_account(self) -> Self:
        if not self.account and self.name.casefold().startswith(ACCOUNT):
            raise ValueError("a person's name begins like an account's")
        return self

    @classmethod
    def of_account(cls, name: str) -> Person:
        """Whoever is at work under an account of this machine."""
        return cls(name=name, account=True)

    @property
    def listed(self) -> str:
        """How settings name them."""
        return f"{ACCOUNT}{self.name}" if self.account else self.name

    def may_be(self, other: Person) -> bool:
        """Whether both may be one: an account of a person's name counts as theirs, and so does another spelling."""
        same_subject = bool(self.subject) and self.subject == other.subject
        return same_subject or self.name.casefold() == other.name.casefold()
