"""The files that a site begins with, for a person to complete or change: site.yaml and policy.yaml."""

from __future__ import annotations

from pathlib import Path

import yaml

from sealora_client.site.policy import SitePolicy
from sealora_common.storage.durable import write_atomically

_SITE = """\
# Who this site is and how it reaches its federation. `sealora-site check` says what is missing or wrong.
name: {name}

# This site's records, one JSON object a line. They stay here.
data: {data}

# The pin of the coordinator's key, which signs the roster. Compare the key's fingerprint by telephone (`sealora-site
# roster show`): a mail can be forged.
{coordinator}

# The server's front, and the authority that signs its certificate. Both come from the server's operator.
{server}
{ca}

# /healthz, /readyz and /metrics for this site's own monitoring; null for none.
health: 127.0.0.1:9181

# text for people, json for log collectors.
log_format: text

# Several GPUs share training out, with the same result to the last bit: how many, or which ([cuda:0, cuda:1]). On a
# machine without a GPU, so many processes that share its CPU out.
# devices: 2
"""

_POLICY = """\
# What no server can override. These lines are this site's to decide; the first two are its promise to whoever is in
# the data. `sealora-site policy explain RECIPE` says what they mean for a recipe. Every line: docs/settings.md.

# Most that a data set may spend over its lifetime, all runs and recipes together, and the delta this is meant at.
# Delta: {why}.
epsilon_limit: {epsilon_limit}
delta_limit: {delta_limit}

# Smallest federation (or group of one that seals in groups), and smallest sum that this site helps to open. With two,
# each party reads the other's part.
minimum_sites: {minimum_sites}
minimum_survivors: {minimum_survivors}

# How many members must have co-signed the roster (`sealora-site roster cosign`).
roster_cosignatures: {roster_cosignatures}

# The weakest server a recipe may be sealed against, and the smallest unit of privacy (record or person).
adversary: {adversary}
unit: {unit}
{loosened}
# Any of these lines narrows what recipes may ask for; without it, anything goes.
{narrowing}
# Hours in which orders are taken, and their time zone; without them, at any time.
# hours: ["20:00-06:00"]
# time_zone: Europe/Berlin
"""
_NARROWING = {
    "base_models": "[SHA-256 of `sealora-site model digest`]",
    "adapters": "[lora]",
    "most_parameters": "100000000",
    "rank": "[1, 64]",
    "rounds": "[1, 100]",
    "learning_rate": "[1.0e-6, 1.0e-2]",
    "target_modules": "[all-linear]",
    "objectives": "[causal, classification]",
    "mechanisms": "[local]",
}
"""Lines that narrow what recipes may ask for, with what could stand there."""
_LOOSENING = {
    "allow_without_privacy": "Agreed to: a recipe without differential privacy, whose sums may tell of single records.",
    "allow_groups_without_privacy": "Agreed to: sums of few sites each, which are read by themselves.",
}


def policy_text(policy: SitePolicy, why: str) -> str:
    """`policy.yaml` with these values, and as comments the lines that it leaves open.

    Args:
        policy: what it says.
        why: where its delta comes from, in a few words.
    """
    values = policy.model_dump(mode="json")
    said = {name: _in_yaml(values[name]) for name in values}
    narrowing = "".join(
        f"{name}: {said[name]}\n" if name in policy.model_fields_set else f"# {name}: {example}\n"
        for name, example in _NARROWING.items()
    )
    loosened = "".join(f"\n# {why}\n{name}: true\n" for name, why in _LOOSENING.items() if values[name])
    text = _POLICY.format(**said, narrowing=narrowing, loosened=loosened, why=why)
    return text


def _in_yaml(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=2**16).removesuffix("\n...\n").strip()


def begin_site_file(
    directory: Path, name: str, data: Path, coordinator: str | None, server: str | None, *, pins_ca: bool = True
) -> Path:
    """Writes `site.yaml`, with what is not known yet left as comments, unless there is one.

    Args:
        directory: the site's.
        name: of the site.
        data: its records.
        coordinator: the pin of the coordinator's key, if it is known.
        server: the front's address, if it is known.
        pins_ca: whether the server's certificate is signed by an authority of its own, in `ca.pem`.

    Raises:
        StorageError: it could not be written.
    """
    path = directory / "site.yaml"
    if not path.exists():
        text = _SITE.format(
            name=name,
            data=_in_yaml(str(data)),
            coordinator=f"coordinator: {coordinator}" if coordinator else "# coordinator: 64 hexadecimal digits",
            server=f"server: {server}" if server else "# server: https://host:9443",
            ca="ca: ca.pem" if pins_ca else "# ca: ca.pem",
        )
        write_atomically(path, text.encode())
    return path


def begin_policy_file(directory: Path, policy: SitePolicy, why: str) -> Path:
    """Writes `policy.yaml` with these values, unless there is one; see `policy_text`.

    Raises:
        StorageError: it could not be written.
    """
    path = directory / "policy.yaml"
    if not path.exists():
        write_atomically(path, policy_text(policy, why).encode())
    return path
