"""Nothing that was told of a growing text is taken back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_client.trained.serving.settled import SettledText, before_stop
from sealora_common.errors import ModelError

TEXT = st.text(st.sampled_from("ab .\nä€\U0001f600"), max_size=40)


@given(TEXT, st.lists(st.text("ab .", min_size=1, max_size=8), max_size=4))
def test_the_parts_are_the_whole_however_it_grows(text, stops):
    settled = SettledText(stops)
    grown = text.encode()
    parts = []
    for length in range(1, len(grown) + 1):
        so_far, is_over = before_stop(grown[:length].decode(errors="replace").lstrip(), stops)
        if is_over:
            break
        parts.append(settled.grown(so_far))
    whole = before_stop(text.strip(), stops)[0].rstrip()
    assert "".join([*parts, settled.ended(whole)]) == whole


@given(TEXT, st.text("ab .", min_size=1, max_size=6))
def test_what_may_begin_a_stop_is_not_told(text, stop):
    told = SettledText([stop]).grown(text)
    assert text.startswith(told)
    for length in range(1, len(stop)):
        assert len(told) <= len(text) - length or not text.endswith(stop[:length])


def test_white_space_that_goes_before_a_mark_was_not_told_and_a_text_grows_before_it_ends():
    settled = SettledText([])
    parts = [settled.grown(text) for text in ("I do", "I do n'", "I don't", "I don't know .", "I don't know. Yes.")]
    assert "".join([*parts, settled.ended("I don't know. Yes.")]) == "I don't know. Yes."
    assert any(parts)


def test_a_tokenizer_that_rewrites_what_it_has_written_is_found_out():
    settled = SettledText([])
    assert settled.grown("a long beginning")
    assert settled.grown("another beginning") == ""
    with pytest.raises(ModelError, match="ask without stream"):
        settled.ended("another beginning")
