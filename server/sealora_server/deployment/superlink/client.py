"""What the supervisor and the ServerApps ask of the SuperLink, with Flower's own clients over its Unix socket."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from flwr.common.constant import Status
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import NodeStatus, TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufClient, ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

from sealora_common.config import SMALL, json_value
from sealora_common.errors import UnreadableError
from sealora_common.network.bounded_http import AnswerBounds, BoundedClient
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.superlink.paths import HEALTH, OPEN_FLEET

_Client = TypeVar("_Client", bound=ProtobufClient)
_SECONDS = 30.0
# Of a whole exchange. What comes may hold a site's answer, so no more is taken than a site may send at a time.
_BOUNDS = AnswerBounds(4 * _SECONDS, 512 << 20)
_POLL_SECONDS = 0.05
_MANY_RUNS = 1000
# Over a Unix socket a host name says nothing; HTTP wants one.
_URL = "http://superlink"


@dataclass(frozen=True)
class Node:
    """A node that the SuperLink knows.

    Attributes:
        node_id: Flower's number for it.
        name: the site it was registered for.
        key: its public key as Flower keeps it (PEM).
        online: whether its heartbeats come.
        registered: False once its key was withdrawn; Flower never takes such a key again.
        since: when its last session began, as Flower writes it; empty before the first.
        until: when its session ends if no more heartbeats come, or has ended, Unix seconds.
    """

    node_id: int
    name: str
    key: bytes
    online: bool
    registered: bool
    since: str = ""
    until: float = 0.0


class SuperLinkClient:
    """The operator's side of a SuperLink. Calls block for `_BOUNDS.seconds` at most."""

    def __init__(self, socket: Path, superexec_secret: bytes) -> None:
        self._plain = _socket_client(socket)
        version = RuntimeVersionHttpInterceptor(component_name="flwr-cli")
        self._control = connected(ControlHttpClient, socket, [version])
        acquire = SuperExecAuthHttpInterceptor(
            master_secret=superexec_secret, protected_methods={"/flwr.proto.Runtime/AcquireTask"}
        )
        version = RuntimeVersionHttpInterceptor(component_name="SuperExec")
        self._runtime = connected(RuntimeHttpClient, socket, [version, acquire])

    def wait_until_up(self, seconds: float) -> None:
        """Returns once the SuperLink answers.

        Raises:
            DeploymentError: it did not within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            try:
                if self._plain.get(f"{_URL}{HEALTH}", timeout=max(left, 0.1)).is_success:
                    return
            except httpx.HTTPError:
                pass
            if left <= 0:
                raise DeploymentError(f"the SuperLink does not answer after {seconds:.0f} s: see the server's log")
            time.sleep(_POLL_SECONDS)

    def open_fleet(self) -> None:
        """Lets sites in from now on."""
        _asked(lambda: self._plain.post(f"{_URL}{OPEN_FLEET}").raise_for_status())

    def nodes(self) -> list[Node]:
        """All nodes that were ever registered."""
        found = _asked(lambda: self._control.ListNodes(ListNodesRequest()))
        return [
            Node(
                node_id=info.node_id,
                name=info.name,
                key=info.public_key,
                online=info.status == NodeStatus.ONLINE,
                registered=info.status != NodeStatus.UNREGISTERED,
                since=info.last_activated_at,
                until=info.online_until,
            )
            for info in found.nodes_info
        ]

    def register(self, name: str, key: bytes) -> None:
        """Lets the node with the public key `key` (PEM) connect."""
        _asked(lambda: self._control.RegisterNode(RegisterNodeRequest(public_key=key, name=name)))

    def unregister(self, node_id: int) -> None:
        """Lets a node connect no more."""
        _asked(lambda: self._control.UnregisterNode(UnregisterNodeRequest(node_id=node_id)))

    def start_run(self, bundle: bytes, bundle_hash: str, config: dict[str, str]) -> tuple[int, str]:
        """Starts a run of `bundle` with the run configuration `config` and takes its ServerApp's task.

        Returns:
            Flower's number for the run, and the token with which a process may act as its ServerApp.

        Raises:
            DeploymentError: the SuperLink refused.
        """
        request = StartRunRequest(
            fab=fab_to_proto(Fab(bundle_hash, bundle, {})), override_config=user_config_to_proto(dict(config))
        )
        started = _asked(lambda: self._control.StartRun(request))
        if not started.HasField("run_id"):
            raise DeploymentError("the SuperLink started no run: see the server's log")
        wanted = AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])
        while True:
            task = _asked(lambda: self._runtime.AcquireTask(wanted))
            if not task.token:
                raise DeploymentError("the SuperLink has no task for the run that it started: see the server's log")
            if task.task.run_id == started.run_id:
                return started.run_id, task.token
            # Started by a supervisor that was killed before it got here.
            self.end_run(task.task.run_id)

    def end_run(self, run_id: int) -> None:
        """Stops a run unless it has ended; what Flower kept of it is gone then.

        Raises:
            DeploymentError: the SuperLink does not answer.
        """
        self._end(ListRunsRequest(run_id=run_id))

    def end_runs(self) -> None:
        """Stops the runs of an earlier server that this SuperLink's database still holds.

        Raises:
            DeploymentError: the SuperLink does not answer.
        """
        self._end(ListRunsRequest(limit=_MANY_RUNS))

    def _end(self, which: ListRunsRequest) -> None:
        try:
            # Flower frees what it kept of a run that has ended when it is asked for it.
            for run_id, run in self._control.ListRuns(which).run_dict.items():
                if run.status.status != Status.FINISHED:
                    self._control.StopRun(StopRunRequest(run_id=run_id))
        except httpx.HTTPStatusError:
            pass  # it is not known here, or has just ended
        except httpx.HTTPError as error:
            raise _unreachable(error) from None

    def close(self) -> None:
        """Closes the connections."""
        self._plain.close()
        self._control.close()
        self._runtime.close()


def connected(
    kind: type[_Client], socket: Path, interceptors: Sequence[ProtobufClientInterceptor], **options: Any
) -> _Client:
    """A client of Flower's, of the class `kind`, that speaks over the Unix socket instead of a port."""
    client = kind(_URL, interceptors=interceptors, **options)
    client._client.close()
    client._client = _socket_client(socket)
    return client


def _socket_client(socket: Path) -> BoundedClient:
    return BoundedClient(lambda _: _BOUNDS, uds=socket, timeout=_SECONDS)


def _asked(call: Any) -> Any:
    try:
        return call()
    except httpx.HTTPStatusError as error:
        refusal = _refusal(error.response.text)
        said = refusal.message if refusal else f"status {error.response.status_code}"
        raise DeploymentError(f"the SuperLink refused: {said.rstrip('.')}: see the server's log") from None
    except (httpx.HTTPError, ValueError) as error:
        raise _unreachable(error) from None


def _refusal(text: str) -> FlowerError | None:
    try:
        json_value(text, SMALL)  # Flower's reader has no bounds
    except UnreadableError:
        return None
    return FlowerError.from_json(text)


def _unreachable(error: Exception) -> DeploymentError:
    return DeploymentError(f"the SuperLink does not answer ({type(error).__name__}): see the server's log")
