"""The files that `sealora-site init` begins for a person to complete: site.yaml and policy.yaml."""

from __future__ import annotations

from pathlib import Path

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
ca: ca.pem

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
# the data. `sealora-site policy explain RECIPE` says what they mean for a recipe.

# Most that a data set may spend over its lifetime, all runs and recipes together, and the delta this is meant at.
epsilon_limit: 8.0
delta_limit: 1.0e-5

# Smallest federation (or group of one that seals in groups), and smallest sum that this site helps to open. With two,
# each party reads the other's part.
minimum_sites: 3
minimum_survivors: 3

# How many members must have co-signed the roster (`sealora-site roster cosign`).
roster_cosignatures: 0

# The weakest server a recipe may be sealed against, and the smallest unit of privacy (record or person).
adversary: malicious
unit: record

# Any of these lines narrows what recipes may ask for; without it, anything goes.
# base_models: [SHA-256 of `sealora-site model digest`]
# adapters: [lora]
# most_parameters: 100000000
# rank: [1, 64]
# rounds: [1, 100]
# learning_rate: [1.0e-6, 1.0e-2]
# target_modules: [all-linear]
# objectives: [causal, classification]
# mechanisms: [local]

# Hours in which orders are taken, and their time zone; without them, at any time.
# hours: ["20:00-06:00"]
# time_zone: Europe/Berlin
"""


def begin_site_file(directory: Path, name: str, data: Path, coordinator: str | None, server: str | None) -> Path:
    """Writes `site.yaml`, with what is not known yet left as comments, unless there is one.

    Raises:
        StorageError: it could not be written.
    """
    path = directory / "site.yaml"
    if not path.exists():
        text = _SITE.format(
            name=name,
            data=data,
            coordinator=f"coordinator: {coordinator}" if coordinator else "# coordinator: 64 hexadecimal digits",
            server=f"server: {server}" if server else "# server: https://host:9443",
        )
        write_atomically(path, text.encode())
    return path


def begin_policy_file(directory: Path) -> Path:
    """Writes a careful `policy.yaml`, unless there is one.

    Raises:
        StorageError: it could not be written.
    """
    path = directory / "policy.yaml"
    if not path.exists():
        write_atomically(path, _POLICY.encode())
    return path
