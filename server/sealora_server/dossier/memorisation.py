"""The memorisation test as a dossier's evidence: read, held against the run's recipe, and told figure by figure."""

from __future__ import annotations

from pathlib import Path

from sealora_common.config import LINE, from_json, read_file, why_not
from sealora_common.dossier.evidence import EvidenceFile
from sealora_common.dossier.figure import DossierSection, Figure
from sealora_common.errors import PolicyError, UnreadableError
from sealora_server.dossier.run_evidence import RunEvidence
from sealora_server.memorisation.figure_text import ATTACKS
from sealora_server.memorisation.findings import LeakStanding, Memorisation
from sealora_server.memorisation.testing import JSON

_EXACT = "none: exact, of made-up records in a simulation"
_WHAT_IT_IS = (
    "A test of the recipe, not of this adapter: made-up personal records were planted at simulated sites, the recipe "
    "was trained anew, as it is and without privacy, and another participant's attacks were made on both. It finds "
    "what these attacks find; that nothing came out is no proof that nothing can."
)
NONE = (
    "Memorisation: nobody has tried to make the model of this recipe repeat planted texts. `sealora memorisation` "
    "does, and its file can be handed in."
)


class MemorisationEvidence:
    """A test that was handed in.

    Args:
        file: its copy in the dossier.
        found: what it holds.
    """

    def __init__(self, file: EvidenceFile, found: Memorisation) -> None:
        self._file = file
        self._found = found

    @classmethod
    def read(cls, run: RunEvidence, path: Path) -> MemorisationEvidence:
        """Takes `memorisation.json` of the run's recipe among the run's evidence.

        Raises:
            PolicyError: it cannot be read, is none, or is of another recipe.
        """
        try:
            content = read_file(path, LINE.longest)
        except (OSError, UnreadableError) as error:
            raise PolicyError(f"{path}: cannot be read ({why_not(error)}): give a file that can be") from None
        try:
            found = from_json(Memorisation, content, LINE)
        except UnreadableError:
            raise PolicyError(f"{path}: is no {JSON} of `sealora memorisation`: give that file") from None
        # A simulation fills in the model's digest, and a recipe that sites agreed on may have none.
        if run.recipe.hash not in (found.recipe_hash, found.recipe_hash_as_given):
            raise PolicyError(
                f"{path}: is the test of another recipe ({found.recipe_hash[:12]}) than the run's: test that one"
            )
        return cls(run.evidence.add(JSON, content), found)

    @property
    def standing(self) -> LeakStanding:
        """What it came to."""
        return self._found.standing

    def section(self) -> DossierSection:
        """Its figures, each with its field."""
        rows = [
            ("verdict", "/verdict", ""),
            ("what it came to", "/standing", ""),
            ("persons planted, under each seed", "/secrets", "persons"),
            ("records of each", "/repeats", "by turns"),
        ]
        for place, arm in enumerate(self._found.arms):
            for number, each in enumerate(arm.extractions):
                at, what = f"/arms/{place}/extractions/{number}", f"{arm.title}: {ATTACKS[each.attack]}"
                unit = f"share of {each.planted.of}"
                rows.append((f"{what}, of planted data", f"{at}/planted/share", unit))
                rows.append((f"{what}, of data never trained on", f"{at}/held_back/share", unit))
            rows.append((f"{arm.title}: exposure of planted data", f"/arms/{place}/exposure/planted", "bits"))
            if arm.membership is not None:
                at = f"/arms/{place}/membership/auc"
                rows.append((f"{arm.title}: membership, area under the curve", at, "0.5 is chance"))
        figures: list[Figure] = [self._file.field(name, at, unit=unit, noise=_EXACT) for name, at, unit in rows]
        return _section((_WHAT_IT_IS, *self._found.notes), tuple(figures))


def memorisation_section(evidence: MemorisationEvidence | None) -> DossierSection:
    """Of the test that was handed in, or that there was none."""
    return _section((NONE,)) if evidence is None else evidence.section()


def _section(text: tuple[str, ...], figures: tuple[Figure, ...] = ()) -> DossierSection:
    return DossierSection(identifier="memorisation", title="Memorisation", text=text, figures=figures)
