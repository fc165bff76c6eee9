"""The subjects of a site's part: each reads its own file, and says in words where there is nothing to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sealora_client.dossier.base_licence import licence_figures
from sealora_client.dossier.evaluated import EXACT, KeptEvaluation, subgroups_text
from sealora_client.dossier.ledger_extract import LedgerExtract
from sealora_client.dossier.lived_run import LivedRun
from sealora_common.dossier.evidence import Evidence, EvidenceFile
from sealora_common.dossier.figure import DossierSection, Figure
from sealora_common.privacy.several_sites import at_several_sites
from sealora_common.records.heldout_figure import HeldoutFigure

_ACCOUNTED = "no noise: follows from the noise that was added, not from a record"


@dataclass(frozen=True)
class Files:
    """What a site's part is made from.

    Attributes:
        recipe: what was agreed on, in canonical JSON; its SHA-256 is the recipe's hash.
        policy: the site's policy, defaults filled in.
        receipts: the chain of the run; None if there is none.
        history: the run's lines of `history.jsonl`; None if there are none, or none that name it among several runs'.
        ledger: the extract; None without a ledger.
        extract: the same, read.
        audit: `audit.json`; None if none was handed in.
        evaluation: the site's own evaluation of the run's adapter; None if it made none.
        statement: the site's own words; None if there are none.
    """

    recipe: EvidenceFile
    policy: EvidenceFile
    receipts: EvidenceFile | None
    history: EvidenceFile | None
    ledger: EvidenceFile | None
    extract: LedgerExtract | None
    audit: EvidenceFile | None
    evaluation: KeptEvaluation | None
    statement: EvidenceFile | None


def data_section(run: LivedRun, files: Files) -> DossierSection:
    """What the site says of its records."""
    unit = f"{run.recipe.data.unit}s"
    figures: list[Figure] = []
    if files.ledger is not None and files.extract is not None:
        for index, dataset in enumerate(files.extract.datasets):
            at = f"/datasets/{index}"
            part = "training" if dataset.part == "train" else "held-out"
            figures.append(files.ledger.field(f"{part} {unit}", f"{at}/size", unit=unit, noise=EXACT))
            figures.append(files.ledger.field(f"name of the {part} data set", f"{at}/fingerprint", noise=EXACT))
    text = []
    if files.statement is None:
        text.append(
            "The site has not described its data in its own words: where they come from, on what legal basis they are "
            "used, for what purpose, and whom they are about is not told here."
        )
    else:
        text.append(f"The site's own description of its data is in {files.statement.path}, and below.")
    if files.history is None:
        text.append(
            "No figure is taken from history.jsonl: it is not there, or holds several runs and no line that names this "
            "one."
        )
    else:
        for name, field in (("training records", "records"), ("held-out records", "heldout_records")):
            figures += _latest(files.history, name, field, "records")
        for name, field in (("persons trained on", "persons"), ("persons held out", "heldout_persons")):
            figures += _latest(files.history, name, field, "persons")
        figures += _latest(files.history, "records cut to the most tokens", "truncated", "records")
    return DossierSection(identifier="data", title="The site's data", text=tuple(text), figures=tuple(figures))


def privacy_section(run: LivedRun, files: Files) -> DossierSection:
    """What the ledger charged, for this run and for all."""
    figures: list[Figure] = []
    text = []
    if files.ledger is None or files.extract is None or not files.extract.datasets:
        text.append("The ledger of this site has no charge for this run: nothing is promised by it.")
    else:
        for index, dataset in enumerate(files.extract.datasets):
            at, whom = f"/datasets/{index}", "training" if dataset.part == "train" else "held-out"
            whom = f"{whom} {dataset.unit}"
            at_delta = f"at delta {dataset.delta:g}"
            for name, field in (("this run", "epsilon_of_run"), ("all runs of this ledger", "epsilon_of_all_runs")):
                figures.append(
                    files.ledger.field(f"epsilon of {name}, a {whom}", f"{at}/{field}", unit=at_delta, noise=_ACCOUNTED)
                )
            figures.append(files.ledger.field(f"other runs, a {whom}", f"{at}/other_runs", noise=EXACT))
        figures.append(files.ledger.field("seeded for a test", "/insecure"))
        figures.append(files.ledger.field("entries of the ledger, all checked", "/entries", noise=EXACT))
        figures.append(files.ledger.field("hash of its last entry", "/last_hash"))
        figures.append(files.ledger.field("entries that a person caused", "/marks"))
        text.append(
            "Epsilon is an upper bound for one unit of this site's data, there or blank, by privacy-loss "
            "distributions. Charges of all runs on data that shares anybody with this run's are composed."
        )
    several = at_several_sites(run.recipe, len(run.roster), 2) if len(run.roster) > 1 else None
    if several is not None:
        figures.append(
            files.recipe.worked_out(
                f"epsilon of this run for a {run.recipe.data.unit} that two sites hold",
                several.epsilon if several.epsilon < float("inf") else None,
                "sealora_common.privacy.several_sites, of the whole recipe",
                unit=f"at delta {several.delta:g}",
                noise=_ACCOUNTED,
            )
        )
    figures.append(files.policy.field("most epsilon that the site's policy allows, for good", "/epsilon_limit"))
    figures.append(files.policy.field("at delta", "/delta_limit"))
    return DossierSection(identifier="privacy", title="Privacy spent", text=tuple(text), figures=tuple(figures))


def receipts_section(run: LivedRun, files: Files) -> DossierSection:
    """The chain of receipts as this site has it."""
    if files.receipts is None:
        text = "This site has no receipt of this run: no round was finished and followed by another one's order."
        return DossierSection(identifier="receipts", title="Receipts", text=(text,))
    count = len(run.proofs)
    text = run.broken or (
        "Every receipt that this site has holds: ordered by the roster's server, confirmed by enough of the roster's "
        "sites, each following from the one before. The last round's receipt comes with the order after it, so that a "
        "site may have one fewer than the server."
    )
    figures = (
        files.receipts.worked_out("rounds proven to this site", count, "sealora_common.receipts.check, line by line"),
        files.receipts.worked_out(
            "rounds in whose sum this site is",
            sum(run.name in proof.receipt.survivors for proof in run.proofs),
            f"lines whose survivors name {run.name}",
        ),
    )
    return DossierSection(identifier="receipts", title="Receipts", text=(text,), figures=figures)


def measured_section(run: LivedRun, files: Files) -> DossierSection:
    """What the site measured on its own held-out records."""
    heldout = HeldoutFigure.of(run.recipe)
    figures: list[Figure] = []
    if files.history is not None:
        found = _lines(files.history, lambda line: line.get("heldout_loss") is not None)
        for number, which in ((found[:1], "first"), (found[-1:] if len(found) > 1 else [], "last")):
            for line in number:
                name = f"{heldout.name}, {which} evaluation"
                figures.append(files.history.line(name, line, "/heldout_loss", unit=heldout.unit, noise=EXACT))
    said = f"Of the site's own held-out data; {heldout.better} is better."
    return DossierSection(
        identifier="measured",
        title="Measured at this site",
        text=(said if figures else "Nothing that was measured at this site is told here.",),
        figures=tuple(figures),
    )


def audit_section(files: Files) -> DossierSection:
    """The audit, if one was handed in."""
    memorisation = (
        "Memorisation: nobody has tried to make the model repeat this site's texts. A test of the recipe with made-up "
        "records (`sealora memorisation`) may stand in the server's part."
    )
    subgroups = subgroups_text(files.evaluation)
    if files.audit is None:
        none = "Audit: none was handed in. That what the accountant proves is what the engine does was not tried here."
        return DossierSection(identifier="audit", title="Audit", text=(none, memorisation, subgroups))
    rows = (
        ("epsilon claimed", "/trial/claim", "", _ACCOUNTED),
        ("epsilon proved at least", "/trial/lower_bound", "at 95 % confidence", EXACT),
        ("epsilon that perfect guesses would have proved", "/trial/largest_bound", "", EXACT),
        ("planted records", "/trial/canaries", "records", EXACT),
        ("the claim is refuted", "/trial/refuted", "", EXACT),
        ("membership attack on real records, area under the curve", "/membership/auc", "0.5 is chance", EXACT),
        ("true positives at 1 % false", "/membership/true_positive_rate", "share", EXACT),
        ("verdict", "/verdict", "", EXACT),
    )
    figures = tuple(files.audit.field(name, at, unit=unit, noise=noise) for name, at, unit, noise in rows)
    said = "The audit trained anew with the same recipe at this site; what it trained was thrown away."
    return DossierSection(identifier="audit", title="Audit", text=(said, memorisation, subgroups), figures=figures)


def base_section(run: LivedRun, files: Files, evidence: Evidence) -> DossierSection:
    """The base model as this site has it."""
    found = licence_figures(run.recipe.model, evidence)
    text = () if found else ("Nothing on this machine says under what licence the base model is.",)
    figures = [files.recipe.field("base model", "/model/base")]
    if files.recipe.has("/model/digest"):
        figures.append(files.recipe.field("SHA-256 over its files", "/model/digest"))
    return DossierSection(identifier="base", title="Base model", text=text, figures=(*figures, *found))


def _latest(history: EvidenceFile, name: str, field: str, unit: str) -> list[Figure]:
    found = _lines(history, lambda line: line.get(field) is not None)
    return [history.line(name, found[-1], f"/{field}", unit=unit, noise=EXACT)] if found else []


def _lines(file: EvidenceFile, which: Callable[[dict[str, object]], bool]) -> list[int]:
    return [n for n, line in enumerate(file.lines, start=1) if isinstance(line, dict) and which(dict(line))]
