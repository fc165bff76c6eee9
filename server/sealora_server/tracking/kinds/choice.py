"""Which tracker a person means: the one place that tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from sealora_common.errors import PolicyError
from sealora_server.tracking.kinds.mlflow_store import MlflowTracker
from sealora_server.tracking.kinds.tensorboard_events import TensorboardTracker
from sealora_server.tracking.kinds.wandb_run import WandbTracker
from sealora_server.tracking.tracker import Tracker


class _Kind(NamedTuple):
    modules: tuple[str, ...]
    make: Callable[[str], Tracker]
    takes_url: bool = False


_KINDS: Final[dict[str, _Kind]] = {
    "mlflow": _Kind(("mlflow", "sqlalchemy", "alembic"), MlflowTracker, takes_url=True),
    "tensorboard": _Kind(("tensorboard",), lambda place: TensorboardTracker(Path(place))),
    "wandb": _Kind(("wandb",), lambda place: WandbTracker(Path(place))),
}
_NAMED: Final = re.compile(r"(\w+):(.+)", re.DOTALL)
_BEFORE_HOST: Final = re.compile(r"//[^/\s@]*@")
TRACKERS: Final = ", ".join(f"{kind}:DIR" for kind in _KINDS)


def trackers_of(named: Sequence[str]) -> dict[str, Tracker]:
    """The trackers that are named, `kind:DIR` each, by these words. Nothing is written yet, and no library loaded.

    Raises:
        PolicyError: one is none, or its library is not installed.
    """
    return {without_password(words): _tracker(words) for words in named}


def without_password(text: str) -> str:
    """A text without what URLs in it have before an @.

    >>> without_password("mlflow:https://me:secret@mlflow.example/x")
    'mlflow:https://mlflow.example/x'
    """
    return _BEFORE_HOST.sub("//", text)


def _tracker(words: str) -> Tracker:
    said = _NAMED.fullmatch(words)
    kind = None if said is None else _KINDS.get(said[1])
    if said is None or kind is None:
        raise PolicyError(f"{without_password(words)!r} names no tracker: write one of {TRACKERS}")
    name, place = said[1], said[2]
    if "://" in place and not kind.takes_url:
        raise PolicyError(
            f"{name} is written into a directory, and {without_password(place)!r} is none: write {name}:DIR"
        )
    if not all(map(find_spec, kind.modules)):
        raise PolicyError(f'tracking with {name} takes a package that is not installed: pip install "sealora[{name}]"')
    return kind.make(place)
