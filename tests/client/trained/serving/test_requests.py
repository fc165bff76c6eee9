"""What a request may ask of a model, by the layout of the records that it was trained on."""

from __future__ import annotations

import json

import pytest

from sealora_client.trained.serving.requests import chat_request
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

USER = {"role": "user", "content": "how it goes on"}
ANSWERED = [USER, {"role": "assistant", "content": "so"}, USER]


def inquiry_of(messages: list[dict[str, str]], **section: object):
    asked = chat_request(json.dumps({"model": "m", "messages": messages}).encode())
    return asked.inquiry(DataSection.model_validate(section), 16)


@pytest.mark.parametrize("messages", [[{"role": "system", "content": "Be brief."}, USER], ANSWERED])
def test_a_model_of_texts_takes_one_message(messages):
    with pytest.raises(DataError, match="trained on texts that stand by themselves: send one user message"):
        inquiry_of(messages, layout="text")


def test_one_message_is_what_it_takes():
    assert inquiry_of([USER], layout="text")
