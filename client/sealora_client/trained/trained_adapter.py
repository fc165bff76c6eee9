"""An adapter, the recipe it was trained under, and what was told of its run, wherever they lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealora_client.delivery.kept_run import KeptRun, find_run
from sealora_client.round.history import History
from sealora_common.adapter import Tensors
from sealora_common.errors import PolicyError
from sealora_common.export.peft_directory import read_held
from sealora_common.export.personal import is_personal
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.records.outcome import read_outcome
from sealora_common.round.order import shared_digest

SHOWN_DIGITS = 12


@dataclass(frozen=True)
class ToldOfRun:
    """What may be told to others of the run; all of it the federation's.

    Attributes:
        run: its id; None if it is not known.
        rounds: that were finished.
        kept_round: rounds that the adapter has been trained.
        sites: how many sites' vectors are in the last round's sum.
        before: the federation's held-out figure of the adapter that the run began with.
        after: of this one.
        noise: least standard deviation of the noise in each of the two; None without noise.
        is_exact: whether they are means of sites' own figures, as a simulation has them.
    """

    run: str | None = None
    rounds: int | None = None
    kept_round: int | None = None
    sites: int | None = None
    before: float | None = None
    after: float | None = None
    noise: float | None = None
    is_exact: bool = False


@dataclass(frozen=True)
class TrainedAdapter:
    """An adapter that a run ended with.

    Attributes:
        recipe: of the run.
        tensors: all of the adapter's, as a run holds them.
        told: of the run.
        is_personal: whether a site has trained it for itself, so that it must not leave.
    """

    recipe: Recipe
    tensors: Tensors
    told: ToldOfRun
    is_personal: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of its shared part, as the receipt of its round has it."""
        return shared_digest(self.tensors, self.recipe)

    @property
    def sentence(self) -> str:
        """Which one it is."""
        model, told = self.recipe.model, self.told
        run = f"run {told.run[:SHOWN_DIGITS]} ({self.recipe.name})" if told.run else f"a run of {self.recipe.name}"
        of = "" if told.kept_round is None else f" of round {told.kept_round}"
        base = f"base model {model.base}" + (f" ({model.digest[:SHOWN_DIGITS]})" if model.digest else "")
        own = ", which this site trained for itself" if self.is_personal else ""
        return f"{run}, adapter {self.digest[:SHOWN_DIGITS]}{of}{own}, on {base}"


def find_trained(named: str | None, site: Path) -> TrainedAdapter:
    """The adapter that a person means.

    Args:
        named: a run's directory, or, of a run that the site keeps, the beginning of its id or its recipe's name; None
            is the newest that the site keeps.
        site: the site's directory.

    Raises:
        PolicyError: there is none.
        ModelError: a file is damaged, or not of the adapter that the run ended with.
    """
    if named is not None and (Path(named) / "adapter").is_dir() and (Path(named) / "recipe.yaml").is_file():
        return _of_directory(Path(named))
    if named is not None and Path(named).is_dir():
        raise PolicyError(f"{named}: holds no run that has ended: give a run's directory, which has adapter/ in it")
    return _of_site(find_run(site, named))


def _of_directory(directory: Path) -> TrainedAdapter:
    if (directory / "conclusion.json").exists():
        return _of_site(KeptRun(directory.absolute().parents[1], directory.absolute().name))
    recipe = load_recipe(directory / "recipe.yaml")
    outcome = read_outcome(directory)
    told = ToldOfRun()
    if outcome is not None:
        told = ToldOfRun(
            run=outcome.run_id,
            rounds=outcome.rounds_finished,
            kept_round=outcome.kept_round,
            sites=len(outcome.sites) or None,
            before=outcome.heldout_loss_before,
            after=outcome.heldout_loss_after,
            noise=outcome.heldout_noise,
            is_exact=outcome.is_exact,
        )
    return TrainedAdapter(recipe, read_held(directory / "adapter", recipe), told, is_personal(directory))


def _of_site(kept: KeptRun) -> TrainedAdapter:
    tensors, recipe, conclusion = kept.adapter(), kept.recipe, kept.conclusion
    if recipe is None or conclusion is None:
        raise PolicyError(f"{kept.directory}: this site has no adapter of the run yet")
    receipts = History(kept.site, kept.run).receipts
    told = ToldOfRun(
        run=conclusion.run,
        rounds=conclusion.rounds,
        kept_round=conclusion.kept_round,
        sites=len(receipts[-1].survivors) if receipts else None,
        before=conclusion.heldout_loss_before,
        after=conclusion.heldout_loss_after,
        noise=conclusion.heldout_noise,
    )
    return TrainedAdapter(recipe, tensors, told)
