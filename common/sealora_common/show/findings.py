"""A pre-flight as it goes: a line a finding, or one JSON object at its end."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rich.text import Text

from sealora_common.health.finding import Finding
from sealora_common.show.console import SafeConsole
from sealora_common.show.say import say_json

_STYLE = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def show_findings(findings: Iterable[Finding], *, as_json: bool, ready: str) -> bool:
    """Prints each finding as soon as it is there; whether none of them is a failure.

    Args:
        findings: of a pre-flight; they are computed while they are shown.
        as_json: print one JSON object, and nothing before it.
        ready: the sentence for when nothing failed.
    """
    found: list[Finding] = []
    console = SafeConsole(highlight=False, soft_wrap=True)
    for finding in findings:
        found.append(finding)
        if not as_json:
            console.print(
                Text(finding.status, style=_STYLE[finding.status]), Text(f" {finding.check:<12} {finding.said}")
            )
    failures = sum(finding.status == "fail" for finding in found)
    if as_json:
        say_json(json.dumps({"ok": failures == 0, "checks": [finding.model_dump() for finding in found]}, indent=2))
    else:
        console.print(f"{failures} of {len(found)} checks failed." if failures else ready)
    return not failures
