"""What `sealora-site check` finds at a site."""

from __future__ import annotations

import json

from enrolled_site import EnrolledSite
from typer.testing import CliRunner

from sealora_client.cli import cli
from sealora_common.identity.card import create_node_key

Finding = dict[str, str]


def check(site: EnrolledSite, *options: str) -> tuple[int, list[Finding]]:
    result = CliRunner().invoke(cli, ["check", "--config", str(site.config), "--json", *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    told = json.loads(result.stdout)
    assert told["ok"] == (result.exit_code == 0)
    assert all(set(finding) == {"check", "status", "said"} for finding in told["checks"])
    assert all("\n" not in finding["said"] for finding in told["checks"])
    return result.exit_code, told["checks"]


def not_passed(site: EnrolledSite, *options: str) -> list[tuple[str, str, str]]:
    code, findings = check(site, *options)
    left = [(each["status"], each["check"], each["said"]) for each in findings if each["status"] != "pass"]
    assert code == any(status == "fail" for status, _, _ in left)
    return left


def another_node_key(site: EnrolledSite) -> None:
    create_node_key(site.directory / "node.key")
