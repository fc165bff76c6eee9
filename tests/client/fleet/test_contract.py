"""What Sealora uses of Flower's internals, held to the pinned version.

If one of these fails after Flower was renewed, read `sealora_client/fleet/flower.py` and `transport.py` against the new
release before anything else: a site may otherwise not connect, or worse, run in another way than was reviewed.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import tomllib
from pathlib import Path

import httpx
import pytest
from fleet_site import new_key
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common import constant
from flwr.proto import fleet_pb2, heartbeat_pb2, message_pb2
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.inflatable import inflatable_object, inflatable_utils
from flwr.supercore.protobuf.client import ProtobufClient
from flwr.supernode import fleet_http_client, fleet_http_connection, node_auth_http_interceptor

from sealora_client.fleet import flower
from sealora_client.fleet.heartbeat import ANNOUNCED_SECONDS
from sealora_client.fleet.transport import FleetTransport, bounds_of

PROJECT = Path(__file__).parents[3]


def test_the_installed_flower_is_the_one_that_was_read():
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "flwr==1.41.0" in extras["site"]
    assert importlib.metadata.version("flwr") == "1.41.0"


SIGNATURES = {
    ProtobufClient.__init__: "self base_url interceptors verify timeout retry_invoker",
    ProtobufClient._unary_unary: "self path rpc_method request response_type timeout",
    node_auth_http_interceptor.NodeAuthHttpInterceptor.__init__: "self private_key public_key",
    inflatable_utils.pull_objects: (
        "object_ids pull_object_fn max_concurrent_pulls max_time max_tries_per_object initial_backoff backoff_cap"
    ),
    inflatable_utils.inflate_object_from_contents: "object_id object_contents keep_object_contents objects",
    inflatable_utils.push_object_contents_from_iterable: "object_contents push_object_fn max_concurrent_pushes",
    inflatable_object.get_all_nested_objects: "obj",
    inflatable_object.get_object_tree: "obj",
    inflatable_object.iterate_object_tree: "tree",
}


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__qualname__)
def test_signatures_are_those_that_were_read(function):
    assert " ".join(inspect.signature(function).parameters) == SIGNATURES[function]


def fields(message: type) -> set[str]:
    return {field.name for field in message.DESCRIPTOR.fields}  # type: ignore[attr-defined]


MESSAGES = {
    fleet_pb2.RegisterNodeFleetRequest: {"public_key"},
    fleet_pb2.ActivateNodeRequest: {"public_key", "heartbeat_interval"},
    fleet_pb2.ActivateNodeResponse: {"node_id"},
    fleet_pb2.DeactivateNodeRequest: {"node_id"},
    fleet_pb2.PullMessagesRequest: {"node"},
    fleet_pb2.PullMessagesResponse: {"messages_list", "message_object_trees"},
    fleet_pb2.PushMessagesRequest: {"node", "messages_list", "message_object_trees", "clientapp_runtime_list"},
    fleet_pb2.PushMessagesResponse: {"objects_to_push", "session_id"},
    heartbeat_pb2.SendNodeHeartbeatRequest: {"node", "heartbeat_interval"},
    heartbeat_pb2.SendNodeHeartbeatResponse: {"success"},
    message_pb2.PullObjectRequest: {"node", "run_id", "object_id"},
    message_pb2.PullObjectResponse: {"object_found", "object_available", "object_content"},
    message_pb2.PushObjectRequest: {"node", "run_id", "object_id", "object_content", "session_id"},
    message_pb2.PushObjectResponse: {"stored"},
    message_pb2.ConfirmMessageReceivedRequest: {"node", "run_id", "message_object_id"},
    message_pb2.ObjectTree: {"object_id", "children"},
    message_pb2.Metadata: {
        "run_id", "message_id", "src_node_id", "dst_node_id", "reply_to_message_id", "group_id", "ttl", "message_type",
        "created_at", "src_task_id", "dst_task_id",
    },
}  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.DESCRIPTOR.name)
def test_messages_have_the_fields_that_are_used(message):
    assert MESSAGES[message] <= fields(message)


def test_the_paths_are_those_that_a_front_lets_through():
    source = inspect.getsource(fleet_http_client.FleetHttpClient)
    for action in (
        "register-node", "activate-node", "deactivate-node", "send-node-heartbeat", "pull-messages", "push-messages",
        "pull-object", "push-object", "confirm-message-received",
    ):  # fmt: skip
        assert f'"/v1/fleet/{action}"' in source


def test_the_codes_of_errors_are_those_that_are_told_apart():
    assert {code: int(code) for code in ApiErrorCode if code in (2003, 2004, 2005, 2007)} == {
        ApiErrorCode.FLEET_INVALID_HEARTBEAT_INTERVAL: 2003,
        ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED: 2004,
        ApiErrorCode.FLEET_NODE_DEACTIVATION_FAILED: 2005,
        ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED: 2007,
    }
    error = FlowerError.from_json('{"code": 2004, "detail": "Failed to activate SuperNode."}')
    assert error is not None
    assert error.code == 2004


def test_a_session_lasts_as_long_as_the_waiting_for_it_assumes():
    assert constant.HEARTBEAT_PATIENCE == 2
    assert constant.HEARTBEAT_MIN_INTERVAL <= ANNOUNCED_SECONDS <= constant.HEARTBEAT_MAX_INTERVAL
    assert (flower.CLOCK_AHEAD_SECONDS, flower.CLOCK_BEHIND_SECONDS) == (5, 300)


def test_why_flower_s_own_connection_is_not_used_still_holds():
    """It ends the process itself. Should that change, it could be used again."""
    source = inspect.getsource(fleet_http_connection.http_request_response)
    assert "flwr_exit(" in source
    assert "os.kill(os.getpid(), signal.SIGINT)" in source


def test_the_client_has_what_flower_s_own_constructor_gives_it_and_reads_no_environment(monkeypatch):
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)
    flowers = fleet_http_client.FleetHttpClient("http://127.0.0.1:1/")
    monkeypatch.setenv("HTTPS_PROXY", "socks5://nowhere")
    monkeypatch.setenv("NO_PROXY", "fd00::/8")
    ours = FleetTransport("http://127.0.0.1:1/", new_key(), None, bounds_of)
    assert vars(flowers).keys() <= vars(ours).keys()
    assert set(vars(ours).keys() - vars(flowers).keys()) == {"pull_mark", "_speaks_frames"}
    assert (ours._base_url, ours._retry_invoker) == (flowers._base_url, flowers._retry_invoker)
    flowers.close()
    ours.close()


def test_the_client_follows_no_redirects_and_asks_for_no_compression():
    client = FleetTransport("http://127.0.0.1:1", new_key(), None, bounds_of)
    assert isinstance(client._client, httpx.Client)
    assert not client._client.follow_redirects
    assert client._client.headers["accept-encoding"] == "identity"
    assert client._base_url == "http://127.0.0.1:1"
    client.close()


def answered(monkeypatch, response: httpx.Response) -> flower.FleetCalls:
    calls = flower.FleetCalls("http://127.0.0.1:1", new_key(), None)
    client = calls._client._client
    monkeypatch.setattr(client, "_transport_for_url", lambda url: httpx.MockTransport(lambda request: response))
    return calls


def test_a_compressed_answer_is_not_unpacked(monkeypatch):
    calls = answered(
        monkeypatch, httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b""))
    )
    with pytest.raises(httpx.RemoteProtocolError, match="compressed"):
        calls.pull(1, 0)


def test_a_reply_is_taken_apart_and_put_together_again():
    metadata = message_metadata()
    reply = flower.Reply.to(metadata, RecordDict({"config": ConfigRecord({"payload": b"x" * 1000})}))
    assert reply.envelope.metadata.reply_to_message_id == metadata.message_id
    assert reply.envelope.metadata.src_node_id == metadata.dst_node_id
    assert reply.envelope.metadata.message_id == reply.tree.object_id
    whole = inflatable_utils.inflate_object_from_contents(reply.tree.object_id, dict(reply.contents))
    assert isinstance(whole, Message)
    assert whole.content.config_records["config"]["payload"] == b"x" * 1000
    assert whole.object_id == reply.tree.object_id


def test_metadata_lasts_in_a_file():
    metadata = message_metadata()
    again = flower.metadata_from_bytes(flower.metadata_to_bytes(metadata))
    assert {**metadata.__dict__, "_delivered_at": ""} == {**again.__dict__, "_delivered_at": ""}
    for content in (b"\xff" * 9, b"\x0a"):
        with pytest.raises(ValueError, match="no metadata"):
            flower.metadata_from_bytes(content)


def message_metadata() -> flower.Metadata:
    return flower.Metadata(
        run_id=2**63 + 1,
        message_id="ab" * 32,
        src_node_id=1,
        dst_node_id=2**64 - 1,
        reply_to_message_id="",
        group_id="3",
        created_at=1.8e9,
        ttl=60.0,
        message_type="query.hello",
        dst_task_id=4,
    )
