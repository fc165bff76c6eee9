"""`sealora.load_adapter`: the model that a run ended with, to be asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, overload

from sealora.arguments import PathText, number, path, whole_number
from sealora.at_work import at_work
from sealora.runs import Run
from sealora_common.errors import SealoraError

if TYPE_CHECKING:
    from sealora_server.simulation.sites import AnswersLike

_MOST_TOKENS = 2**20
_HOTTEST = 10.0
_LARGEST_SEED = 2**63 - 1


class TrainedModel:
    """The base model with a run's final adapter on it, made by `load_adapter`.

    Attributes:
        directory: the run's.
    """

    def __init__(self, directory: Path, answers: AnswersLike) -> None:
        self.directory = directory
        self._answers = answers

    @overload
    def answer(self, prompts: str, *, tokens: int = ..., temperature: float = ..., seed: int = ...) -> str: ...
    @overload
    def answer(
        self, prompts: list[str] | tuple[str, ...], *, tokens: int = ..., temperature: float = ..., seed: int = ...
    ) -> list[str]: ...
    def answer(
        self, prompts: str | list[str] | tuple[str, ...], *, tokens: int = 256, temperature: float = 0.0, seed: int = 0
    ) -> str | list[str]:
        """One answer to each prompt, as `sealora-site chat` gives it: through the recipe's template and system prompt.

        Args:
            prompts: one, whose answer is a text, or several, whose answers are a list.
            tokens: the most of an answer.
            temperature: 0 gives the likeliest words; above, up to 10, they are drawn.
            seed: of what is drawn: equal seeds, equal answers.

        Raises:
            SealoraError: a prompt is no text, or the model's template fails on it.
        """
        asked = [prompts] if isinstance(prompts, str) else list(prompts) if isinstance(prompts, list | tuple) else None
        if asked is None:
            raise SealoraError(f"prompts is a {type(prompts).__name__}: give a text, or a list of texts")
        for place, prompt in enumerate(asked, 1):
            if not isinstance(prompt, str):
                raise SealoraError(f"prompts, number {place}: is a {type(prompt).__name__}: give each as text")
        most = whole_number("tokens", tokens, 1, _MOST_TOKENS)
        heat = number("temperature", temperature, 0.0, _HOTTEST)
        lot = whole_number("seed", seed, 0, _LARGEST_SEED)
        with at_work():
            found = self._answers.to(asked, most_tokens=most, temperature=heat, seed=lot)
        return found[0] if isinstance(prompts, str) else found

    def __repr__(self) -> str:
        return f"<sealora.TrainedModel of {str(self.directory)!r}>"


def load_adapter(run: Run | PathText) -> TrainedModel:
    """Loads the base model with the adapter that a run ended with; nothing is fetched.

    Args:
        run: a run, or the directory of one, of a simulation or a server.

    Raises:
        SealoraError: there is no such run, it has no adapter yet, or its base model is not on this machine.
    """
    from sealora_server.simulation.sites import simulated_sites

    directory = run.directory if isinstance(run, Run) else path("run", run)
    if not directory.is_dir():
        raise SealoraError(f"{directory}: there is no such directory: give a run, or its directory")
    with at_work():
        return TrainedModel(directory, simulated_sites().answers(directory))
