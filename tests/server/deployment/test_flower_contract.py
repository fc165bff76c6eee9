"""What the deployment takes for granted of Flower's insides, so that another version cannot break it unseen."""

from __future__ import annotations

import inspect
import io
import tomllib
import zipfile

import flwr
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from flwr.cli.config_utils import get_fab_metadata
from flwr.common.config import validate_config
from flwr.server.superlink.linkstate import InMemoryLinkState
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufRequestContext
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.superlink.main import create_app
from flwr.superlink.routers.fleet.router import router
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from starlette.requests import Request
from starlette.responses import Response

from sealora_server.deployment import services
from sealora_server.deployment.bundle import build_bundle
from sealora_server.deployment.superlink.gate import SMALL_BODY_BYTES
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
    return gated(superlink, TRUSTED)


@pytest.mark.anyio
@pytest.mark.parametrize("socket", [FLEET, None, "/x/superlink.sock2"])
async def test_what_is_not_for_sites_is_not_served_on_their_socket(superlink, gate, socket):
    assert await ask(gate, TRUSTED, "POST", OPEN_FLEET) == 200
    others = [path for path in superlink.openapi()["paths"] if path not in FLEET_PATHS | {HEALTH}]
    assert len(others) > 50
    for path in [*others, "/docs", "/openapi.json", OPEN_FLEET]:
        for method in ("GET", "POST"):
            assert await ask(gate, socket, method, path) == 403, path
    for path in FLEET_PATHS:
        assert await ask(gate, socket, "GET", path) == 403
        assert await ask(gate, socket, "POST", path) == 415  # Flower's own answer to a body without a type
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
    assert await ask(gate, FLEET, "POST", "/v1/fleet/pull-messages") == 415


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


LARGE = SMALL_BODY_BYTES + 1
NODE, STRANGER = generate_private_key(SECP384R1()), generate_private_key(SECP384R1())


def signed(key, claimed=None) -> dict[str, str]:
    """The headers that Flower's own client sends: signed with `key`, naming `claimed`."""
    interceptor = NodeAuthHttpInterceptor(key, (claimed or key).public_key())
    request = httpx.Request("POST", "http://x")
    interceptor.intercept(ProtobufRequestContext("", None, request), lambda context: httpx.Response(200))
    return {name: value for name, value in request.headers.items() if name.startswith("flwr-")}


@pytest.fixture
def opened(superlink):
    """An open gate, one registered node, and how much of a body the SuperLink was given to read."""
    state = superlink.state.linkstate_factory.state()
    pem = public_key_to_bytes(NODE.public_key())
    if state.get_node_id_by_public_key(pem) is None:
        state.create_node("<id:none>", "none", pem, 30)
    read: list[int] = []

    async def app(scope, receive, send):
        body = await Request(scope, receive).body()
        read.append(len(body))
        await Response(status_code=200)(scope, receive, send)

    gate = gated(superlink, TRUSTED)
    gate._is_open = True
    gate._app = app
    return gate, read


async def send_body(opened, size: int, headers: dict[str, str], *, chunked: bool = False) -> tuple[int, list[int]]:
    gate, read = opened

    async def through(scope, receive, send):
        await gate({**scope, "server": (FLEET, None)}, receive, send)

    async def chunks():
        yield bytes(size)

    headers = {"content-type": "application/protobuf", **headers}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(through, raise_app_exceptions=False)) as client:
        content = chunks() if chunked else bytes(size)
        answer = await client.post("http://x/v1/fleet/push-object", content=content, headers=headers)
    return answer.status_code, read


@pytest.mark.anyio
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_is_read_from_a_node_alone(opened, chunked):
    for headers in ({}, signed(STRANGER), signed(STRANGER, claimed=NODE), {"flwr-public-key": "?"}):
        status, read = await send_body(opened, LARGE, headers, chunked=chunked)
        assert (status, read) == (401, [])
    _, read = await send_body(opened, LARGE, signed(NODE), chunked=chunked)
    assert read == [LARGE]


@pytest.mark.anyio
async def test_a_body_of_unknown_length_counts_as_large_and_a_small_one_is_flower_s_to_judge(opened):
    assert (await send_body(opened, 1, {}, chunked=True)) == (401, [])
    _, read = await send_body(opened, SMALL_BODY_BYTES, {})
    assert read == [SMALL_BODY_BYTES]
