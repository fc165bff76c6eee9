"""The command `sealora-site`, one file a subcommand: options and words for people, never what a subcommand does."""

from sealora_client.cli.program import cli, main

__all__ = ["cli", "main"]
