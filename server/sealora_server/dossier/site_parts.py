"""The parts that sites wrote and signed: checked, and asked for nothing but what they say in a word."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from sealora_common.config import CONFIGURATION, LARGE, from_json, json_value, read_file, why_not
from sealora_common.dossier.directory import read_signed
from sealora_common.dossier.manifest import DossierManifest
from sealora_common.dossier.server_part import AttachedPart
from sealora_common.dossier.site_part import PART, SitePart
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.records.names import SITES
from sealora_server.dossier.run_evidence import RunEvidence
from sealora_server.simulation.sites import simulated_sites

_STATEMENT = "evidence/statement.txt"
_AUDIT = "evidence/audit.json"

PartFiles = dict[str, bytes]
"""Path in a part -> content."""


def read_parts(run: RunEvidence, directories: Sequence[Path]) -> dict[str, PartFiles]:
    """The parts in `directories` by their sites, each signed by its site of the run's roster, and of this run.

    Raises:
        PolicyError: one is not, or was changed, or two are of one site.
        StorageError: one cannot be read.
    """
    found: dict[str, PartFiles] = {}
    for directory in directories:
        manifest, files = read_signed(directory)
        _require_of_run(run, manifest, files, directory)
        if manifest.name in found:
            raise PolicyError(f"{directory}: is a second part of {manifest.name!r}: give one of each site")
        found[manifest.name] = files
    return found


def simulated_parts(run: RunEvidence, audits: Sequence[Path], scratch: Path) -> dict[str, PartFiles]:
    """The parts of the sites of a simulation, which lie in its directory; none where it is no simulation.

    Args:
        run: the run.
        audits: `audit.json` files, each of one of the sites.
        scratch: a directory to write the parts to on their way, made and removed.

    Raises:
        PolicyError: an audit is of no site of the run, or of another recipe.
        StorageError: a site's file is damaged.
    """
    homes = {site: run.evidence.root / SITES / site for site in run.sites}
    simulated = {site: home for site, home in homes.items() if (home / "site.yaml").exists()}
    by_site = _by_site(audits)
    if audits and not simulated:
        raise PolicyError("--audit is of a site's own records: give it to `sealora-site dossier` at that site")
    if unknown := sorted(set(by_site) - set(simulated)):
        raise PolicyError(f"{by_site[unknown[0]]}: is the audit of {unknown[0]!r}, which is no site of this run")
    if not simulated:
        return {}
    sites = simulated_sites()
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        made = []
        for site, home in simulated.items():
            if sites.dossier_part(home, run.run_id, scratch / site, by_site.get(site)):
                made.append(scratch / site)
        return read_parts(run, made)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def attached(run: RunEvidence, parts: Mapping[str, PartFiles]) -> tuple[AttachedPart, ...]:
    """What the server's part says of each site's: that it is here, and what it says in a word. No figure of it."""
    return tuple(_attached(site, parts.get(site)) for site in run.sites)


def _attached(site: str, files: PartFiles | None) -> AttachedPart:
    if files is None:
        return AttachedPart(site=site, attached=False, standing=None, has_statement=False, has_audit=False)
    return AttachedPart(
        site=site,
        attached=True,
        standing=_part(files, site).clearance.standing,
        has_statement=_STATEMENT in files,
        has_audit=_AUDIT in files,
    )


def _part(files: PartFiles, where: object) -> SitePart:
    try:
        return from_json(SitePart, files[PART], LARGE)
    except KeyError:
        raise PolicyError(f"{where}: has no {PART}: ask the site for its part again") from None
    except UnreadableError as error:
        raise PolicyError(f"{where}: its {PART} cannot be read ({error}): ask the site for its part again") from None


def _require_of_run(run: RunEvidence, manifest: DossierManifest, files: PartFiles, where: Path) -> None:
    if manifest.kind != "site":
        raise PolicyError(f"{where}: is the server's part of a dossier: give parts of sites")
    if manifest.run != run.run_id or manifest.recipe_hash != run.recipe.hash:
        raise PolicyError(f"{where}: is of run {manifest.run[:12]}, this is {run.run_id[:12]}: ask for that one's part")
    keys = {member.public_key for roster in run.rosters for member in roster.members if member.name == manifest.name}
    if manifest.public_key not in keys:
        raise PolicyError(
            f"{where}: is signed by a key ({manifest.fingerprint}) that the run's roster does not have for "
            f"{manifest.name!r}: ask that site for its part"
        )
    part = _part(files, where)
    if (part.site, part.run, part.recipe_hash) != (manifest.name, manifest.run, manifest.recipe_hash):
        raise PolicyError(f"{where}: its {PART} is of another site or run than its manifest: ask for the part again")


def _by_site(audits: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in audits:
        try:
            audit = json_value(read_file(path, CONFIGURATION.longest))
        except (OSError, UnreadableError) as error:
            raise PolicyError(
                f"{path}: cannot be read ({why_not(error)}): give audit.json of `sealora audit`"
            ) from None
        site = audit.get("site") if isinstance(audit, dict) else None
        if not isinstance(site, str) or site in found:
            raise PolicyError(f"{path}: is no audit.json of a site of its own: give one of each site")
        found[site] = path
    return found
