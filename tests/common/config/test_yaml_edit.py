"""A value comes into a YAML text, and everything else stays as somebody wrote it."""

from __future__ import annotations

import pytest

from sealora_common.config import with_value, yaml_value
from sealora_common.errors import UnreadableError

TEXT = """\
# ours
name: a # a name
model:

  # here
  base: "x" # there
  digest:   old   # of before
server: {learning_rate: 0.1, momentum: 0.9} # on one line
sealing: {}
privacy:
early: null
list:
- 1
- 2
"""
CHANGES = {
    ("name",): ("b", "name: b # a name\n"),
    ("rounds",): (3, "- 2\nrounds: 3\n"),
    ("model", "base"): ("y", '  base: y # there\n'),
    ("model", "digest"): (None, "  digest:   null   # of before\n"),
    ("model", "revision"): ("main", '  # here\n  revision: main\n  base: "x" # there\n'),
    ("server", "momentum"): (0.5, "server: {learning_rate: 0.1, momentum: 0.5} # on one line\n"),
    ("server", "tau"): (1e-05, "server: {tau: 1.0e-05, learning_rate: 0.1, momentum: 0.9} # on one line\n"),
    ("sealing", "groups"): (2, "sealing: {groups: 2}\n"),
    ("privacy", "epsilon"): (4.0, "privacy: {epsilon: 4.0}\nearly"),
    ("privacy",): ({"epsilon": 4.0}, "privacy: {epsilon: 4.0}\nearly"),
    ("early", "patience"): (2, "early: {patience: 2}\n"),
    ("training", "betas"): ([0.9, 0.99], "- 2\ntraining:\n  betas: [0.9, 0.99]\n"),
    ("training", "deep", "down"): (True, "- 2\ntraining:\n  deep: {down: true}\n"),
    ("note",): ("yes: 'no' #", "note: 'yes: ''no'' #'\n"),
}  # fmt: skip


@pytest.mark.parametrize("path", CHANGES, ids=".".join)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_one_value_changes_and_nothing_else(path, line_end):
    value, said = CHANGES[path]
    text = TEXT.replace("\n", line_end)
    changed = with_value(text, path, value)
    assert said.replace("\n", line_end) in changed
    expected = yaml_value(text)
    section = expected
    for key in path[:-1]:
        section[key] = section = section.get(key) or {}
    section[path[-1]] = value
    assert yaml_value(changed) == expected
    kept = [line for line in text.splitlines() if line in changed.splitlines()]
    assert len(kept) >= len(text.splitlines()) - 1
    assert with_value(changed, path, value) == changed


def test_a_text_without_an_end_of_line_gets_one_before_what_is_added():
    assert with_value("a: 1", ["b"], 2) == "a: 1\nb: 2\n"
    assert with_value("{a: 1}", ["b"], 2) == "{b: 2, a: 1}"


@pytest.mark.parametrize(("text", "said"), [
    ("a:\n- 1\n- 2\n", "a stands over several lines"),
    ("a: |\n  one\n  two\n", "a stands over several lines"),
    ("- 1\n", "no mapping"),
    ("", "no mapping"),
    ("a: [", "while parsing"),
])  # fmt: skip
def test_what_would_take_more_is_left_to_a_person(text, said):
    with pytest.raises(UnreadableError, match=said):
        with_value(text, ["a"], 1)
