"""`sealora-site model pin`: the base model's digest comes into a recipe, and nothing else changes."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from sealora_client.cli import cli
from sealora_client.joining.pinned import pinned_recipe
from sealora_client.model.model_files import digest_of
from sealora_common.errors import RecipeError, SealoraError, StorageError
from sealora_common.recipe import load_recipe

FORMS = {
    "one key": "name: a\nrounds: 1\nmodel:\n  base: {base}\n",
    "remarks": "name: a\nrounds: 1\nmodel: # what it is\n\n  # here\n  base: {base} # here\nlora: {{rank: 4}}\n",
    "deep": "name: a\nmodel:\n      base: {base}\n      quantization: none\nrounds: 1\n",
    "a digest that is old": "name: a\nrounds: 1\nmodel:\n  base: {base}\n  digest: " + "ab" * 32 + " # of before\n",
    "line ends of Windows": "name: a\r\nrounds: 1\r\nmodel:\r\n  base: {base}\r\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_the_digest_comes_in_and_every_other_line_stays(tmp_path, tiny_base, form):
    path = tmp_path / "a.yaml"
    path.write_bytes(FORMS[form].format(base=tiny_base()).encode())
    text, recipe = pinned_recipe(path)
    assert recipe.model.digest == digest_of(tiny_base())
    without = [line.rstrip() for line in text.splitlines() if "digest:" not in line]
    assert without == [line.rstrip() for line in path.read_text().splitlines() if "digest:" not in line]
    assert len(re.findall("digest:", text)) == 1


def test_a_section_on_one_line_stays_on_one_line(tmp_path, tiny_base):
    path = tmp_path / "a.yaml"
    path.write_text(f"name: a\nrounds: 1\nmodel: {{base: {tiny_base()}}} # it\n")
    digest = digest_of(tiny_base())
    assert pinned_recipe(path)[0] == f"name: a\nrounds: 1\nmodel: {{digest: {digest}, base: {tiny_base()}}} # it\n"


def test_a_digest_over_several_lines_is_left_to_a_person(tmp_path, tiny_base):
    path = tmp_path / "a.yaml"
    path.write_text(f"name: a\nrounds: 1\nmodel:\n  base: {tiny_base()}\n  digest: >-\n    {'ab' * 32}\n")
    with pytest.raises(RecipeError, match=r"so that no line can be added: add `digest: \w{64}` to it by hand"):
        pinned_recipe(path)


def test_the_command_writes_a_recipe_that_can_be_handed_on_and_overwrites_none(tmp_path, tiny_base):
    path, out = tmp_path / "a.yaml", tmp_path / "b.yaml"
    path.write_text(FORMS["one key"].format(base=tiny_base()))
    words = ["model", "pin", str(path), str(out)]
    said = CliRunner().invoke(cli, words).output
    assert f"Its hash, by which the parties know it: {load_recipe(out).hash}\n" in said
    assert out.stat().st_mode & 0o777 == 0o644
    result = CliRunner().invoke(cli, words)
    assert isinstance(result.exception, StorageError)
    assert "exists: choose another name" in str(result.exception)
    result = CliRunner().invoke(cli, ["model", "pin", str(path), str(path)])
    assert result.exception is None
    assert load_recipe(path) == load_recipe(out)


@pytest.mark.parametrize("content", [b"", b"\xff", b"name: [", b"model:\n  base: x\n"])
def test_what_is_no_recipe_is_one_sentence(tmp_path, content):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(SealoraError):
        pinned_recipe(tmp_path / "a.yaml")
