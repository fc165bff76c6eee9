"""The Helm charts, linted and rendered by Helm's own library.

It is Go code in a shared object, so it works in a process of its own: a runtime of that kind does not go away again.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_files import DEPLOY

RELEASE = "test-release"
CASES = sorted(
    f"{path.parents[1].name}/{path.name.removesuffix('-values.yaml')}"
    for path in DEPLOY.glob("helm/*/ci/*-values.yaml")
)
"""Chart and example values: `sealora-site/gpu`."""

_RENDER = """
import json, sys
import helm_python
asked = json.load(sys.stdin)
answer = {"lint": helm_python.lint(asked["chart"], asked["values"], strict=True)}
try:
    with helm_python.Chart.load(asked["chart"]) as chart:
        answer["files"] = chart.render(asked["values"], name=asked["release"], namespace="default")
except helm_python.HelmError as error:
    answer["error"] = str(error)
json.dump(answer, sys.stdout)
"""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Rendered:
    """What Helm made of a chart.

    Attributes:
        lint: what `helm lint --strict` has to say, but for the advice to have an icon.
        error: why nothing was rendered, if nothing was.
        manifests: the Kubernetes objects.
        notes: what a person is told after the installation.
    """

    lint: tuple[str, ...]
    error: str | None
    manifests: tuple[Manifest, ...]
    notes: str

    def all(self, kind: str) -> list[Manifest]:
        """The objects of a kind."""
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def one(self, kind: str) -> Manifest:
        """The only object of a kind."""
        (manifest,) = self.all(kind)
        return manifest

    @property
    def pod(self) -> Manifest:
        """The spec of the chart's pod."""
        pod: Manifest = self.one("StatefulSet")["spec"]["template"]["spec"]
        return pod


def chart_of(case: str) -> Path:
    """The directory of a case's chart."""
    return DEPLOY / "helm" / case.partition("/")[0]


def values_of(case: str) -> dict[str, Any]:
    """A case's values."""
    chart, _, name = case.partition("/")
    values: dict[str, Any] = yaml.safe_load((DEPLOY / "helm" / chart / "ci" / f"{name}-values.yaml").read_text())
    return values


@cache
def rendered(case: str) -> Rendered:
    """A chart under its example values."""
    return render(chart_of(case), values_of(case))


def render(chart: Path, values: dict[str, Any]) -> Rendered:
    """A chart under any values; skips the test where Helm's library is missing."""
    if importlib.util.find_spec("helm_python") is None:
        pytest.skip("helm-python-sdk is not installed here: this check did not run")
    asked = json.dumps({"chart": str(chart), "values": values, "release": RELEASE})
    done = subprocess.run([sys.executable, "-c", _RENDER], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    messages = [f"{message['path']}: {message['error']}" for message in answer["lint"]["messages"]]
    files = answer.get("files", {})
    notes = [name for name in files if name.endswith("NOTES.txt")]
    text = "\n---\n".join(content for name, content in files.items() if name not in notes)
    return Rendered(
        lint=tuple(message for message in messages if "icon is recommended" not in message),
        error=answer.get("error"),
        manifests=tuple(manifest for manifest in yaml.safe_load_all(text) if manifest),
        notes="".join(files[name] for name in notes),
    )
