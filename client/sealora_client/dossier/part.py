"""A site's part: read, judged, and written as a directory that the site signs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sealora_client.dossier.evaluated import evaluated_sections, kept_evaluation
from sealora_client.dossier.ledger_extract import EXTRACT, LedgerExtract
from sealora_client.dossier.lived_run import LivedRun
from sealora_client.dossier.page import part_page
from sealora_client.dossier.sections import (
    Files,
    audit_section,
    base_section,
    data_section,
    measured_section,
    privacy_section,
    receipts_section,
)
from sealora_client.ledger import LEDGER, Ledger, has_ledger
from sealora_common import __version__
from sealora_common.config import CONFIGURATION, read_file, why_not
from sealora_common.dossier.clearance import Clearance
from sealora_common.dossier.directory import now, require_new, write_signed
from sealora_common.dossier.evidence import Evidence, EvidenceFile
from sealora_common.dossier.manifest import DossierManifest
from sealora_common.dossier.sbom import SBOM, sbom
from sealora_common.dossier.site_part import PART, PART_PAGE, PART_PDF, SitePart
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError, StorageError, UnreadableError
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe.hash import agreed_bytes
from sealora_common.records.names import HISTORY
from sealora_common.show.pdf import find_browser, pdf_of

_ROUNDING = 1e-6


@dataclass(frozen=True)
class HandedIn:
    """What a person adds to a site's part.

    Attributes:
        statement: a text file in which the site describes its data.
        audit: `audit.json` of `sealora audit`, of the same recipe and of this site's records.
        recipe: the file of the run's recipe, if it is not the site's `recipe.yaml` any more.
    """

    statement: Path | None = None
    audit: Path | None = None
    recipe: Path | None = None


def write_part(
    directory: Path, run: str, out: Path, handed_in: HandedIn, *, pdf: bool = False
) -> tuple[SitePart, DossierManifest]:
    """Writes the part of the site in `directory` on one run to `out`, signed by the site.

    Raises:
        PolicyError: the run is not known there, or what was handed in is of another run, recipe or site.
        StorageError: a file of the site's is damaged, or `out` holds something or cannot be written.
        SealoraError: the page as PDF is asked for, and no browser is here to print it.
    """
    require_new(out)
    if pdf:
        find_browser()
    at_site = LivedRun.open(directory, run, handed_in.recipe)
    evidence = Evidence(directory)
    files = _files(at_site, evidence, handed_in)
    part = SitePart(
        clearance=_clearance(at_site, files),
        salt=SystemEntropy().bytes(32).hex(),
        site=at_site.name,
        run=at_site.run,
        recipe_hash=at_site.recipe.hash,
        created=now(),
        release=__version__,
        sections=(
            data_section(at_site, files),
            privacy_section(at_site, files),
            receipts_section(at_site, files),
            measured_section(at_site, files),
            *evaluated_sections(files.evaluation),
            audit_section(files),
            base_section(at_site, files, evidence),
        ),
    )
    statement = "" if files.statement is None else files.statement.content.decode()
    page = part_page(part, statement, at_site.identity.fingerprint)
    content = {
        PART: part.model_dump_json(indent=2).encode() + b"\n",
        PART_PAGE: page.encode(),
        **({PART_PDF: pdf_of(page)} if pdf else {}),
        SBOM: sbom(part.created),
        **evidence.files,
    }
    manifest = write_signed(
        out,
        content,
        at_site.identity,
        kind="site",
        name=at_site.name,
        run=at_site.run,
        recipe_hash=at_site.recipe.hash,
    )
    return part, manifest


def _files(run: LivedRun, evidence: Evidence, handed_in: HandedIn) -> Files:
    limits = run.policy.model_dump_json(indent=2, include={"epsilon_limit", "delta_limit"})
    policy = evidence.add("policy.json", limits.encode() + b"\n")
    receipts = evidence.copy(f"receipts/{run.run}.jsonl", as_name="receipts.jsonl") if run.receipts else None
    extract = _extract(run)
    ledger = None
    if extract is not None:
        ledger = evidence.add(EXTRACT, extract.model_dump_json(indent=2).encode() + b"\n")
    return Files(
        recipe=evidence.add("recipe.json", agreed_bytes(run.recipe)),
        policy=policy,
        receipts=receipts,
        history=_history(run, evidence),
        ledger=ledger,
        extract=extract,
        audit=_audit(run, evidence, handed_in.audit),
        evaluation=kept_evaluation(run, evidence),
        statement=_statement(evidence, handed_in.statement),
    )


def _history(run: LivedRun, evidence: Evidence) -> EvidenceFile | None:
    """The run's lines of `history.jsonl`: all, where the site has had no other run, else those that name it."""
    if run.is_only_run:
        return evidence.copy(HISTORY)
    whole = Evidence(run.directory).copy(HISTORY)
    lines = () if whole is None else whole.lines
    own = [line for line in lines if isinstance(line, dict) and line.get("run") == run.run]
    return evidence.add(HISTORY, b"".join(json.dumps(line).encode() + b"\n" for line in own)) if own else None


def _extract(run: LivedRun) -> LedgerExtract | None:
    if not has_ledger(run.directory / LEDGER):
        return None
    plan = privacy_plan(run.recipe, len(run.roster))
    with Ledger(run.directory / LEDGER, run.identity) as ledger:
        return LedgerExtract.of(ledger, run.run, plan, run.recipe.privacy.delta)


def _statement(evidence: Evidence, path: Path | None) -> EvidenceFile | None:
    if path is None:
        return None
    content = _read(path)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise PolicyError(f"{path}: is no text in UTF-8: save it as plain text") from None
    if not text.strip():
        raise PolicyError(f"{path}: is empty: describe the site's data in it, or leave --statement out")
    return evidence.add("statement.txt", content)


def _audit(run: LivedRun, evidence: Evidence, path: Path | None) -> EvidenceFile | None:
    if path is None:
        return None
    file = evidence.add("audit.json", _read(path))
    try:
        site, recipe = (file.field(name, f"/{name}").value for name in ("site", "recipe_hash"))
    except StorageError:
        raise PolicyError(f"{path}: is no audit.json of `sealora audit`: give that file") from None
    if site != run.name:
        raise PolicyError(f"{path}: is the audit of {site!r}, and this is the part of {run.name!r}: give its own")
    # A simulation fills in the model's digest, and an audit does not.
    without = run.recipe.model_copy(update={"model": run.recipe.model.model_copy(update={"digest": None})})
    if recipe not in (run.recipe.hash, without.hash):
        raise PolicyError(f"{path}: is the audit of another recipe ({str(recipe)[:12]}) than the run's: audit that one")
    return file


def _read(path: Path) -> bytes:
    try:
        return read_file(path, CONFIGURATION.longest)
    except (OSError, UnreadableError) as error:
        raise PolicyError(f"{path}: cannot be read ({why_not(error)}): give a file that can be") from None


def _clearance(run: LivedRun, files: Files) -> Clearance:
    return Clearance.of(_against(run, files), _open_points(run, files))


def _against(run: LivedRun, files: Files) -> list[str]:
    found = []
    datasets = () if files.extract is None else files.extract.datasets
    if not mechanism_of(run.recipe).protects:
        found.append("The run had no differential privacy: the adapter may give records of this site away.")
    elif not datasets:
        found.append("This site's ledger charged nothing for this run, so it cannot vouch for any privacy of it.")
    if files.extract is not None and files.extract.insecure:
        found.append("Noise was seeded for a test: whoever knows the seed can take it off again.")
    if mechanism_of(run.recipe).protects:
        most = run.recipe.privacy.epsilon * (1 + _ROUNDING)
        if any(each.epsilon_of_run is None or each.epsilon_of_run > most for each in datasets):
            found.append("The ledger charged more for this run than the recipe promises.")
    if run.broken:
        found.append(f"The receipts of this site do not hold: {run.broken}.")
    if files.audit is not None and files.audit.field("refuted", "/trial/refuted").value is not False:
        found.append("The audit refuted the claim: training gives away more than the stated epsilon allows.")
    return found


def _open_points(run: LivedRun, files: Files) -> list[str]:
    found = []
    if files.statement is None:
        found.append("The site has not described its data in its own words.")
    if files.audit is None:
        found.append("No audit of this recipe at this site was handed in.")
    if files.receipts is None:
        found.append("This site has no receipt of the run.")
    if files.extract is not None and files.extract.marks:
        found.append("A person accepted or restored the ledger: what left before may be missing from it.")
    if files.extract is not None and any(each.other_runs for each in files.extract.datasets):
        found.append("The same records were in other runs: epsilon of all runs is what counts for them.")
    if run.recipe.continue_from is not None:
        found.append("The run began with an earlier run's adapter: that run's dossier is needed beside this one.")
    return found
