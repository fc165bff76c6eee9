"""The tasks of EleutherAI's lm-evaluation-harness, asked of a trained adapter and of its base model before it.

The harness is given models that are loaded already, by the one place that loads them. It asks no network: a task whose
data is not on this machine, or that would run code that a model has written, is refused with a sentence.
"""

from __future__ import annotations

import difflib
import gc
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.base import load_base
from sealora_client.model.fetch import locate_base
from sealora_client.model.tokenizer import base_tokenizer
from sealora_client.trained.harness_figures import Found, HarnessFigures, rows_of
from sealora_client.trained.offline import require_base
from sealora_client.trained.trained_adapter import TrainedAdapter
from sealora_common.errors import DataError, ModelError, PolicyError, SealoraError

MISSING = 'this needs the package lm-eval, which is not installed: pip install "sealora[lm-eval]"'
_SEED = 1234
_RESAMPLES = 1000
"""Of the documents, for the standard error of a metric that is no mean."""


@dataclass(frozen=True)
class HarnessWish:
    """What is asked.

    Attributes:
        tasks: names of the harness's tasks, groups or tags.
        include: a directory with more of them, as YAML.
        limit: documents of each task at the most; None for all.
        shots: examples before each question; None for what the task says.
        with_template: whether questions go through the chat template.
        batch_size: documents that are computed together.
        with_base: whether the base model is asked, too.
    """

    tasks: tuple[str, ...]
    include: Path | None = None
    limit: int | None = None
    shots: int | None = None
    with_template: bool = False
    batch_size: int = 8
    with_base: bool = True


def ask_harness(trained: TrainedAdapter, wish: HarnessWish, show: Callable[[str], None]) -> HarnessFigures:
    """Runs the tasks.

    Args:
        trained: the adapter.
        wish: what is asked.
        show: told in a few words what is done next.

    Raises:
        SealoraError: lm-eval is not installed.
        PolicyError: there is no such task, or it would run code that a model has written.
        DataError: a task's data is not on this machine, or the task cannot be run.
        ModelError: the base model is not here, or takes no such adapter.
    """
    if not wish.tasks:
        raise PolicyError("--tasks names none: name one of the harness's, as in --tasks medqa_4options")
    require_base(trained.recipe)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its libraries say of each other
        return _figures(trained, wish, show)


def _figures(trained: TrainedAdapter, wish: HarnessWish, show: Callable[[str], None]) -> HarnessFigures:
    manager = _manager(wish)
    for name in wish.tasks:
        show(f"{name}: reading the task and its data")
        _require_task(name, manager)
    before: Found | None = None
    if wish.with_base:
        show("the base model")
        before = _asked_of_base(trained, wish, manager)
        gc.collect()  # before the next model is loaded
    show("the adapter")
    after = _asked_of_adapter(trained, wish, manager)
    return HarnessFigures(
        adapter=trained.sentence,
        harness=version("lm_eval"),
        limit=wish.limit,
        has_template=wish.with_template,
        rows=rows_of(before, after),
    )


def _manager(wish: HarnessWish) -> Any:
    include = wish.include
    if include is not None and not include.is_dir():
        raise PolicyError(f"--include-path {include}: no such directory: give the one that holds the task's YAML")
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise SealoraError(MISSING) from None
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    if include is not None:
        own = TaskManager(include_path=str(include), include_defaults=False)
        if set(wish.tasks) <= set(own.all_subtasks):  # which need none of the harness's, all of which take long to read
            return own
    return TaskManager(include_path=None if include is None else str(include))


def _require_task(name: str, manager: Any) -> None:
    """Loads the task once, so that what is wrong with it is told before a model is loaded."""
    if name not in manager.all_tasks:
        close = difflib.get_close_matches(name, manager.all_tasks, n=1)
        meant = f", did you mean {close[0]}?" if close else ""
        raise PolicyError(
            f"--tasks: lm-eval has no task {name!r}{meant}: `lm-eval ls tasks` names its own, --include-path adds yours"
        )
    if (manager.task_index[name].cfg or {}).get("unsafe_code"):  # before anything of it is loaded
        raise _unsafe(name)
    try:
        loaded = manager.load([name])["tasks"]
    except Exception as error:  # whatever libraries of data sets raise for what is not there or is damaged
        raise DataError(
            f"the task {name} cannot be read ({_first_line(error)}): correct it; nothing is fetched here, so its data "
            "must be on this machine, in files that it names or in the cache of Hugging Face's datasets"
        ) from None
    unsafe = sorted(task for task, found in loaded.items() if getattr(found, "UNSAFE_CODE", False))
    if unsafe:
        raise _unsafe(unsafe[0])


def _unsafe(task: str) -> PolicyError:
    return PolicyError(f"the task {task} runs code that the model has written, which is not done here: leave it out")


def _asked_of_base(trained: TrainedAdapter, wish: HarnessWish, manager: Any) -> Found:
    directory = locate_base(trained.recipe.model)
    return _asked(load_base(trained.recipe.model, directory), base_tokenizer(directory), wish, manager)


def _asked_of_adapter(trained: TrainedAdapter, wish: HarnessWish, manager: Any) -> Found:
    adapted = AdaptedModel.load(trained.recipe)
    adapted.write({name: trained.tensors[name] for name in adapted.layout.names})
    return _asked(adapted.model, adapted.tokenizer, wish, manager)


def _asked(model: Any, tokenizer: PreTrainedTokenizerBase, wish: HarnessWish, manager: Any) -> Found:
    # Not `simple_evaluate`, which starts git and gathers what there is to know of the machine.
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    try:
        found: Found | None = evaluate(
            lm=HFLM(pretrained=model, backend="causal", tokenizer=tokenizer, batch_size=wish.batch_size),
            task_dict=_tasks(wish, manager),
            limit=wish.limit,
            # The harness renders the base model's own template itself: in transformers' sandbox, without our bounds of
            # time and memory. Whoever asks for it sits before it, and no record is in it.
            apply_chat_template=wish.with_template,
            fewshot_as_multiturn=wish.with_template,
            bootstrap_iters=_RESAMPLES,
            log_samples=True,
            confirm_run_unsafe_code=False,
        )
    except Exception as error:  # a task's templates and metrics are its own, and so is what they raise
        raise DataError(
            f"the tasks could not be run ({type(error).__name__}: {_first_line(error)}): try them one by one, with "
            "--limit 2"
        ) from error
    if not found:
        raise ModelError("the harness returned nothing: try the tasks one by one, with --limit 2")
    return found


def _tasks(wish: HarnessWish, manager: Any) -> Any:
    """Read anew for each model, with the same examples before the same questions."""
    loaded = manager.load(list(wish.tasks))
    for task in loaded["tasks"].values():
        said = task.get_config("num_fewshot")
        # A task that says 0 is one that takes no examples.
        if said is None or (wish.shots is not None and said != 0):
            task.set_config(key="num_fewshot", value=wish.shots or 0)
        task.set_fewshot_seed(seed=_SEED)
    return loaded


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
