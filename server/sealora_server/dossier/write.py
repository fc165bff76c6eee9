"""A run's dossier as a directory that the server signs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sealora_common import __version__
from sealora_common.dossier.directory import now, require_new, write_signed
from sealora_common.dossier.manifest import DossierManifest
from sealora_common.dossier.sbom import SBOM, sbom
from sealora_common.dossier.server_part import DOSSIER, DOSSIER_PAGE, DOSSIER_PDF, MODEL_CARD, Dossier
from sealora_common.errors import PolicyError
from sealora_common.export.personal import require_not_personal
from sealora_common.identity import key_fingerprint, key_from_text
from sealora_common.show.pdf import find_browser, pdf_of
from sealora_server.dossier.demands.answers import answered, what_it_has
from sealora_server.dossier.judgement import judged
from sealora_server.dossier.limits import limits_section
from sealora_server.dossier.memorisation import MemorisationEvidence, memorisation_section
from sealora_server.dossier.model_card import model_card
from sealora_server.dossier.page import dossier_page
from sealora_server.dossier.run_evidence import RunEvidence
from sealora_server.dossier.sections import (
    data_section,
    measured_section,
    method_section,
    model_section,
    privacy_section,
    receipts_section,
    run_section,
    trouble_section,
)
from sealora_server.dossier.site_parts import attached, read_parts, simulated_parts

_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")


def write_dossier(
    directory: Path,
    out: Path,
    *,
    parts: Sequence[Path] = (),
    audits: Sequence[Path] = (),
    memorisation: Path | None = None,
    licence: str | None = None,
    pdf: bool = False,
) -> tuple[Dossier, DossierManifest]:
    """Writes the dossier of the run in `directory` to `out`.

    Args:
        directory: of the run.
        out: a directory, new or empty.
        parts: directories that sites wrote; those of a simulation's sites are made beside them.
        audits: `audit.json` files of a simulation's sites.
        memorisation: `memorisation.json` of the run's recipe; None if there is none.
        licence: of the base model, a SPDX identifier; None if it is not known.
        pdf: whether the page is there as PDF, too.

    Raises:
        StorageError: there is no run, one of its files is damaged, or `out` holds something or cannot be written.
        PolicyError: it is what a site has made of a run for itself; a part, an audit or a test is of another run, site
            or recipe, or was changed.
        SealoraError: a PDF is asked for, and no browser is here to print it.
    """
    out = out.absolute()  # so that it has a name
    require_new(out)
    if licence is not None and not _SPDX.fullmatch(licence):
        raise PolicyError(f"--base-licence: {licence!r} is no SPDX identifier: give one, as apache-2.0")
    if pdf:
        find_browser()
    require_not_personal(directory)
    run = RunEvidence.read(directory)
    tested = None if memorisation is None else MemorisationEvidence.read(run, memorisation)
    given = read_parts(run, parts)
    made = {} if given and not audits else simulated_parts(run, audits, out.with_name(f".{out.name}.parts"))
    by_site = {**made, **given}
    shown = attached(run, by_site)
    dossier = Dossier(
        clearance=judged(run, shown, licence, None if tested is None else tested.standing),
        name=run.recipe.name,
        run=run.run_id,
        recipe_hash=run.recipe.hash,
        created=now(),
        release=__version__,
        sections=(
            run_section(run),
            data_section(run),
            model_section(run, licence),
            method_section(run),
            privacy_section(run),
            receipts_section(run),
            measured_section(run),
            memorisation_section(tested),
            trouble_section(run),
            limits_section(run.recipe),
        ),
        frameworks=answered(what_it_has(run, shown, licence, is_tested=tested is not None)),
        parts=shown,
    )
    coordinator = key_fingerprint(key_from_text(run.roster.coordinator))
    page = dossier_page(dossier, run.identity.fingerprint, coordinator)
    content = {
        DOSSIER: dossier.model_dump_json(indent=2).encode() + b"\n",
        DOSSIER_PAGE: page.encode(),
        **({DOSSIER_PDF: pdf_of(page)} if pdf else {}),
        MODEL_CARD: model_card(dossier, run.recipe, licence),
        SBOM: sbom(dossier.created),
        **run.evidence.files,
    }
    manifest = write_signed(
        out,
        content,
        run.identity,
        kind="server",
        name=run.recipe.name,
        run=run.run_id,
        recipe_hash=run.recipe.hash,
        parts=by_site,
    )
    return dossier, manifest
