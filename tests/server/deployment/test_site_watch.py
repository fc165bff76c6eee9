"""Sites that come and go are told of, once each time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sealora_server.deployment.site_watch import SiteWatch
from sealora_server.deployment.superlink.client import Node

AWAY = Node(1, "oslo", b"k", online=False, registered=True)
HERE = replace(AWAY, online=True, since="t1", until=100.0)


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ([[AWAY], [AWAY]], []),
        ([[AWAY], [HERE], [HERE]], ["has connected"]),
        ([[HERE]], ["has connected"]),
        ([[HERE], [replace(HERE, until=160.0)]], ["has connected"]),
        ([[HERE], [replace(AWAY, since="t1", until=70.0)]], ["has connected", "has said goodbye"]),
        (
            [[HERE], [replace(AWAY, since="t1", until=100.0)]],
            ["has connected", "is gone: it has given no sign of life for a minute"],
        ),
        ([[HERE], [replace(AWAY, since="t1", until=160.0)]], ["has connected", "is gone"]),
        ([[HERE], [replace(HERE, since="t2", until=130.0)]], ["has connected", "has connected again"]),
        ([[HERE], [replace(AWAY, registered=False)]], ["has connected", "was cut off: its node key was withdrawn"]),
        ([[HERE], [replace(AWAY, node_id=7)]], ["has connected", "the sessions of 1 sites are over"]),
        ([[HERE], [replace(HERE, node_id=7)]], ["has connected", "has connected", "the SuperLink was started anew"]),
        ([[], [HERE], []], ["has connected", "the SuperLink was started anew"]),
    ],
)
def test_each_change_is_one_line(caplog, looks, said):
    watch = SiteWatch()
    with caplog.at_level("INFO"):
        for nodes in looks:
            watch.look(nodes)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == len(said)
    for line, part in zip(lines, said, strict=True):
        assert part in line
        assert line.startswith(("site oslo ", "the SuperLink was started anew"))


def test_a_name_that_would_steer_a_terminal_does_not(caplog):
    with caplog.at_level("INFO"):
        SiteWatch().look([replace(HERE, name="a\x1b[2J\nERROR")])
    assert caplog.records[0].getMessage() == "site a [2J ERROR has connected"
