"""The one path from a data file to what rounds work on."""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, MptConfig

from sealora_client.data.load import load_data, read_records_of
from sealora_client.model.adapted import AdaptedModel
from sealora_common.errors import DataError, ModelError
from sealora_common.recipe import Recipe

from tiny_models import CHATML, tiny_tokenizer

Line = dict[str, Any]


@pytest.fixture(scope="module")
def model(tiny_base: Callable[..., Path]) -> AdaptedModel:
    return AdaptedModel.load(recipe_on(tiny_base()))


@pytest.fixture
def touchy(model: AdaptedModel, monkeypatch: pytest.MonkeyPatch) -> AdaptedModel:
    """Its template fails on what says `refuse me`."""
    refusing = "{% for m in messages %}{% if 'refuse me' in m['content'] %}{{ raise_exception('no') }}{% endif %}"
    monkeypatch.setattr(model.tokenizer, "chat_template", refusing + "{% endfor %}" + CHATML)
    return model


def recipe_on(base: Path | str = "none", **changes: Any) -> Recipe:
    model = {"base": str(base), "quantization": "none", "compute_dtype": "float32"}
    values: dict[str, Any] = {"name": "tiny", "rounds": 1, "model": model, "data": {"max_tokens": 64}}
    for section, fields in changes.items():
        values[section] = {**values.get(section, {}), **fields} if isinstance(fields, dict) else fields
    return Recipe.model_validate(values)


BY_PERSON = {"person_field": "patient", "max_tokens": 64}


def lines(train: int = 12, heldout: int = 6, each: int = 1) -> list[Line]:
    return [
        {"prompt": f"{part} {number} {own}", "response": "yes", "split": part, "patient": f"{part}-{number}"}
        for part, count in (("train", train), ("heldout", heldout))
        for number in range(count)
        for own in range(each)
    ]


def write(path: Path, content: list[Line]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in content))
    return path


@pytest.mark.parametrize("data", [{"max_tokens": 64, "heldout_limit": 4}, BY_PERSON | {"heldout_limit": 2}])
def test_what_is_charged_are_the_units_that_are_used_and_the_cheap_way_says_the_same(model, tmp_path, data):
    recipe = recipe_on(data=data, privacy={"records_per_person": 3})
    path = write(tmp_path / "site.jsonl", lines(each=5))
    loaded, records = load_data(path, recipe, model), read_records_of(path, recipe)
    assert (loaded.train_set, loaded.heldout_set) == (records.train_set, records.heldout_set)
    assert (len(loaded.train), len(loaded.heldout)) == (len(loaded.train_set), len(loaded.heldout_set))
    assert loaded.train.examples == len(records.train) == len(loaded.train_set.records) == 60
    assert loaded.heldout.examples == len(records.heldout) == len(loaded.heldout_set.records)
    assert len(loaded.heldout) == data["heldout_limit"]
    if "person_field" in data:
        assert all(len(unit) == 3 for unit in loaded.heldout.units)
        assert all(len(unit) == 5 for unit in loaded.train.units)  # of them some are drawn anew in each step
    shown = {model.tokenizer.decode(unit[0].tokens).split("\n")[1] for unit in loaded.heldout.units}
    assert shown <= {f"{record.prompt}<|im_end|>" for record in records.heldout}


def test_the_order_of_the_file_decides_nothing(tmp_path):
    recipe = recipe_on(data=BY_PERSON | {"heldout_limit": 3}, privacy={"records_per_person": 2})
    content = lines(each=4)
    before = read_records_of(write(tmp_path / "one.jsonl", content), recipe)
    random.Random(1).shuffle(content)
    after = read_records_of(write(tmp_path / "two.jsonl", content), recipe)
    assert (before.train_set, before.heldout_set) == (after.train_set, after.heldout_set)


def test_one_person_in_two_spellings_is_one_unit_if_the_recipe_folds_and_refused_if_not(model, tmp_path):
    content = lines(each=2)
    content[1] |= {"patient": "  TRAIN-0\u200b"}
    path = write(tmp_path / "site.jsonl", content)
    with pytest.raises(DataError, match=r"line 2: the identifier .* data\.fold_persons: true"):
        read_records_of(path, recipe_on(data=BY_PERSON))
    folding = load_data(path, recipe_on(data=BY_PERSON | {"fold_persons": True}), model)
    assert (len(folding.train), folding.train.examples) == (12, 24)
    content[1] |= {"patient": "train-0"}
    alike = load_data(write(path, content), recipe_on(data=BY_PERSON), model).train_set
    assert replace(alike, rows=()) == replace(folding.train_set, rows=())  # whose rows are as they were written


def test_without_folding_the_ledger_knows_a_person_by_the_same_digest_as_ever(tmp_path):
    content = [
        line | {"patient": "Zoë Straße" if line["patient"] == "train-0" else line["patient"]} for line in lines()
    ]
    records = read_records_of(write(tmp_path / "site.jsonl", content), recipe_on(data=BY_PERSON))
    assert hashlib.sha256(b"sealora person v1\n" + "Zoë Straße".encode()).digest() in records.train_set.members


def test_a_record_that_cannot_be_shown_still_counts_and_changes_no_other(touchy, tmp_path):
    content = lines()
    plain = load_data(write(tmp_path / "plain.jsonl", content), recipe_on(), touchy)
    assert plain.warning is None
    content[3:3] = [lines()[3] | {"prompt": "refuse me"}]
    content.append({"prompt": "refuse me too", "response": "r", "split": "heldout"})
    path = write(tmp_path / "site.jsonl", content)
    loaded = load_data(path, recipe_on(), touchy)
    assert (len(loaded.train), len(loaded.train_set)) == (13, 13)
    assert (len(loaded.heldout), len(loaded.heldout_set)) == (7, 7)
    units = list(loaded.train.units)
    assert units.pop(3)[0].unusable == "template"
    assert [unit[0].tokens.tolist() for unit in units] == [unit[0].tokens.tolist() for unit in plain.train.units]
    assert loaded.warning == (
        f"{path}: 2 of 20 records (10.0%) teach and measure nothing, the chat template fails on them (lines 4, 20): "
        "correct or drop them"
    )


def test_a_warning_names_the_first_places_and_no_text(touchy, tmp_path):
    content = [line | {"response": "refuse me, Ada" if number % 2 else "yes"} for number, line in enumerate(lines(40))]
    warning = load_data(write(tmp_path / "site.jsonl", content), recipe_on(), touchy).warning
    assert "23 of 46 records (50.0%)" in warning
    assert "(lines 2, 4, 6, 8, 10 and 18 more)" in warning
    assert "Ada" not in warning
    assert "\n" not in warning


def test_if_no_record_can_be_shown_that_is_said_and_no_reason_to_stay_away(touchy, tmp_path):
    """A recipe that leaves nothing but one record would learn from a refusal whether the site holds it."""
    path = write(tmp_path / "site.jsonl", [line | {"response": "refuse me"} for line in lines()])
    loaded = load_data(path, recipe_on(), touchy)
    assert {unit[0].unusable for part in (loaded.train, loaded.heldout) for unit in part.units} == {"template"}
    assert loaded.warning is not None
    assert "none of the 18 records teaches or measures anything, the chat template fails" in loaded.warning


def with_template(model: AdaptedModel, monkeypatch: pytest.MonkeyPatch, template: str) -> AdaptedModel:
    monkeypatch.setattr(model.tokenizer, "chat_template", template)
    return model


def test_a_template_that_opens_a_block_of_reasoning_is_refused_by_name_with_the_first_record(
    model, monkeypatch, tmp_path
):
    thinking = with_template(model, monkeypatch, CHATML.replace("assistant\n", "assistant\n<think>\n"))
    path = write(tmp_path / "site.jsonl", lines())
    with pytest.raises(ModelError) as raised:
        load_data(path, recipe_on("some/base"), thinking)
    assert str(raised.value).startswith(
        f"{path}, line 1 and all others: the chat template of some/base opens a block of reasoning before the response"
    )
    assert "\n" not in str(raised.value)


def test_a_template_that_drops_the_system_prompt_is_refused_if_the_recipe_has_one(model, monkeypatch, tmp_path):
    dropping = "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}" + CHATML
    model = with_template(model, monkeypatch, dropping)
    path = write(tmp_path / "site.jsonl", lines())
    assert len(load_data(path, recipe_on(), model).train) == 12
    with pytest.raises(ModelError, match=r"the chat template of none drops data\.system_prompt: leave that out"):
        load_data(path, recipe_on(data={"system_prompt": "Be brief."}), model)


def test_records_that_the_template_changes_are_named_by_line_and_without_their_text(model, monkeypatch, tmp_path):
    trimming = with_template(model, monkeypatch, CHATML.replace("message['content']", "message['content'] | trim"))
    content = lines()
    path = write(tmp_path / "site.jsonl", content)
    assert len(load_data(path, recipe_on(), trimming).train) == 12
    for line in (3, 7):
        content[line] |= {"response": "  Ada"}
    loaded = load_data(write(path, content), recipe_on("some/base"), trimming)
    assert loaded.warning is not None
    assert loaded.warning.endswith(
        "teach and measure nothing, the chat template changes their texts: white space at the ends, or markup that it "
        "rewrites (lines 4, 8): correct or drop them"
    )
    assert "Ada" not in loaded.warning
    # Counted all the same: whether a site takes part, and with how many units, is decided by no record.
    assert len(loaded.train) == 12
    assert sum(example.unusable == "altered" for unit in loaded.train.units for example in unit) == 2


def test_a_base_model_that_ends_no_turn_is_refused(tiny_base, tmp_path):
    model = AdaptedModel.load(recipe_on(tiny_base()))
    model.model.generation_config.eos_token_id = model.tokenizer.eos_token = None
    path = write(tmp_path / "site.jsonl", lines())
    for template in (None, CHATML):
        model.tokenizer.chat_template = template
        with pytest.raises(ModelError, match=r"of none ends a response with no end mark .* name the token that ends a"):
            load_data(path, recipe_on(), model)


def test_a_token_beyond_the_model_s_embedding_makes_a_placeholder(tiny_base, tmp_path):
    model = AdaptedModel.load(recipe_on(tiny_base()))
    model.tokenizer.add_tokens(["\t\t\t"])  # white space: text, though it was added
    content = [*lines(), {"prompt": "p", "response": "an\t\t\tone", "split": "train"}]
    loaded = load_data(write(tmp_path / "site.jsonl", content), recipe_on(), model)
    assert [unit[0].unusable for unit in loaded.train.units] == [None] * 12 + ["vocabulary"]


def test_a_recipe_that_shows_a_model_more_than_the_positions_it_learned_is_refused(tiny_base, tmp_path):
    """Else one long record would fail in the midst of a round."""
    learned = AdaptedModel.load(recipe_on(tiny_base("gpt2")))
    path = write(tmp_path / "site.jsonl", lines())
    with pytest.raises(ModelError, match=r"data\.max_tokens is 513, but the base model has 512 positions: agree on"):
        load_data(path, recipe_on(data={"max_tokens": 513}), learned)
    assert len(load_data(path, recipe_on(data={"max_tokens": 512}), learned).train) == 12
    virtual = {"adapter": "prompt_tuning", "prompt_tuning": {"virtual_tokens": 2}}
    with pytest.raises(ModelError, match=r"data\.max_tokens is 511 and prompt_tuning\.virtual_tokens 2, but the base"):
        load_data(path, recipe_on(data={"max_tokens": 511}, **virtual), learned)
    assert len(load_data(path, recipe_on(data={"max_tokens": 510}, **virtual), learned).train) == 12


def test_positions_that_a_model_adds_to_its_attention_are_kept_to_as_well(tmp_path):
    base = tmp_path / "mpt"
    sizes = {"d_model": 64, "n_heads": 4, "n_layers": 1, "expansion_ratio": 2, "vocab_size": 384}
    configuration = MptConfig(max_seq_len=128, eos_token_id=2, **sizes)
    AutoModelForCausalLM.from_config(configuration).to(torch.float32).save_pretrained(base)
    tiny_tokenizer().save_pretrained(base)
    model = AdaptedModel.load(recipe_on(base, model={"attention": "eager"}))
    path = write(tmp_path / "site.jsonl", lines())
    with pytest.raises(ModelError, match=r"data\.max_tokens is 129, but the base model has 128 positions: agree on"):
        load_data(path, recipe_on(data={"max_tokens": 129}), model)
    assert len(load_data(path, recipe_on(data={"max_tokens": 128}), model).train) == 12


def test_rotary_positions_go_on(model, tmp_path):
    path = write(tmp_path / "site.jsonl", lines())
    loaded = load_data(path, recipe_on(data={"max_tokens": 4096}), model)
    assert len(loaded.train) == 12
    assert loaded.remarks[0].startswith("data.max_tokens is 4096, but the base model was taught 512 positions")
    assert load_data(path, recipe_on(data={"max_tokens": 512}), model).remarks == ()


def test_counting_units_needs_no_torch(tmp_path):
    """`sealora-site budget` answers at once."""
    path = write(tmp_path / "site.jsonl", lines())
    program = (
        "import sys; from pathlib import Path; from sealora_common.recipe import parse_recipe\n"
        "from sealora_client.data.load import read_records_of\n"
        "recipe = parse_recipe('{name: tiny, rounds: 1, model: {base: none}}')\n"
        f"print(len(read_records_of(Path({str(path)!r}), recipe).train_set), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["12", "False"]


def test_a_template_that_cannot_show_conversations_is_refused_before_round_1(model, monkeypatch, tmp_path):
    endless = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    asking = endless + "{% if add_generation_prompt %}assistant: {% endif %}"
    monkeypatch.setattr(model.tokenizer, "chat_template", asking)
    content = [
        {"messages": [{"role": role, "content": part} for role in ("user", "assistant") * 2], "split": part}
        for part in ("train", "heldout")
    ]
    path = write(tmp_path / "site.jsonl", content)
    with pytest.raises(ModelError, match=r"line 1 and all others: .* agree on data\.learned_turns: last"):
        load_data(path, recipe_on(data={"layout": "messages"}), model)
    assert len(load_data(path, recipe_on(data={"layout": "messages", "learned_turns": "last"}), model).train) == 1


SOURCES = Path(load_data.__code__.co_filename).parents[1]


@pytest.mark.parametrize(
    ("reader", "only"),
    [
        # A report shows all that is held out, and no run is made of what it reads.
        (r"\bread_records\(", {"data/records.py", "data/load.py", "data_report/chosen.py"}),
        (r"\bfile_kind\(", {"data/formats/choice.py", "data/source/rows.py"}),
        (r"layouts\.choice import", {"data/records.py", "data_cleaning/rows.py"}),  # which makes a copy, and no run
        (
            r"source_rows\(",  # a policy is made by how many rows there are; groups by a column, of records read before
            {
                "data/source/rows.py",
                "data/records.py",
                "data_cleaning/rows.py",
                "site/careful_policy.py",
                "site_evaluation/records.py",
            },
        ),
        (
            r"\.shown\(",  # of the others one shows a word, and one what a client of the served model asked: no record
            {"data/examples.py", "data/templates/soundness.py", "data/templates/asked.py"},
        ),
        (
            r"\bto_examples\(",
            {
                "data/examples.py",
                "objective/causal.py",
                "objective/classification.py",
                "objective/kto.py",
                "objective/pairs.py",
            },
        ),
        (r"\bDataSet\.of\(", {"data/load.py"}),
        (r"\bPopulation\.of\(", {"data/load.py", "data/population.py"}),
        (r"(?<![.\w])evaluated\(", {"data/selection.py", "data/load.py", "data_report/chosen.py"}),
        (r"heldout_limit", {"data/selection.py"}),
    ],
)
def test_there_is_no_other_path(reader, only):
    """It was written three times once, and had drifted."""
    found = {
        str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.py") if re.search(reader, path.read_text("utf-8"))
    }
    assert found == only
