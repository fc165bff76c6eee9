"""`sealora.simulate`: a whole federation in this process, from records in memory to a run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from sealora.arguments import PathText, flag, optional_path
from sealora.at_work import at_work, progress_console
from sealora.places import new_place
from sealora.recipes import RecipeLike, load_recipe
from sealora.records import RecordsBySite, forget_records, require_same_records, with_records
from sealora.runs import Run
from sealora_common import recipe as recipes
from sealora_common.errors import SealoraError
from sealora_common.recipe import Recipe


def simulate(
    recipe: RecipeLike,
    records: RecordsBySite | None = None,
    *,
    overrides: Mapping[str, object] | None = None,
    out: PathText | None = None,
    resume: bool = False,
    continue_from: Run | PathText | None = None,
    progress: bool = True,
) -> Run:
    """Runs a whole federation on this machine: every site, the server and the sealing between them.

    What it does, and what comes of it, is what `sealora simulate` does. Ctrl-C (in a notebook: interrupt the kernel)
    leaves finished rounds, which `resume=True` goes on with.

    Args:
        recipe: a recipe, the path of one in YAML, or its sections as a mapping.
        records: each site's name -> a list of dicts, a pandas DataFrame, a Dataset of `datasets`, or the path of a
            file. None takes the files that the recipe names. What is in memory is copied into the run's directory,
            readable by this account alone.
        overrides: fields of the recipe that are different: `{"privacy.epsilon": 4}`.
        out: the run's directory, new or empty. None makes one that is new: runs/NAME-1, runs/NAME-2, and so on.
        resume: go on with the run in `out`, under the same recipe; its records are there already.
        continue_from: an earlier run, whose adapter this one begins with.
        progress: show what happens: a live frame on a terminal, a line an event in a notebook.

    Raises:
        SealoraError: something that can be mended, in one sentence.
        KeyboardInterrupt: it was stopped; a note on it says how to go on.
    """
    shown, place, resumes = flag("progress", progress), optional_path("out", out), flag("resume", resume)
    start = continue_from.directory if isinstance(continue_from, Run) else optional_path("continue_from", continue_from)
    parsed = load_recipe(recipe, overrides)
    with at_work():
        if resumes:
            return _resumed(parsed, records, place, start, shown)
        directory = new_place(place, parsed.name)
        try:
            return _run(with_records(parsed, records, directory), directory, start, shown, resumes=False)
        finally:
            if not (directory / "run.json").exists():  # nothing has begun that could be resumed
                forget_records(directory)
                with contextlib.suppress(OSError):
                    directory.rmdir()


def _resumed(recipe: Recipe, records: object, directory: Path | None, start: Path | None, shown: bool) -> Run:
    if directory is None:
        raise SealoraError("resume=True goes on with the run in a directory: name it with out")
    if not (directory / "run.json").exists():
        raise SealoraError(f"{directory}: there is no run to go on with: leave resume out, or correct out")
    require_same_records(records, directory)
    began = recipes.load_recipe(directory / "recipe.yaml")
    kept: dict[str, object] = {"sites": recipe.sites.model_copy(update={"simulated": began.sites.simulated})}
    if start is None and recipe.continue_from is None:
        kept["continue_from"] = began.continue_from
    return _run(recipe.model_copy(update=kept), directory, start, shown, resumes=True)


def _run(recipe: Recipe, directory: Path, start: Path | None, shown: bool, *, resumes: bool) -> Run:
    from sealora_server.simulation.simulate import Simulation

    console = progress_console(shown)
    console.print(f"Run directory: {directory}", highlight=False, markup=False, soft_wrap=True)
    try:
        summary = Simulation(recipe, directory, resume=resumes, continue_from=start).concluded(console)
    except KeyboardInterrupt as stopped:
        again = f"Stopped. To go on: call simulate with the same recipe, out={str(directory)!r} and resume=True"
        if (directory / "run.json").exists():
            stopped.add_note(again)
            console.print(again, highlight=False, markup=False, soft_wrap=True)
        raise
    return Run(directory, summary)
