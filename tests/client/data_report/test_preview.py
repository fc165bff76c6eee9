from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from untidy_data import clean_rows, write_recipe, write_rows, write_untidy

from sealora_client.data.example import Example
from sealora_client.data.source.places import Places
from sealora_client.data_report.base_tokens import BaseTokens
from sealora_client.data_report.chosen import ChosenData, ReadData
from sealora_client.data_report.preview import ShownRecord, chosen_records, places_in, shown_records, token_texts
from sealora_client.data_report.token_lines import legend, show_record
from sealora_common.errors import DataError, ModelError
from sealora_common.recipe import Recipe

from tiny_models import tiny_tokenizer

TOKENIZER = tiny_tokenizer()


@pytest.fixture
def shown(tmp_path, tiny_base):
    """`shown(rows, line, **section)`: the record of that line as the model sees it."""

    def made(rows, line: int, **section) -> ShownRecord:
        data = write_rows(tmp_path / "notes.jsonl", rows)
        chosen = ChosenData.at(tmp_path, data, write_recipe(tmp_path / "recipe.yaml", tiny_base(), **section))
        (record,) = shown_records(
            chosen_records(chosen.read(), 1, 0, line), chosen.recipe, BaseTokens.load(chosen.recipe.model)
        )
        return record

    return made


@pytest.fixture
def several(tmp_path, tiny_base):
    """`several(rows, line, objective, **section)`: all that the model is shown of the record of that line."""

    def made(rows, line: int, objective: dict[str, str], **section) -> list[ShownRecord]:
        data = write_rows(tmp_path / "notes.jsonl", rows)
        recipe = yaml.safe_load(write_recipe(tmp_path / "recipe.yaml", tiny_base(), **section).read_text())
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"objective": objective}))
        chosen = ChosenData.at(tmp_path, data, tmp_path / "recipe.yaml")
        records = chosen_records(chosen.read(), 1, 0, line)
        return shown_records(records, chosen.recipe, BaseTokens.load(chosen.recipe.model))

    return made


def text(record: ShownRecord, **wanted: bool) -> str:
    return "".join(
        token.text for token in record.tokens if all(getattr(token, name) == value for name, value in wanted.items())
    )


def on_a_terminal(record: ShownRecord, colours: bool = False, bars: bool = False, places: Places | None = None) -> str:
    console = Console(width=200, force_terminal=colours, color_system="standard" if colours else None)
    with console.capture() as capture:
        show_record(record, Places("notes.jsonl") if places is None else places, console, bars)
    return capture.get()


def test_a_record_is_shown_whole_with_its_response_trained_and_its_frame_as_control(shown):
    row = clean_rows()[0]
    record = shown(clean_rows(), 1)
    frame = ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>")
    assert text(record) == f"{frame[0]}{row['prompt']}{frame[1]}{row['response']}{frame[2]}"
    assert text(record, trained=True) == f"{row['response']}<|im_end|>"
    assert [token.text for token in record.tokens if token.control] == [
        "<|im_start|>",
        "<|im_end|>",
        "<|im_start|>",
        "<|im_end|>",
    ]
    assert (record.line, record.heap, record.cut) == (1, "training", 0)


def test_what_people_write_is_no_control_though_it_looks_like_it(shown):
    record = shown([*clean_rows(), {"prompt": "say <|im_end|> now", "response": "no", "split": "train"}], 51)
    assert "say <|im_end|> now" in text(record, control=False)
    assert "say ⟦" not in on_a_terminal(record)
    assert "⟦<|im_end|>⟧" in on_a_terminal(record)


def test_what_is_cut_stands_where_it_was_cut_from(shown):
    prompt = "one two three " * 60 + "end"
    record = shown([*clean_rows(), {"prompt": prompt, "response": "done", "split": "train"}], 51, max_tokens=64)
    assert prompt in text(record)
    assert sum(not token.cut for token in record.tokens) == 64
    assert sum(token.cut for token in record.tokens) == record.cut > 100
    assert text(record, cut=False).startswith("<|im_start|>user\none two three ")
    assert text(record, cut=False).endswith("end<|im_end|>\n<|im_start|>assistant\ndone<|im_end|>")
    drawn = on_a_terminal(record)
    assert f"64 tokens, {sum(token.trained for token in record.tokens)} of them trained on; {record.cut} more" in drawn
    assert f"... {record.cut - 40} more ..." in drawn


def test_the_end_of_a_long_response_is_cut(shown):
    response = " ".join(f"word{place}" for place in range(100))
    record = shown([*clean_rows(), {"prompt": "go", "response": response, "split": "train"}], 51, max_tokens=64)
    assert response.startswith(text(record, trained=True))
    assert text(record, cut=True).endswith("word99<|im_end|>")


def test_all_responses_of_a_conversation_are_trained_but_those_that_are_not(shown):
    turns = [
        {"role": "user", "content": "first question"},
        {"role": "assistant", "content": "first answer"},
        {"role": "user", "content": "second question"},
        {"role": "assistant", "content": "second answer", "weight": 0},
        {"role": "user", "content": "third question"},
        {"role": "assistant", "content": "third answer"},
    ]
    rows = [{"messages": turns, "split": "train"}, {"messages": turns[:2], "split": "heldout"}]
    record = shown(rows, 1, layout="messages")
    assert text(record, trained=True) == "first answer<|im_end|>third answer<|im_end|>"
    short = shown(rows, 1, layout="messages", max_tokens=64)
    assert short.cut > 0
    assert "third answer" in text(short, trained=True, cut=False)


def test_a_preference_is_shown_with_either_response(several):
    row = {"prompt": "which?", "chosen": "the better one", "rejected": "the worse one"}
    rows = [row | {"split": "train"}, row | {"prompt": "and which?", "split": "heldout"}]
    chosen, rejected = several(rows, 1, {"kind": "dpo"}, layout="preference")
    assert (chosen.which, rejected.which) == ("with the chosen response", "with the rejected response")
    assert text(chosen, trained=True) == "the better one<|im_end|>"
    assert text(rejected, trained=True) == "the worse one<|im_end|>"
    assert "line 1, training, with the rejected response: " in on_a_terminal(rejected)


def test_a_response_to_avoid_is_said_to_be_one(several):
    row = {"prompt": "which?", "completion": "this one", "split": "train"}
    rows = [row | {"label": False}, row | {"label": True, "prompt": "and?"}, row | {"label": True, "split": "heldout"}]
    rows[2]["prompt"] = "or?"
    for line, which in ((1, "with a response to avoid"), (2, "")):
        (shown,) = several(rows, line, {"kind": "kto_zero"}, layout="feedback")
        assert shown.which == which
        assert text(shown, trained=True) == "this one<|im_end|>"


def test_a_text_that_is_split_is_shown_piece_by_piece(several):
    written = " ".join(f"word{place}" for place in range(60))
    rows = [{"text": written, "split": "train"}, {"text": "short", "split": "heldout"}]
    pieces = several(rows, 1, {}, layout="text", long_texts="split", max_tokens=64)
    assert len(pieces) > 2
    assert [piece.which for piece in pieces[:2]] == [f"piece {n} of {len(pieces)}" for n in (1, 2)]
    assert all(f"word{place}" in "".join(map(text, pieces)) for place in (0, 30, 59))
    assert not any(piece.cut for piece in pieces)


def test_a_record_that_cannot_be_shown_says_why(shown, tiny_base, tmp_path):
    base = shutil.copytree(tiny_base(), tmp_path / "base")
    trimming = (base / "chat_template.jinja").read_text().replace("message['content']", "message['content'] | trim")
    (base / "chat_template.jinja").write_text(trimming)
    rows = [*clean_rows(), {"prompt": " blank before", "response": "x", "split": "train"}]
    data = write_rows(tmp_path / "notes.jsonl", rows)
    chosen = ChosenData.at(tmp_path, data, write_recipe(tmp_path / "recipe.yaml", base))
    records = chosen_records(chosen.read(), 1, 0, 51)
    (record,) = shown_records(records, chosen.recipe, BaseTokens.load(chosen.recipe.model))
    assert record.tokens == ()
    assert "line 51, training: teaches and measures nothing, as the chat template changes" in on_a_terminal(record)


def test_colours_are_a_help_and_not_needed(shown):
    record = shown(clean_rows(), 1)
    plain, coloured = on_a_terminal(record), on_a_terminal(record, colours=True)
    assert "\x1b" not in plain
    assert "\x1b[4;32m" in coloured  # underlined and green
    for drawn in (plain, coloured):
        assert "given" in drawn
        assert "trained" in drawn
        assert "⟦" in drawn
    assert "|" in on_a_terminal(record, bars=True)
    assert "where a token ends" in legend(True).plain
    assert "where a token ends" not in legend(False).plain


def test_records_are_chosen_at_random_and_again_by_their_seed(tmp_path, tiny_base):
    data = write_untidy(tmp_path / "notes.jsonl")
    read = ChosenData.at(tmp_path, data, write_recipe(tmp_path / "recipe.yaml", tiny_base())).read()
    lines = {seed: [record.line for _, record in chosen_records(read, 5, seed, None)] for seed in range(20)}
    assert lines[3] == [record.line for _, record in chosen_records(read, 5, 3, None)]
    assert len({tuple(each) for each in lines.values()}) > 15
    assert all(each == sorted(set(each)) for each in lines.values())
    assert len(chosen_records(read, 1000, 0, None)) == 62
    assert {heap for heap, _ in chosen_records(read, 1000, 0, None)} == {"training", "held out"}
    with pytest.raises(DataError, match="line 63: there is no record there: name another with --line"):
        chosen_records(read, 1, 0, 63)


@settings(max_examples=60)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_the_texts_of_tokens_together_are_the_text(written):
    ids = TOKENIZER(written, add_special_tokens=False)["input_ids"]
    texts = token_texts(ids, TOKENIZER)
    assert len(texts) == len(ids)
    assert "".join(texts) == written


def test_without_the_base_model_there_is_one_sentence():
    section = Recipe.model_validate({"name": "n", "rounds": 1, "model": {"base": "nobody/nothing"}}).model
    with pytest.raises(ModelError, match="the base model nobody/nothing is not here: run `sealora-site model fetch"):
        BaseTokens.load(section)


def test_ends_and_the_number_of_tokens_are_those_that_the_model_s_files_name(tiny_base, tmp_path):
    base = shutil.copytree(tiny_base(), tmp_path / "base")
    generation = json.loads((base / "generation_config.json").read_text())
    (base / "generation_config.json").write_text(json.dumps(generation | {"eos_token_id": [0, 2]}))
    config = json.loads((base / "config.json").read_text())
    recipe = Recipe.model_validate({"name": "n", "rounds": 1, "model": {"base": str(base)}})
    tokens = BaseTokens.load(recipe.model).tokens
    assert (tokens.ends, tokens.count) == ([0, 2], config["vocab_size"])


def example(prompt: list[int], response: list[int]) -> Example:
    return Example(np.asarray([*prompt, *response], dtype=np.int32), prompt_length=len(prompt))


@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=12), st.lists(st.integers(0, 3), min_size=1, max_size=6), st.data()
)
def test_what_is_left_of_a_record_is_found_in_it(prompt, response, data):
    head = data.draw(st.integers(0, len(prompt)))
    tail = data.draw(st.integers(0 if head else 1, len(prompt) - head)) if head < len(prompt) else 0
    cut = example([*prompt[:head], *prompt[len(prompt) - tail :]], response[: data.draw(st.integers(1, len(response)))])
    places = places_in(example(prompt, response), cut)
    assert places is not None
    assert places == sorted(set(places))
    assert [[*prompt, *response][place] for place in places] == cut.tokens.tolist()


def test_tokens_that_the_whole_record_does_not_have_are_found_nowhere():
    whole = example([1, 2, 3, 4], [5, 6])
    assert places_in(whole, example([1, 9, 4], [5, 6])) is None
    assert places_in(whole, example([1, 4], [5, 9])) is None
    assert places_in(whole, example([1, 4], [5, 6, 7])) is None


def test_a_read_of_nothing_chooses_nothing(tmp_path):
    assert chosen_records(ReadData(tmp_path, Places(str(tmp_path)), [], [], []), 3, 0, None) == []


def test_a_record_of_several_files_is_told_by_its_place_and_by_the_number_that_line_takes():
    places = Places("data.yaml")
    places.begin("a.parquet", "row", 0)
    places.begin("b.json", "object", 10)
    record = ShownRecord(13, "training", (), 0, unusable="so")
    assert "b.json: object 3 (--line 13), training: teaches" in on_a_terminal(record, places=places)
    one = Places("a.parquet")
    one.begin("a.parquet", "row", 0)
    assert "row 13, training: teaches" in on_a_terminal(record, places=one)
