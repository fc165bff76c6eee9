"""A coordinator at work: `sealora roster` as it is typed in its directory."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from sealora_common.entropy import SeededEntropy
from sealora_common.identity import Identity, write_public_key
from sealora_server.cli import cli

SERVER = Identity.create("server", SeededEntropy("server"))


class Coordinator:
    """A coordinator's directory; methods are commands typed there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.roster = directory / "roster.json"
        self.key = directory / "coordinator.pem"

    def types(self, *words: str | Path, typed: str = "") -> str:
        """`sealora roster ...`; raises what the command raised, returns what it said."""
        result = CliRunner().invoke(cli, ["roster", *map(str, words)], input=typed)
        if result.exception is not None:
            raise result.exception
        return result.output

    def creates(self, *options: str, typed: str = "") -> str:
        server = self.directory.parent / "identity.pub"
        write_public_key(server, SERVER.public_key)
        words = ["--consortium", "Krebsregister Süd", "--server", server, "--key", self.key]
        return self.types("create", self.roster, *words, *options, typed=typed)

    def adds(self, *cards: Path) -> str:
        return self.types("add", self.roster, *cards)

    def signs(self, key: Path | None = None, *options: str) -> str:
        return self.types("sign", self.roster, "--key", key or self.key, *options)

    def shows(self) -> tuple[int, str]:
        """`show`: its exit code and what it said."""
        result = CliRunner().invoke(cli, ["roster", "show", str(self.roster)], terminal_width=200)
        return result.exit_code, result.output
