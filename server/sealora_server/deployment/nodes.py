"""Which sites' Flower nodes may connect: `nodes.json` says it, and the SuperLink is brought in line with it.

The file outlives the SuperLink's database. One site's key can be replaced or withdrawn; the others' are not touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from sealora_common.config import LINE, Name, from_json, read_file
from sealora_common.errors import UnreadableError
from sealora_common.roster import Roster
from sealora_common.storage.durable import write_atomically
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.superlink.client import SuperLinkClient
from sealora_server.node_keys import node_key_pem


class NodeList(BaseModel):
    """`nodes.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nodes: dict[Name, str] = Field(default_factory=dict)
    """Site name -> its node's public key (OpenSSH, P-384)."""

    @classmethod
    def load(cls, path: Path) -> NodeList:
        """Reads the list; a file that is not there is an empty one.

        Raises:
            DeploymentError: it is damaged.
        """
        try:
            return from_json(cls, read_file(path, LINE.longest))
        except FileNotFoundError:
            return cls()
        except (OSError, UnreadableError):
            raise DeploymentError(f"{path}: cannot be read: restore it, or delete it and register anew") from None

    def save(self, path: Path) -> None:
        """Writes the list.

        Raises:
            StorageError: it could not be written.
        """
        write_atomically(path, self.model_dump_json(indent=2).encode() + b"\n", mode=0o600)

    def with_nodes(self, added: Mapping[str, str]) -> NodeList:
        """A copy with these nodes (site name -> public key), in place of any of the same names.

        Raises:
            DeploymentError: a name or key is none, or two sites share a key.
        """
        try:
            nodes = NodeList(nodes={**self.nodes, **added}).nodes
            keys = {name: node_key_pem(key) for name, key in sorted(nodes.items())}
        except ValueError:
            raise DeploymentError("a site's name or node key is malformed: ask the site for its card again") from None
        owners: dict[bytes, str] = {}
        for name, key in keys.items():
            other = owners.setdefault(key, name)
            if other != name:
                raise DeploymentError(f"sites {other!r} and {name!r} have the same node key: ask one for a new card")
        return NodeList(nodes=nodes)

    def check_kept(self, added: Mapping[str, str]) -> None:
        """Refuses nodes of which one would take the place of another: that is an act of its own.

        Raises:
            DeploymentError: a site of the same name is registered with another key.
        """
        present = self.with_nodes(added).nodes
        for name, key in self.nodes.items():
            if node_key_pem(present[name]) != node_key_pem(key):
                raise DeploymentError(
                    f"site {name!r} is registered with another node key: if it has a new one, replace it with "
                    "`sealora server register --roster`; if it is another site, it needs another name on this server"
                )

    def without(self, name: str) -> NodeList:
        """A copy without the site called `name`.

        Raises:
            DeploymentError: there is no such site.
        """
        if name not in self.nodes:
            raise DeploymentError(f"site {name!r} is not registered: see `sealora server status` for those that are")
        return NodeList(nodes={site: key for site, key in self.nodes.items() if site != name})

    def changes_since(self, former: NodeList) -> list[str]:
        """A sentence on each site that `former` has not, has with another key, or has besides."""
        said = []
        for name in sorted(self.nodes.keys() | former.nodes.keys()):
            if name not in self.nodes:
                said.append(f"site {name} may connect no more: its node key was withdrawn")
            elif name not in former.nodes:
                said.append(f"site {name} was registered and may connect")
            elif self.nodes[name] != former.nodes[name]:
                said.append(f"site {name} was registered with a new node key; the old one was withdrawn")
        return said


def nodes_of(roster: Roster) -> dict[str, str]:
    """The node keys of a roster's members, by name.

    Raises:
        DeploymentError: a member has none.
    """
    nodes = {}
    for member in roster.members:
        if member.node_key is None:
            raise DeploymentError(
                f"site {member.name!r} has no node key on the roster: add its card to the roster and sign it again"
            )
        nodes[member.name] = member.node_key
    return nodes


def reconcile(wanted: NodeList, superlink: SuperLinkClient) -> str | None:
    """Registers and withdraws keys at the SuperLink until it knows exactly the `wanted` ones.

    Returns:
        A sentence on the wanted keys that were withdrawn before, which Flower never takes back, if there are such.

    Raises:
        DeploymentError: the SuperLink does not answer.
    """
    keys = {node_key_pem(key): name for name, key in wanted.nodes.items()}
    known = superlink.nodes()
    for node in known:
        if node.registered and node.key not in keys:
            superlink.unregister(node.node_id)
    registered = {node.key for node in known if node.registered}
    withdrawn = {node.key for node in known if not node.registered}
    for key, name in sorted(keys.items(), key=lambda item: item[1]):
        if key not in registered | withdrawn:
            superlink.register(name, key)
    refused = sorted(keys[key] for key in withdrawn & set(keys))
    if not refused:
        return None
    names = ", ".join(map(repr, refused))
    return f"the node key of {names} was withdrawn before and is not taken back: ask for a card with a new one"
