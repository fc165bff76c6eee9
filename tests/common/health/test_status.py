from __future__ import annotations

import json

import pytest

from sealora_common.health import Health


def test_a_process_is_ready_when_all_its_parts_are():
    health = Health("server", "site")
    assert (health.alive, health.ready) == (True, False)
    health.report("server", True, "connected")
    assert not health.ready
    health.report("site", True, "loaded")
    assert health.ready
    health.report("server", False, "no connection")
    assert (health.alive, health.ready) == (True, False)


def test_a_process_that_cannot_do_its_work_is_neither_alive_nor_ready():
    health = Health("server")
    health.report("server", True, "connected")
    health.fail("the disk is full")
    assert (health.alive, health.ready) == (False, False)
    assert health.state.failure == "the disk is full"


def test_it_says_of_each_part_how_it_is():
    health = Health("server")
    told = json.loads(health.state.to_json())
    assert list(told) == ["version", "alive", "ready", "parts"]
    assert told["parts"] == {"server": {"ok": False, "said": "starting"}}
    assert (told["alive"], told["ready"]) == (True, False)
    assert "failure" not in told
    health.fail("over")
    assert json.loads(health.state.to_json())["failure"] == "over"


def test_whoever_watches_is_told_now_and_at_every_change_and_at_nothing_else():
    health = Health("server")
    seen = []
    health.watch(lambda: seen.append(health.ready))
    assert health.report("server", True, "connected")
    assert not health.report("server", True, "connected")
    assert health.report("server", False, "lost")
    health.fail("over")
    assert seen == [False, True, False, False]


def test_a_part_that_was_not_named_is_no_part():
    with pytest.raises(KeyError):
        Health("server").report("sever", True, "connected")
