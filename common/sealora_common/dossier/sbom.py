"""What was installed where a part was written, as CycloneDX 1.6 in JSON (ECMA-424).

By hand, as it is a list: the library that writes such lists is no part of an installation. A test holds it to the
library's schema.
"""

from __future__ import annotations

import json
import re
import uuid
from importlib.metadata import Distribution, distributions
from urllib.parse import quote

from sealora_common import __version__

SBOM = "sbom.cdx.json"


def sbom(created: str) -> bytes:
    """The installed distributions, as they were at `created` (UTC, ISO 8601)."""
    found = {_name(each): each for each in distributions() if each.metadata["Name"]}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": created,
            "component": {
                "type": "application",
                "bom-ref": "sealora",
                "name": "sealora",
                "version": __version__,
                "purl": f"pkg:pypi/sealora@{__version__}",
            },
        },
        "components": [_component(name, found[name]) for name in sorted(found) if name != "sealora"],
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def _name(distribution: Distribution) -> str:
    """As the registry compares names."""
    return re.sub(r"[-_.]+", "-", str(distribution.metadata["Name"])).lower()


def _component(name: str, distribution: Distribution) -> dict[str, object]:
    purl = f"pkg:pypi/{name}@{quote(distribution.version, safe='')}"
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": distribution.version,
        "purl": purl,
    }
    if "License-Expression" in distribution.metadata:
        component["licenses"] = [{"expression": str(distribution.metadata["License-Expression"])}]
    return component
