"""`sealora server status --watch`: the status again and again on a terminal, until Ctrl-C."""

from __future__ import annotations

import io

import pytest

from sealora_common.show.console import SafeConsole
from sealora_server.cli.server_status import watch_status
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import Status

STATUS = Status(
    up=True,
    address="127.0.0.1:9443",
    hosts=("localhost",),
    server_key="ABCDE-FGHIJ-KLMNO-PQRST",
    certificate_expires="2030-01-01",
    tls="TLSv1.3",
    health=None,
    warnings=(),
    processes=(),
    sites=(),
    runs=(),
)


def test_it_is_shown_anew_until_ctrl_c():
    out, answers = io.StringIO(), [STATUS, STATUS.model_copy(update={"warnings": ("it is late",)})]

    def ask() -> Status:
        if not answers:
            raise KeyboardInterrupt
        return answers.pop(0)

    with pytest.raises(SystemExit) as left:
        watch_status(ask, SafeConsole(file=out, force_terminal=True, width=80, color_system=None), 0.0)
    assert left.value.code == 130
    assert out.getvalue().count("ABCDE-FGHIJ-KLMNO-PQRST") == 2
    assert out.getvalue().count("it is late") == 1
    assert out.getvalue().count("\x1b[2J") == 2


def test_without_a_terminal_it_says_what_to_do():
    with pytest.raises(DeploymentError, match="--watch needs a terminal: leave it out"):
        watch_status(lambda: STATUS, SafeConsole(file=io.StringIO()), 0.0)
