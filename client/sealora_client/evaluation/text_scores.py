"""Likeness of two texts, from 0 to 1, by the libraries that others compute it with, under their own settings.

Each may be missing: what it is needed for then says so before anything is charged.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

from sealora_common.errors import ModelError
from sealora_common.recipe.sections.evaluation import AnswerMetricName

LikenessScore = Callable[[str, str], float]
"""Of an answer and the right one."""


def likeness_score(name: AnswerMetricName) -> LikenessScore:
    """`bleu`: sacrebleu's of one sentence, with its tokenizer 13a and exponential smoothing (Post 2018,
    arXiv:1804.08771). `chrf`: sacrebleu's chrF2 (Popovic 2015). `rouge_l`: rouge-score's F-measure of the longest
    common subsequence (Lin 2004), without stemming; its words are of a to z and 0 to 9.

    Raises:
        ModelError: the package is not installed.
    """
    makers: dict[AnswerMetricName, Callable[[], LikenessScore]] = {"bleu": _bleu, "chrf": _chrf, "rouge_l": _rouge_l}
    return makers[name]()


def evaluation_package(module: str, package: str, purpose: str) -> ModuleType:
    """A module of a package of the extra `evaluation`.

    Raises:
        ModelError: it is not installed; the sentence says for what it is needed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ModelError(
            f'{purpose} needs the package {package}, which is not installed: pip install "sealora[evaluation]"'
        ) from None


def _bleu() -> LikenessScore:
    metric = evaluation_package("sacrebleu.metrics", "sacrebleu", "BLEU").BLEU(effective_order=True)
    return lambda answer, right: float(metric.sentence_score(answer, [right]).score) / 100


def _chrf() -> LikenessScore:
    metric = evaluation_package("sacrebleu.metrics", "sacrebleu", "chrF").CHRF()
    return lambda answer, right: float(metric.sentence_score(answer, [right]).score) / 100


def _rouge_l() -> LikenessScore:
    scorers = evaluation_package("rouge_score.rouge_scorer", "rouge-score", "ROUGE-L")
    own = scorers.tokenizers.DefaultTokenizer(use_stemmer=False)  # which it takes unasked, and says so on the terminal
    scorer = scorers.RougeScorer(["rougeL"], tokenizer=own)
    return lambda answer, right: float(scorer.score(right, answer)["rougeL"].fmeasure)
