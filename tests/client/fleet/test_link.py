"""The connection's state in the log: once a change, and a session that another process holds is called so."""

from __future__ import annotations

from sealora_client.fleet.errors import LostConnectionError, SessionRefusedError
from sealora_client.fleet.link import PART, Link
from sealora_common.health.status import Health

BUSY = SessionRefusedError("busy", "the server still holds a session of this site")


def told(caplog, events) -> list[tuple[str, str]]:
    """What is said when these things happen at these seconds."""
    clock = [0.0]
    link = Link("https://server", Health(PART), lambda: clock[0])
    with caplog.at_level("INFO"):
        for clock[0], event in events:
            link.well() if event is None else link.trouble(event)
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_each_state_is_said_once_and_how_long_the_connection_was_away(caplog):
    lost = LostConnectionError("no connection")
    lines = told(caplog, [(0, None), (1, None), (10, lost), (20, lost), (40, None)])
    assert lines == [
        ("INFO", "connected to https://server"),
        ("WARNING", "no connection; trying again until it works"),
        ("INFO", "connected to https://server again, after 30 s"),
    ]


def test_a_session_that_is_over_is_no_warning(caplog):
    ended = SessionRefusedError("ended", "a new one is opened")
    assert told(caplog, [(0, None), (5, ended), (6, None)])[1] == ("INFO", "a new one is opened")


def test_a_session_that_lasts_longer_than_one_s_own_is_another_process_s_and_that_is_said_once(caplog):
    lines = told(caplog, [(0, None), *((second, BUSY) for second in range(5, 400, 5)), (400, None), (401, BUSY)])
    errors = [line for level, line in lines if level == "ERROR"]
    assert len(errors) == 1
    assert "another one runs with this site's keys, in a copy of this directory for example" in errors[0]
    assert sum(level == "WARNING" for level, _ in lines) == 2


def test_a_session_of_one_s_own_that_still_lasts_is_only_waited_for(caplog):
    lines = told(caplog, [*((second, BUSY) for second in range(0, 65, 5)), (66, None)])
    assert [level for level, _ in lines] == ["WARNING", "INFO"]
