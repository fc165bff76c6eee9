"""A consortium that is being founded: a server's directory, a coordinator's roster, a recipe, and sites' records.

Everybody types the commands they have. `Joining.sealora` and `Joining.site` run one in this process and return what it
printed; a sentence on what is wrong is raised.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
import yaml
from typer.testing import CliRunner

from sealora_client.cli import cli as site_cli
from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity, key_from_text, write_public_key
from sealora_common.invitation import Invitation
from sealora_common.roster import Roster
from sealora_server.cli import cli as server_cli
from sealora_server.deployment.initialise import initialise

RECIPE: dict[str, Any] = {
    "name": "notes",
    "rounds": 3,
    "model": {"base": "smollm2-135m-instruct", "digest": "ab" * 32},
    "privacy": {"epsilon": 4.0, "delta": 1e-4},
    "sites": {"simulated": {"berlin": "/home/researcher/berlin.jsonl"}},
}


@dataclass
class Joining:
    """The files of all parties, each in a folder of its own below `path`."""

    path: Path
    names: tuple[str, ...] = ("berlin", "lyon", "porto")
    recipe: dict[str, Any] = field(default_factory=lambda: RECIPE)

    def __post_init__(self) -> None:
        initialise(self.path / "server", ["localhost"], listen="127.0.0.1:9443")
        self.sealora("roster", "create", self.roster, "--consortium", "three towns", "--key", self.key,
                     "--server", self.path / "server/identity.pub")  # fmt: skip
        self.write_recipe()
        for name in self.names:
            self.write_records(name)

    @property
    def roster(self) -> Path:
        return self.path / "roster.json"

    @property
    def key(self) -> Path:
        return self.path / "coordinator.pem"

    @property
    def fingerprint(self) -> str:
        """What the coordinator reads out."""
        return self.sealora("roster", "coordinator", self.roster).strip()

    def directory(self, name: str) -> Path:
        """A site's."""
        return self.path / "sites" / name

    def records(self, name: str) -> Path:
        return self.path / "records" / f"{name}.jsonl"

    def invitation(self, name: str) -> Path:
        """The file that a site was sent last."""
        return self.path / "mail" / f"{name}.invitation.json"

    def write_recipe(self, **sections: Any) -> Path:
        """Writes the recipe, with `sections` in place of those it has."""
        path = self.path / "recipe.yaml"
        path.write_text(yaml.safe_dump(self.recipe | sections), encoding="utf-8")
        return path

    def write_records(self, name: str, count: int = 40) -> None:
        self.records(name).parent.mkdir(exist_ok=True)
        lines = [
            {"prompt": f"{name} {number}?", "response": str(number), "split": "heldout" if number < 4 else "train"}
            for number in range(count + 4)
        ]
        self.records(name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def sealora(self, *words: object) -> str:
        return _typed(server_cli, words)

    def site(self, *words: object, typed: str = "") -> str:
        return _typed(site_cli, words, typed)

    def invite(self, *names: str, **options: object) -> str:
        """The server's operator writes invitations; `options` are added to the command."""
        given = {"roster": self.roster, "recipe": self.path / "recipe.yaml", "out": self.path / "mail"} | options
        words = [word for name, value in given.items() if value is not None for word in (f"--{name}", value)]
        return self.sealora("server", "invite", *names, *words, "--config", self.path / "server/server.yaml")

    def join(self, name: str, *options: object, mail: Path | None = None, typed: str = "") -> str:
        """A site's person joins, the first time or the second; `options` are added to the command."""
        words = ["join", mail or self.invitation(name), "--directory", self.directory(name), *options]
        return self.site(*words, typed=typed)

    def begin(self, name: str, *options: object) -> str:
        """The first step of one site, with what it was sent."""
        return self.join(name, "--data", self.records(name), "--coordinator-fingerprint", self.fingerprint, *options)

    def sign(self, *names: str) -> None:
        """The coordinator adds the cards of these sites, or of all, and signs."""
        cards = [self.directory(name) / f"{name}.card.json" for name in names or self.names]
        self.sealora("roster", "add", self.roster, *cards)
        self.sealora("roster", "sign", self.roster, "--key", self.key)

    def loaded(self) -> Roster:
        """The coordinator's roster."""
        return Roster.load(self.roster, draft=True)

    def other_server(self) -> None:
        """The server gets another identity than the coordinator put on the roster."""
        server = Identity.create("server", SystemEntropy())
        server.save(self.path / "server/identity.pem")
        write_public_key(self.path / "server/identity.pub", server.public_key)

    def listen_anywhere(self) -> None:
        """server.yaml no longer says at which port sites reach the server."""
        path = self.path / "server/server.yaml"
        path.write_text(path.read_text().replace("9443", "0"))

    def until_signed(self) -> None:
        """All that comes before the second step of any site."""
        self.invite(*self.names)
        for name in self.names:
            self.begin(name)
        self.sign()
        self.invite()

    def forge(self, name: str, *, signer: Identity | None = None, **changes: Any) -> Path:
        """An invitation like the last of `name` with other values, signed anew: by the server itself, which lies, or by
        a stranger."""
        honest = Invitation.load(self.invitation(name))
        by = signer or Identity.load("server", self.path / "server/identity.pem")
        values: dict[str, Any] = {
            "server": honest.server,
            "ca": honest.ca,
            "coordinator": Roster.load(self.roster, draft=True).coordinator,
            "recipe": honest.recipe,
            "recipe_hash": honest.recipe_hash,
            "roster": honest.roster,
        }
        values |= changes
        values["coordinator"] = key_from_text(values["coordinator"])
        path = self.path / "mail" / "forged.json"
        Invitation.create(values.pop("site", name), signer=by, **values).save(path)
        return path


def _typed(program: typer.Typer, words: tuple[object, ...] | list[object], typed: str = "") -> str:
    result = CliRunner().invoke(program, [str(word) for word in words], input=typed)
    if result.exception is not None:
        raise result.exception
    return result.output
