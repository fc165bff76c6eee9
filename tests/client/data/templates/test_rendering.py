from __future__ import annotations

import ast
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quick_cases import quick_cases
from sealora_client.data.examples import to_examples
from sealora_client.data.record import Record
from sealora_client.data.templates.rendering import (
    Renderer,
    TemplateBrokenError,
    TemplateOverrunError,
    TemplateRefusedError,
    check_template,
    render,
)
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.data import DataSection

from tiny_models import CHATML, CHATML_WITHOUT_SYSTEM, tiny_tokenizer

PACKAGE = Path(__file__).parents[4] / "client" / "sealora_client"
TURNS = [{"role": "user", "content": "Hello"}]
REASONING = (
    "{% for message in messages %}{{ bos_token }}{{ message.role | title }}: {{ message['content'] | trim }}"
    "{% if not loop.last %}{{ '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ eos_token }}<think>"
    "{% endif %}{% generation %}x{% endgeneration %}{{ tools is none }}{{ messages | tojson }}"
)
HOSTILE = {
    "loops for ever": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}"
    "{% endfor %}{% endfor %}",
    "repeats a text": "{{ 'a' * 4000000000 }}",
    "doubles a text": "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "pads a text": "{{ '%999999999d' % 1 }}",
    "centres a text": "{{ 'a' | center(2000000000) }}",
    "raises a power": "{{ 9 ** (9 ** 9) }}",
    "makes a list": "{{ [0] * 999999999 }}",
    "writes a long text": "{% for i in range(90000) %}" + "a" * 100 + "{% endfor %}",
}


@pytest.fixture
def renderer():
    one = Renderer(seconds=0.3, size=128 << 20)
    yield one
    one.close()


KEEPING = (
    "{% set n = namespace() %}{% set n.itself = n %}{% set n.x = messages[0].content * 40000000 %}"
    "{% if '4' in messages[0].content %}{{ messages[0].content * 4000000000 }}{% endif %}{{ messages[0].content }}"
)
"""Leaves memory behind, in a circle of references, and goes beyond its limits for some."""
UNORDERED = "{{ ({" + ", ".join(f"'{letter}': 0" for letter in "abcdefghijkl") + "}.keys() - []) | join }}"
"""Writes a set, in the order of its hashes, which Python draws for each process."""


def test_what_is_rendered_of_one_does_not_depend_on_who_came_before(renderer):
    """Else one record more would change another's example."""
    told = []
    for number in range(10):
        try:
            told.append(renderer.render(KEEPING, [{"role": "user", "content": str(number)}], {}, prompt=True))
        except TemplateOverrunError:
            told.append("none")
    assert told == ["0", "1", "2", "3", "none", "5", "6", "7", "8", "9"]


def test_every_process_renders_alike(renderer):
    other = Renderer()
    assert renderer.render(UNORDERED, TURNS, {}, prompt=True) == other.render(UNORDERED, TURNS, {}, prompt=True)
    other.close()


@pytest.mark.parametrize("case", quick_cases(HOSTILE, "loops for ever", "doubles a text"))
def test_a_template_beyond_its_limits_is_given_up_and_the_next_conversation_is_rendered(renderer, case):
    started = time.monotonic()
    with pytest.raises(TemplateOverrunError, match=r"the chat template takes more than 0\.3 s, 128 MiB or \d+ char"):
        renderer.render(HOSTILE[case], TURNS, {}, prompt=True)
    assert time.monotonic() - started < 20
    assert renderer.render("{{ messages[0].content }}", TURNS, {}, prompt=True) == "Hello"


def test_what_went_beyond_the_limits_once_costs_nothing_again(renderer):
    for _ in range(200):
        with pytest.raises(TemplateOverrunError):
            renderer.render(HOSTILE["loops for ever"], TURNS, {}, prompt=True)


@pytest.mark.parametrize(
    "template",
    [
        "{{ said.upper }}",
        "{{ said | map('upper') }}",
        "{{ lipsum }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ ('{0.__class__}' | attr('format'))(said) }}",
        "{{ '{0.__class__}'.format(said) }}",
        "{% include '/etc/hostname' %}",
        "{{ said.missing }}",
    ],
)
def test_a_recipe_s_template_writes_values_and_reaches_nothing_else(renderer, template):
    with pytest.raises((TemplateRefusedError, TemplateBrokenError)):
        renderer.render_text(template, {"said": "abc"})
    written = renderer.render_text("{{ said.upper() }} {{ said | list }} {{ none }} {{ 1.5 }}", {"said": "ab"})
    assert written == "AB ['a', 'b'] None 1.5"


def test_a_template_that_refuses_or_fails_is_told_apart(renderer):
    with pytest.raises(TemplateRefusedError):
        renderer.render("{{ raise_exception('no') }}", TURNS, {}, prompt=True)
    with pytest.raises(TemplateBrokenError):
        renderer.render("{{ 1 // 0 }}", TURNS, {}, prompt=True)
    with pytest.raises(TemplateRefusedError):
        renderer.render("{% for %}", TURNS, {}, prompt=True)


def test_a_process_that_was_killed_is_replaced(renderer):
    assert renderer.render("a", TURNS, {}, prompt=True) == "a"
    renderer._process.kill()
    renderer._process.wait()
    assert renderer.render("b", TURNS, {}, prompt=True) == "b"


def test_the_process_has_no_secret_no_file_and_no_right_to_write_one(renderer, monkeypatch):
    monkeypatch.setenv("SEALORA_PASSPHRASE_FILE", "/secret")
    renderer.render("a", TURNS, {}, prompt=True)
    of = Path("/proc") / str(renderer._process.pid)
    assert b"SEALORA" not in (of / "environ").read_bytes()
    assert {Path(name).name for name in os.listdir(of / "fd")} <= {"0", "1", "2"}
    limits = (of / "limits").read_text()
    assert "Max file size             0 " in limits


SAID = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


@pytest.mark.parametrize("template", [CHATML, CHATML_WITHOUT_SYSTEM, REASONING])
def test_what_is_rendered_is_what_transformers_renders(template):
    tokenizer = tiny_tokenizer(template)

    @given(said=SAID, answer=SAID, prompt=st.booleans())
    @settings(max_examples=40)
    def same(said, answer, prompt):
        turns = [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
        expected = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt)
        assert render(tokenizer, turns, prompt=prompt) == expected

    same()


@pytest.mark.parametrize("case", ["loops for ever", "repeats a text"])
def test_a_model_with_such_a_template_is_refused_by_name_whatever_the_records(case):
    with pytest.raises(ModelError, match=r"^models/x/chat_template\.jinja: the chat template takes more than 1\.0 s"):
        check_template(tiny_tokenizer(HOSTILE[case]), "models/x/chat_template.jinja")


def test_a_template_that_knows_no_system_role_is_none_of_those():
    check_template(tiny_tokenizer(CHATML_WITHOUT_SYSTEM), "here")
    check_template(tiny_tokenizer(None), "here")


def test_a_record_on_which_it_goes_beyond_its_limits_costs_that_record_alone():
    trap = "{% if 'trap' in messages[0].content %}" + HOSTILE["loops for ever"] + "{% endif %}" + CHATML
    records = [Record(prompt=text, response="b") for text in ("a", "a trap", "c", "d")]
    started = time.monotonic()
    caught = to_examples(records, tiny_tokenizer(trap), DataSection(max_tokens=64))
    assert time.monotonic() - started < 30
    assert [example.unusable for example in caught] == [None, "template", None, None]
    alone = to_examples([records[0], records[2], records[3]], tiny_tokenizer(CHATML), DataSection(max_tokens=64))
    assert [example.tokens.tolist() for example in caught if example.unusable is None] == [
        example.tokens.tolist() for example in alone
    ]


def test_no_other_place_renders_a_template():
    """The tokenizer's own method bounds neither time nor memory."""
    around = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = {getattr(node, "attr", None), getattr(node, "id", None), getattr(node, "name", None)}
            if named & {"apply_chat_template", "render_jinja_template", "jinja2"}:
                around.add(path.relative_to(PACKAGE).as_posix())
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("jinja2"):
                around.add(path.relative_to(PACKAGE).as_posix())
    # The report's page is a template of our own.
    assert around == {"data/templates/worker.py", "data_report/page.py"}
