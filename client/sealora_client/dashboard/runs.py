"""The runs that a site keeps something of, with their recipes' names."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from sealora_client.delivery.kept_run import KeptRun, kept_runs
from sealora_client.round.run_id import RUN_ID
from sealora_common.errors import SealoraError
from sealora_common.recipe import Recipe, load_recipe


class RunNames:
    """The recipes of the runs of the site in `directory`, each read once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def recipe(self, run: str) -> Recipe | None:
        """The recipe that the site took part under; None if it is not here, or cannot be read."""
        if not RUN_ID.fullmatch(run):
            return None
        path = KeptRun(self._directory, run).recipe_path
        try:
            found = path.stat()
        except OSError:
            return None
        return _recipe(path, found.st_mtime_ns, found.st_size)

    def kept(self) -> list[KeptRun]:
        """The runs, the newest first."""
        return list(reversed(kept_runs(self._directory)))


@lru_cache(maxsize=512)
def _recipe(path: Path, _changed: int, _size: int) -> Recipe | None:
    try:
        return load_recipe(path)
    except SealoraError:
        return None
