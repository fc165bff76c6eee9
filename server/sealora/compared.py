"""`sealora.compare`: a recipe against what else could be done with the same records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sealora.arguments import PathText, flag, optional_path, whole_number
from sealora.at_work import at_work, progress_console
from sealora.frames import data_frame, html_table
from sealora.places import new_place
from sealora.recipes import RecipeLike, load_recipe
from sealora.records import RecordsBySite, with_records
from sealora_common.errors import SealoraError
from sealora_common.show.quantities import MISSING, target_text, time_text
from sealora_server.comparison.comparing import PAGE, Comparing
from sealora_server.comparison.comparison import Comparison
from sealora_server.comparison.difference_text import spread_text

if TYPE_CHECKING:
    import pandas as pd

_MOST_SEEDS = 100


class ArmComparison:
    """What `compare` tells.

    Attributes:
        directory: where its figures and its page lie.
        comparison: all of it, as `comparison.json` has it.
    """

    def __init__(self, directory: Path, comparison: Comparison) -> None:
        self.directory = directory
        self.comparison = comparison

    @property
    def page(self) -> Path:
        """The page that tells all of it; it needs nothing but itself."""
        return self.directory / PAGE

    @property
    def conclusions(self) -> tuple[str, ...]:
        """What follows from it, a sentence each: against the best site alone, and on the way to pooled records."""
        found = self.comparison
        return tuple(each.sentence for each in (found.margin, found.share_of_way) if each is not None)

    def table(self) -> pd.DataFrame:
        """One row an arm: the mean over the seeds of its held-out figure, over all sites' held-out records.

        Columns: `arm`, `title`, `heldout`, `spread` (standard deviation over the seeds), `drawn` (records or persons
        that all steps together are expected to draw), `epsilon`, `delta`, `seconds`. Units are in `attrs["units"]`.

        Raises:
            SealoraError: pandas is not installed.
        """
        told = self.comparison.heldout
        rows = [
            {
                "arm": arm.key,
                "title": arm.title,
                "heldout": arm.mean,
                "spread": arm.spread,
                "drawn": arm.drawn,
                "epsilon": arm.epsilon,
                "delta": arm.delta,
                "seconds": arm.seconds,
            }
            for arm in self.comparison.arms
        ]
        columns = {"arm": "", "title": "", "heldout": told.unit, "spread": told.unit}
        columns |= {"drawn": f"{self.comparison.unit}s", "epsilon": "", "delta": "", "seconds": "s"}
        return data_frame(rows, columns, heldout=f"{told.name}, {told.better} is better")

    def __repr__(self) -> str:
        return f"<sealora.ArmComparison of {self.comparison.recipe!r} in {str(self.directory)!r}>"

    def _repr_html_(self) -> str:
        found, told = self.comparison, self.comparison.heldout
        rows = [
            (
                arm.title,
                "diverged" if arm.mean is None else told.text(arm.mean),
                spread_text(told, arm.spread),
                MISSING if arm.epsilon is None else target_text(arm.epsilon),
                time_text(arm.seconds) if arm.sample_rate is not None else MISSING,
            )
            for arm in found.arms
        ]
        what = f"{told.name} of all sites' held-out {found.unit}s ({told.unit}, {told.better} is better)"
        columns = ("arm", told.short, "spread over seeds", "epsilon", "time a run")
        notes = [*self.conclusions, *found.notes, found.simulated, f"All of it: {self.page}"]
        return html_table(f"{found.recipe}: {what}", columns, rows, notes)


def compare(
    recipe: RecipeLike,
    records: RecordsBySite | None = None,
    *,
    overrides: Mapping[str, object] | None = None,
    seeds: int = 3,
    only: Sequence[str] = (),
    out: PathText | None = None,
    progress: bool = True,
) -> ArmComparison:
    """Shows what federating is worth, and what privacy costs of it: base model, sites alone, federated, pooled.

    What is computed is kept in the directory, and taken from there when it is asked for again, or with more seeds.

    Args:
        recipe: a recipe, the path of one in YAML, or its sections as a mapping.
        records: each site's, as for `simulate`.
        overrides: fields of the recipe that are different.
        seeds: of each arm, from 1 to 100.
        only: keys of the arms that are wanted: `base`, `alone`, `no-privacy`, `federated`, `pooled`; empty: all.
        out: the comparison's directory. None makes a new one: runs/NAME-compare-1, and so on.
        progress: show what happens, a line an arm.

    Raises:
        SealoraError: something that can be mended, in one sentence; what is computed is kept.
        KeyboardInterrupt: it was stopped; what is computed is kept.
    """
    shown, place = flag("progress", progress), optional_path("out", out)
    count = whole_number("seeds", seeds, 1, _MOST_SEEDS)
    if isinstance(only, str) or not isinstance(only, Sequence) or not all(isinstance(key, str) for key in only):
        raise SealoraError(f"only is {only!r}: give a list of arms, as in ['no-privacy', 'federated']")
    parsed = load_recipe(recipe, overrides)
    with at_work():
        directory = new_place(None, f"{parsed.name}-compare") if place is None else place
        if (directory / "run.json").exists():
            raise SealoraError(f"{directory} holds a run, whose recipe would be overwritten: choose another out")
        named = with_records(parsed, records, directory)
        console = progress_console(shown)
        console.print(f"Directory: {directory}", highlight=False, markup=False, soft_wrap=True)
        try:
            return ArmComparison(directory, Comparing(named, directory, count, tuple(only)).run(console))
        except KeyboardInterrupt as stopped:
            stopped.add_note(f"Stopped. To go on: call compare with the same arguments and out={str(directory)!r}")
            raise
