from __future__ import annotations

import pytest

from sealora_common.config import checked
from sealora_common.errors import UnreadableError
from sealora_common.recipe import TrainingSection
from sealora_common.recipe.sections.lora import LoraSection


def test_values_that_are_right_make_the_model() -> None:
    assert checked(TrainingSection, {"steps_per_round": 2}) == TrainingSection(steps_per_round=2)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"steps_per_rond": 2}, "x.yaml: steps_per_rond: unknown key, did you mean 'steps_per_round'?"),
        ({"steps_per_round": 0}, "x.yaml: steps_per_round: 0 will not do: input should be greater than or equal to 1"),
        ({"betas": 0.9}, "x.yaml: betas: 0.9 will not do: input should be a list"),
        (3, "x.yaml: training: input should be a mapping"),
    ],
)
def test_values_that_are_wrong_make_one_sentence(value: object, sentence: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        checked(TrainingSection, value, before="x.yaml: ", whole="training")
    assert str(caught.value).lower().startswith(sentence.lower())


def test_each_kind_of_value_that_a_field_takes_is_named() -> None:
    with pytest.raises(UnreadableError, match=r"target_modules: 'q_proj' will not do: .* 'all-linear', or .* a list$"):
        checked(LoraSection, {"target_modules": "q_proj"})
