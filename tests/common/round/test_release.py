"""A server and a site of two releases: whichever is behind, both are told in one sentence that names both."""

from __future__ import annotations

import json

import pytest

from sealora_common import __version__
from sealora_common.canonical import canonical_json
from sealora_common.errors import FederationError, OrderRefusedError
from sealora_common.round.hello import Hello
from sealora_common.round.order import RoundOrder
from sealora_common.round.release import other_release

GREETING = Hello(site="site-0", recipe_hash="a" * 64, roster_hash="b" * 64, layout=[("w", [2, 3])])
ORDER = RoundOrder(
    purpose="train",
    run="ab" * 16,
    round_number=1,
    attempt=1,
    nonce="cd" * 16,
    recipe_hash="0" * 64,
    roster_hash="0" * 64,
    roster_sequence=1,
    layout_digest="0" * 64,
    adapter_digest="0" * 64,
    history="0" * 64,
    clip_range=1.0,
    clip_norm=1.0,
)
OTHERS = ["0.0.9", "0.2.0", "1.0.0rc1"]
CHANGES = {
    "of the same form": {},
    "with a field more": {"later": [1, 2]},
    "with a field less": {"recipe_hash": None},
    "with another form of a field": {"recipe_hash": {"sha256": "a" * 64}},
}


def changed(message: Hello | RoundOrder, **changes: object) -> bytes:
    values = message.model_dump(mode="json") | changes
    return canonical_json({name: value for name, value in values.items() if value is not None})


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("release", OTHERS)
def test_a_server_tells_a_site_of_another_release_so_when_it_greets_it(release, how):
    with pytest.raises(FederationError) as caught:
        Hello.parse(changed(GREETING, version=release, **CHANGES[how]))
    said = f"it runs Sealora {release}, this server {__version__}: install the same at both (docs/upkeep.md)"
    assert str(caught.value) == said


@pytest.mark.parametrize("how", [how for how in CHANGES if how != "of the same form"])
@pytest.mark.parametrize("release", OTHERS)
def test_a_site_tells_a_server_of_another_release_so_when_it_is_ordered_something(release, how):
    with pytest.raises(OrderRefusedError) as caught:
        RoundOrder.parse(changed(ORDER, release=release, **CHANGES[how]))
    said = f"the order is of Sealora {release}, this site runs {__version__}: install the same version at both"
    assert str(caught.value) == said


def test_one_of_this_release_is_read_and_a_strange_field_in_it_is_no_matter_of_releases():
    assert Hello.parse(GREETING.to_bytes()) == GREETING
    assert RoundOrder.parse(ORDER.to_bytes()) == ORDER
    with pytest.raises(FederationError, match="greeting is malformed"):
        Hello.parse(changed(GREETING, later=1))
    with pytest.raises(OrderRefusedError, match="order is malformed"):
        RoundOrder.parse(changed(ORDER, later=1))


@pytest.mark.parametrize(
    "content",
    [
        None,
        "text",
        b"",
        b"{",
        b"[]",
        b'{"version": 3}',
        b'{"version": ""}',
        json.dumps({"version": "0.0.9\x1b[2J"}).encode(),
        json.dumps({"version": "9" * 100}).encode(),
        json.dumps({"version": __version__}).encode(),
    ],
)
def test_what_names_no_release_or_this_one_says_nothing(content):
    assert other_release(content, "version") is None
