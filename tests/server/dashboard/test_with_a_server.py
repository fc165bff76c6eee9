"""A dashboard that a real server starts: there with it, told of by it, and gone with it."""

from __future__ import annotations

import httpx
import pytest
from running_server import make_server, running, status, until

from sealora_server.deployment.errors import DeploymentError


@pytest.mark.slow
def test_a_server_starts_its_dashboard_which_is_about_it(tmp_path):
    server, _ = make_server(tmp_path / "s", dashboard={"listen": "127.0.0.1:0", "tls": "server"})
    with running(server):
        processes = {process.name: process for process in status(server).processes}
        assert processes["dashboard"].pid
        told = until(lambda: _told(server), 60)
        url = told.split("the dashboard is at ")[1].split(";")[0]
        token = (server.path / "dashboard.token").read_text().strip()
        assert token not in server.log.read_text()
        with httpx.Client(base_url=url, verify=str(server.ca), trust_env=False, timeout=20) as client:
            assert client.post("/login", data={"token": token}, headers={"Origin": url}).status_code == 303
            text = client.get("/").text
            assert "Sites connect to" in text
            assert "superlink" in text
            assert "There is no run yet" in text
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, verify=str(server.ca), trust_env=False)
    with pytest.raises(DeploymentError):
        status(server)


def _told(server) -> str:
    log = server.log.read_text()
    return next((line for line in log.splitlines() if "the dashboard is at" in line), "")
