"""What the site's own evaluation of the run's adapter says in its part: all of it from `evaluation.json`."""

from __future__ import annotations

from dataclasses import dataclass

from sealora_client.delivery.kept_run import RUNS, KeptRun
from sealora_client.dossier.lived_run import LivedRun
from sealora_client.site_evaluation.evaluation import EVALUATION, SiteEvaluation, read_evaluation
from sealora_client.site_evaluation.page import headline, remarks
from sealora_common.dossier.evidence import Evidence, EvidenceFile
from sealora_common.dossier.figure import DossierSection, Figure
from sealora_common.errors import StorageError

EXACT = "exact: no noise"


@dataclass(frozen=True)
class KeptEvaluation:
    """An evaluation that lies beside the kept run.

    Attributes:
        file: it, as the part has it.
        found: the same, read.
    """

    file: EvidenceFile
    found: SiteEvaluation


def kept_evaluation(run: LivedRun, evidence: Evidence) -> KeptEvaluation | None:
    """The evaluation of the adapter that the site keeps of the run; None if it made none.

    Raises:
        StorageError: it is damaged, or of another run, site or adapter.
    """
    kept = KeptRun(run.directory, run.run)
    path = kept.directory / EVALUATION
    found = read_evaluation(path)
    file = None if found is None else evidence.copy(f"{RUNS}/{run.run}/{EVALUATION}", as_name=EVALUATION)
    if found is None or file is None:
        return None
    conclusion = kept.conclusion
    adapter = None if conclusion is None else conclusion.adapter_digest
    expected = (run.name, run.run, run.recipe.hash, adapter)
    if (found.site, found.run, found.recipe_hash, found.adapter_digest) != expected:
        raise StorageError(
            f"{path}: is of another run, site or adapter than this part: delete it, and `sealora-site evaluate` writes "
            "it again"
        )
    return KeptEvaluation(file, found)


def evaluated_sections(kept: KeptEvaluation | None) -> tuple[DossierSection, ...]:
    """The figures of the adapter beside the base model's, and by groups; nothing if there is no evaluation."""
    if kept is None:
        return ()
    return (_figures(kept), *((_groups(kept),) if kept.found.by else ()))


def subgroups_text(kept: KeptEvaluation | None) -> str:
    """What is to be said of groups of people."""
    if kept is None or not kept.found.by:
        return (
            "Subgroups: nothing was measured apart for groups of people, so nothing here says whom it serves worse. "
            "`sealora-site evaluate --by COLUMN` does."
        )
    columns = ", ".join(column.column for column in kept.found.by)
    return f"Subgroups: results by {columns} stand under the site's own evaluation, as {kept.file.path} has them."


def _figures(kept: KeptEvaluation) -> DossierSection:
    file, found = kept.file, kept.found
    figures = [file.field("records evaluated", "/records", unit="records", noise=EXACT), file.field("when", "/created")]
    for number, figure in enumerate(found.figures):
        for whose, where in (("adapter", "adapter"), ("base model", "base"), ("adapter less base model", "difference")):
            for end, field in (("", "value"), (", low end of 95 %", "low"), (", high end of 95 %", "high")):
                at = f"/figures/{number}/{where}/{field}"
                if file.has(at):
                    name = f"{figure.title}, {whose}{end}"
                    figures.append(file.field(name, at, unit=figure.unit, noise=EXACT))
    text = (
        f"The site evaluated the adapter that it keeps and the base model on {found.source}. Intervals are about other "
        "records of the same kind.",
        *remarks(found),
    )
    return DossierSection(identifier="evaluated", title="Evaluated at this site", text=text, figures=tuple(figures))


def _groups(kept: KeptEvaluation) -> DossierSection:
    file, figures = kept.file, list[Figure]()
    for number, column in enumerate(kept.found.by):
        for place, group in enumerate(column.groups):
            at, whom = f"/by/{number}/groups/{place}", f"{column.column} {group.value}"
            figures.append(file.field(f"{whom}: records", f"{at}/records", unit="records", noise=EXACT))
            main = headline(group.figures)
            if main is None:
                continue
            of = f"{at}/figures/{group.figures.index(main)}"
            for whose, where in (("adapter", "adapter"), ("base model", "base")):
                for end, field in (("", "value"), (", low end of 95 %", "low"), (", high end of 95 %", "high")):
                    if file.has(f"{of}/{where}/{field}"):
                        name = f"{whom}: {main.title}, {whose}{end}"
                        figures.append(file.field(name, f"{of}/{where}/{field}", unit=main.unit, noise=EXACT))
        shown = headline(next((group.figures for group in column.groups if group.figures), ()))
        for place, spread in enumerate(column.spreads):
            if shown is None or spread.name != shown.name:
                continue
            at, what = f"/by/{number}/spreads/{place}", f"largest difference in {spread.title} by {column.column}"
            figures.append(file.field(what, f"{at}/difference", unit=shown.unit, noise=EXACT))
            figures.append(file.field(f"{what}, within the intervals", f"{at}/within_intervals", noise=EXACT))
    text = "One figure for each group is shown; the file has the others. Groups of few records stand together."
    return DossierSection(identifier="groups", title="Evaluated by groups", text=(text,), figures=tuple(figures))
