"""What the deployment takes for granted of Flower's insides, so that another version cannot break it unseen."""

from __future__ import annotations

import ast
import inspect
import io
import tomllib
import zipfile
from pathlib import Path

import flwr
import httpx
import pytest
from flwr.cli.config_utils import get_fab_metadata
from flwr.common.config import validate_config
from flwr.server.superlink.linkstate import InMemoryLinkState
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.superlink.main import create_app
from flwr.superlink.routers.fleet.router import router
from flwr.superlink.servicer.fleet import fleet_handlers

import sealora_server.deployment
from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.processes import services
from sealora_server.deployment.runs.bundle import build_bundle
from sealora_server.deployment.superlink import app_messages
from sealora_server.deployment.superlink.bodies import SMALL_BYTES
from sealora_server.deployment.superlink.paths import FLEET_PATHS, HEALTH, OPEN_FLEET
from sealora_server.deployment.superlink.process import SuperLinkSettings, gated, superlink_app

TRUSTED, FLEET = "/x/superlink.sock", "/x/fleet.sock"


@pytest.fixture(scope="module")
def superlink():
    settings = SuperLinkSettings(
        supervisor=1,
        database=FLWR_IN_MEMORY_DB_NAME,
        superexec_secret="ab" * 32,
        superlink_socket=0,
        fleet_socket=0,
        limits=LimitsSection(),
        log="text",
    )
    return superlink_app(settings)


def test_the_version_is_the_one_that_was_read():
    from importlib.metadata import version

    assert version("flwr") == "1.41.0"
    assert flwr.__name__ == "flwr"


def test_the_fleet_paths_are_flower_s_all_of_them_and_none_other(superlink):
    assert {route.path for route in router.routes} == FLEET_PATHS
    assert {method for route in router.routes for method in route.methods} == {"POST"}
    assert {path for method, path in PROTOBUF_REQUEST_TYPES if path.startswith("/v1/fleet")} == FLEET_PATHS
    served = set(superlink.openapi()["paths"])
    assert {path for path in served if path.startswith("/v1/fleet")} == FLEET_PATHS
    assert HEALTH in served
    assert OPEN_FLEET not in served


def test_the_superlink_asks_nodes_and_executors_who_they_are(superlink):
    assert superlink.state.enable_supernode_auth is True
    assert superlink.state.superexec_auth_secret == bytes.fromhex("ab" * 32)


def test_the_superlink_keeps_its_state_where_the_configuration_says(superlink):
    assert isinstance(superlink.state.linkstate_factory.state(), InMemoryLinkState)
    assert services._IN_MEMORY == FLWR_IN_MEMORY_DB_NAME


def test_flower_has_no_other_switch_on_the_superlink_than_those_that_are_set():
    from flwr.superlink.config_loader import SuperLinkLifespanConfig

    given = inspect.getsource(superlink_app)
    assert all(f"{name}=" in given for name in SuperLinkLifespanConfig.__dataclass_fields__)
    assert list(inspect.signature(create_app).parameters) == ["config", "superlink_lifespan_class"]


async def ask(app, socket, method: str, path: str) -> int:
    """The status of a request that came by `socket`."""

    async def through(scope, receive, send):
        await app({**scope, "server": None if socket is None else (socket, None)}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(through), base_url="http://x") as client:
        return (await client.request(method, path)).status_code


@pytest.fixture
def gate(superlink):
    return gated(superlink, TRUSTED, LimitsSection())


@pytest.mark.anyio
@pytest.mark.parametrize("socket", [FLEET, None, "/x/superlink.sock2"])
async def test_what_is_not_for_sites_is_not_served_on_their_socket(superlink, gate, socket):
    assert await ask(gate, TRUSTED, "POST", OPEN_FLEET) == 200
    others = [path for path in superlink.openapi()["paths"] if path not in FLEET_PATHS | {HEALTH}]
    others += [app_messages.PUSH, app_messages.PULL]
    assert len(others) > 50
    for path in [*others, "/docs", "/openapi.json", OPEN_FLEET]:
        for method in ("GET", "POST"):
            assert await ask(gate, socket, method, path) == 403, path
    for path in FLEET_PATHS:
        assert await ask(gate, socket, "GET", path) == 403
        assert await ask(gate, socket, "POST", path) == 401
    assert await ask(gate, socket, "GET", HEALTH) == 200


@pytest.mark.anyio
async def test_the_trusted_socket_serves_everything(gate):
    assert await ask(gate, TRUSTED, "POST", "/v1/control/list-nodes") == 415
    assert await ask(gate, TRUSTED, "POST", "/v1/runtime/acquire-task") == 415
    assert await ask(gate, TRUSTED, "GET", HEALTH) == 200


@pytest.mark.anyio
async def test_sites_are_told_to_come_later_until_the_fleet_is_opened(gate):
    assert await ask(gate, FLEET, "POST", "/v1/fleet/pull-messages") == 503
    assert await ask(gate, FLEET, "GET", HEALTH) == 503
    assert await ask(gate, FLEET, "POST", OPEN_FLEET) == 403
    assert await ask(gate, FLEET, "POST", "/v1/fleet/pull-messages") == 503
    await ask(gate, TRUSTED, "POST", OPEN_FLEET)
    assert await ask(gate, FLEET, "POST", "/v1/fleet/pull-messages") == 401


def test_the_bundle_is_a_name_without_code_and_the_same_every_time():
    content, digest = build_bundle()
    assert build_bundle() == (content, digest)
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        assert bundle.namelist() == ["pyproject.toml", ".info/CONTENT"]
        project = tomllib.loads(bundle.read("pyproject.toml").decode())
    assert validate_config(project, check_module=True) == (True, [], [])
    assert project["tool"]["flwr"]["app"]["components"] == {
        "serverapp": "sealora_server.app:app",
        "clientapp": "sealora_client.app:app",
    }
    assert get_fab_metadata(content) == ("sealora/sealora", project["project"]["version"])


@pytest.mark.anyio
@pytest.mark.parametrize("path", sorted(FLEET_PATHS))
async def test_nothing_is_read_of_whom_is_no_node_before_it_is_refused_and_little_is_let_come_then(gate, path):
    await ask(gate, TRUSTED, "POST", OPEN_FLEET)
    sent, came = [], 0

    async def receive():
        nonlocal came
        assert sent[0]["status"] == 401, "the body of a stranger was asked for"
        came += 1000
        return {"type": "http.request", "body": bytes(1000), "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "server": (FLEET, None)}
    await gate(scope, receive, send)
    assert (b"connection", b"close") in sent[0]["headers"]
    assert came <= SMALL_BYTES + 1000
    assert not sent[-1].get("more_body")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "status", "is_open"),
    [
        ("/v1/control/list-nodes", 403, True),  # nothing that sites need
        ("/v1/fleet/push-messages", 503, False),  # too early
        ("/v1/fleet/push-messages", 415, True),  # an error of Flower's: a body of no kind
    ],
)
async def test_whoever_is_refused_may_end_what_they_were_sending(gate, monkeypatch, path, status, is_open):
    monkeypatch.setattr(gate.fleet._auth, "node", lambda _: (1, b"a key"))
    if is_open:
        await ask(gate, TRUSTED, "POST", OPEN_FLEET)
    happened = []

    async def receive():
        happened.append("received")
        return {"type": "http.request", "body": bytes(9), "more_body": happened.count("received") < 2}

    async def send(message):
        happened.append(message.get("status") or message.get("more_body", False))

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "server": (FLEET, None)}
    await gate(scope, receive, send)
    assert happened == [status, True, "received", "received", False]


@pytest.mark.anyio
async def test_what_is_no_request_is_let_go(gate):
    await gate({"type": "websocket", "path": "/", "server": (TRUSTED, None)}, None, None)


def test_flower_s_insides_that_are_used_are_there(superlink):
    """`replies` ends push sessions by hand; Flower's handler calls what its witness listens to."""
    state = superlink.state.linkstate_factory.state()
    assert list(inspect.signature(state._cleanup_push_session).parameters) == ["session_id", "cleanup_messages"]
    assert "state.store_message_and_object_tree(" in inspect.getsource(fleet_handlers.push_messages)


ONE_WAY_IN = {
    "push_messages": {"replies.py", "app_messages.py"},
    "push_object": {"replies.py", "app_messages.py"},
    "pull_messages": {"questions.py", "app_messages.py"},
    "pull_object": {"questions.py"},
    "confirm_message_received": {"questions.py"},
    "store_message_and_object_tree": {"replies.py"},
    "preregister_object_tree": set(),
    "store_object": set(),
    "store_message_res": set(),
    "store_message_ins": set(),
    "start_session": set(),
}
"""What puts something into Flower's state or takes it out -> the modules that bind and count it first."""


def test_nothing_goes_around_what_binds_and_counts():
    used = {name: set() for name in ONE_WAY_IN}
    for path in Path(sealora_server.deployment.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in used and path.name != "socket_grid.py":  # a ServerApp's
                used[node.attr].add(path.name)
    assert used == ONE_WAY_IN
