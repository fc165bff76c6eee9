"""What a recipe may say of its objective, and what of it nobody would read."""

from __future__ import annotations

import pytest

from sealora_common.errors import RecipeError
from sealora_common.recipe import Recipe, parse_recipe

MINIMAL = "name: test\nrounds: 2\nmodel: {base: some/model}\n"


def recipe(*overrides: str) -> Recipe:
    return parse_recipe(MINIMAL, overrides=overrides)


def test_a_recipe_without_the_section_learns_responses_causally():
    assert recipe().objective.kind == "causal"
    assert recipe("objective.kind=causal", "objective.loss_on=responses").hash == recipe().hash


@pytest.mark.parametrize(
    "overrides",
    [
        ["objective.loss_on=all"],
        ["objective.loss_on=all", "data.layout=messages"],
        ["data.layout=preference"],
        ["objective.kind=dpo", "data.layout=preference", "objective.label_smoothing=0.1"],
        ["objective.kind=dpo", "data.layout=preference", "objective.loss=ipo", "objective.beta=1"],
        ["objective.kind=orpo", "data.layout=preference", "objective.beta=0.5"],
    ],
)
def test_what_fits_is_taken_and_hashed(overrides):
    assert recipe(*overrides).hash != recipe().hash


REFUSED = {
    "pairs of no preference": (["objective.kind=dpo"], "learns from the layout preference, but data.layout is prompt"),
    "odds of no preference": (["objective.kind=orpo", "data.layout=text"], "but data.layout is text"),
    "beta of causal": (["objective.beta=0.2"], "beta is read with kind: dpo or orpo or kto_zero, and not with causal"),
    "loss_on of dpo": (
        ["objective.kind=dpo", "data.layout=preference", "objective.loss_on=all"],
        "loss_on is read with kind: causal, and not with dpo",
    ),
    "smoothing of orpo": (
        ["objective.kind=orpo", "data.layout=preference", "objective.label_smoothing=0.1"],
        "label_smoothing is read with kind: dpo",
    ),
    "smoothing of ipo": (
        ["objective.kind=dpo", "data.layout=preference", "objective.loss=ipo", "objective.label_smoothing=0.1"],
        "label_smoothing is read with loss: sigmoid",
    ),
    "all of a text": (["objective.loss_on=all", "data.layout=text"], "of a text all is learned anyway"),
    "all and the last turn": (
        ["objective.loss_on=all", "data.layout=messages", "data.learned_turns=last"],
        "leave out one of the two",
    ),
    "ipo beyond the range": (
        ["objective.kind=dpo", "data.layout=preference", "objective.loss=ipo"],
        "begins at 1 / .4 beta.2. = 25, which privacy.heldout_clip 8 cuts off.*set it to 50",
    ),
    "ipo beyond what travels": (
        ["objective.kind=dpo", "data.layout=preference", "objective.loss=ipo", "objective.beta=0.08"],
        "= 39.0625, but a held-out figure of no more than 64 travels: take a beta of 0.09 or more",
    ),
    "ipo beyond all numbers": (
        ["objective.kind=dpo", "data.layout=preference", "objective.loss=ipo", "objective.beta=1.0e-308"],
        "= inf, but a held-out figure of no more than 64 travels: take a beta of 0.09 or more",
    ),
    "an unknown kind": (["objective.kind=ppo"], "objective.kind"),
    "no beta": (["objective.kind=orpo", "data.layout=preference", "objective.beta=0"], "objective.beta"),
    "smoothing of a half": (
        ["objective.kind=dpo", "data.layout=preference", "objective.label_smoothing=0.5"],
        "objective.label_smoothing",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_sentence(case):
    overrides, said = REFUSED[case]
    with pytest.raises(RecipeError, match=said) as error:
        recipe(*overrides)
    assert "\n" not in str(error.value)


def test_a_beta_of_any_size_is_taken_or_refused():
    pairs = ["objective.kind=dpo", "data.layout=preference", "objective.loss=ipo"]
    assert recipe(*pairs, "objective.beta=1.0e+308").objective.beta == 1e308


CLASSES = ["objective.kind=classification", "data.layout=labelled"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (CLASSES, "which names 0: name every label of every site"),
        ([*CLASSES, "data.labels={a: x, b: x}"], "which names 1"),
        ([*CLASSES, "data.labels={a: x, b: y}", "objective.label_weights={c: 2}"], "names 'c', which data.labels does"),
        (
            [*CLASSES, "data.labels={a: x, b: x, c: y}", "objective.label_weights={a: 2}"],
            "weighs a and b differently, which are one class",
        ),
        (
            [*CLASSES, "data.trim=true", "data.labels={a: x, b: ' x', c: y}", "objective.label_weights={a: 2}"],
            "weighs a and b differently, which are one class",
        ),
        ([*CLASSES, "data.trim=true", "data.labels={a: x, b: ' x'}"], "which names 1"),
        (["objective.label_weights={a: 2}"], "label_weights is read with kind: classification, and not with causal"),
        (["objective.kind=classification", "data.labels={}"], "learns from the layout labelled"),
        (["evaluation.metric=accuracy"], "accuracy needs objective.kind: classification, not causal"),
        (
            [*CLASSES, "data.labels={a: x, b: y}", "evaluation.metric=exact_match"],
            "exact_match needs objective.kind: causal, not classification",
        ),
        (
            ["objective.kind=dpo", "data.layout=preference", "evaluation.metric=token_accuracy"],
            "token_accuracy needs objective.kind: causal, not dpo",
        ),
        (
            ["objective.loss_on=all", "evaluation.metric=exact_match"],
            "exact_match is of responses",
        ),
        (["objective.loss_on=all", "evaluation.metric=rouge_l"], "rouge_l is of responses"),
        (["objective.kind=dpo", "data.layout=preference", "evaluation.metric=bleu"], "bleu needs objective.kind: caus"),
        ([*CLASSES, "data.labels={a: x, b: y}", "evaluation.metric=chrf"], "chrf needs objective.kind: causal"),
        (["data.layout=text", "evaluation.metric=bleu"], "records of data.layout: text ask nothing"),
        (
            ["evaluation.metric=exact_match", "evaluation.max_new_tokens=8"],
            "max_new_tokens is read with metric: bleu, chrf or rouge_l, and not with exact_match",
        ),
        (["evaluation.metric=bleu", "evaluation.max_new_tokens=0"], "max_new_tokens"),
        (["evaluation.metric=bleu", "evaluation.max_new_tokens=4097"], "max_new_tokens"),
        ([*CLASSES, "data.labels={a: x, b: y}", "objective.label_weights={a: 0}"], "label_weights"),
    ],
)
def test_classes_that_are_not_agreed_on_are_refused(overrides, said):
    with pytest.raises(RecipeError, match=said):
        recipe(*overrides)


def test_classes_that_are_agreed_on_are_taken():
    labels = "data.labels={'0': benign, '1': malignant}"
    weighed = recipe(*CLASSES, labels, "objective.label_weights={'1': 5}", "evaluation.metric=accuracy")
    assert weighed.objective.label_weights == {"1": 5.0}
    assert weighed.hash != recipe(*CLASSES, labels).hash


def test_a_metric_of_answers_says_how_long_they_may_be_and_changes_the_hash():
    plain, bleu = recipe(), recipe("evaluation.metric=bleu")
    longer = recipe("evaluation.metric=bleu", "evaluation.max_new_tokens=128")
    assert (plain.evaluation.decoded_tokens, bleu.evaluation.decoded_tokens) == (0, 64)
    assert longer.evaluation.decoded_tokens == 128
    assert len({plain.hash, bleu.hash, longer.hash}) == 3
    assert plain.hash == recipe("evaluation.max_new_tokens=64").hash


FEEDBACK = ["objective.kind=kto_zero", "data.layout=feedback"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["objective.kind=kto", "data.layout=feedback"],
            "kto has every record in the gradients of the.*kto_zero",
        ),
        (["objective.kind=contrastive"], "its negatives are the other records of a batch"),
        (["objective.kind=kto_zero"], "learns from the layout feedback, but data.layout is prompt_response"),
        (["data.layout=feedback"], "kind: causal learns from the layout"),
        (["objective.unwanted_weight=2"], "unwanted_weight is read with kind: kto_zero, and not with causal"),
        ([*FEEDBACK, "objective.loss=ipo"], "loss is read with kind: dpo, and not with kto_zero"),
    ],
)
def test_what_mixes_records_or_is_no_feedback_is_refused(overrides, said):
    with pytest.raises(RecipeError, match=said):
        recipe(*overrides)


def test_feedback_is_taken():
    assert recipe(*FEEDBACK, "objective.wanted_weight=2").objective.wanted_weight == 2


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        (["objective.kind=dpo", "data.layout=preference"], True),
        (FEEDBACK, True),
        (["objective.kind=orpo", "data.layout=preference"], False),
        ([], False),
    ],
)
def test_what_compares_with_the_model_before_round_1_goes_on_with_no_earlier_run(overrides, refused):
    overrides = [*overrides, f"continue_from={'ab' * 32}"]
    if refused:
        with pytest.raises(RecipeError, match=r"compares with the model that the run begins with.*merge that adapter"):
            recipe(*overrides)
    else:
        assert recipe(*overrides).continue_from


def test_the_least_beta_is_taken():
    overrides = ["objective.kind=dpo", "data.layout=preference", "objective.loss=ipo", "objective.beta=0.09"]
    assert recipe(*overrides, "privacy.heldout_clip=64").objective.beta == 0.09
