"""`docs/architecture.md` is the way round the house: each room is on it, and each place that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("common/sealora_common", "server/sealora_server", "server/sealora", "client/sealora_client")
ROOMS = sorted(
    init.parent.relative_to(ROOT).as_posix() for package in PACKAGES for init in (ROOT / package).rglob("__init__.py")
)
PLACES = sorted(set(re.findall(r"`((?:common|server|client|tests|docs)/[^`\s]+)`", PAGE)))


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_its_line_in_a_table(room):
    assert len(re.findall(rf"^\| `{re.escape(room)}` \| .{{10,}} \|$", PAGE, re.MULTILINE)) == 1


@pytest.mark.parametrize("place", PLACES)
def test_every_place_that_is_named_is_there(place):
    path = ROOT / place
    if "<" in path.name:  # to be made
        assert re.fullmatch(r"<\w+>\.py", path.name)
        assert (path.parent / "__init__.py").exists()
    else:
        assert path.exists()


def test_every_file_that_is_to_be_made_is_in_a_room_with_a_line():
    made = [place for place in PLACES if "<" in place]
    assert len(made) >= 9
    assert {place.rpartition("/")[0] for place in made} <= set(ROOMS)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_newcomers_are_shown_the_page(name):
    assert "docs/architecture.md" in (ROOT / name).read_text(encoding="utf-8")


ASKED = """
    Layout Row FileKind Record Template AdapterKind Attachment TrainedTensor Metric ReleasedMetric values_by_unit
    Objective PrivacyMechanism Face RoundTraining Exporter AddedLater
"""


@pytest.mark.parametrize("named", ASKED.split())
def test_what_a_walk_asks_for_is_defined_once(named):
    assert f"`{named}" in PAGE
    definition = re.compile(rf"^(?:class|def) {named}\b", re.MULTILINE)
    found = [
        path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if definition.search(path.read_text())
    ]
    assert len(found) == 1, found
