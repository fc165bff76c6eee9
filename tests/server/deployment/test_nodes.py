from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity
from sealora_common.identity.card import create_node_key
from sealora_common.roster import Member, Roster
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.nodes import NodeList, nodes_of, reconcile
from sealora_server.deployment.superlink.client import Node
from sealora_server.node_keys import node_key_pem


@dataclass
class FakeSuperLink:
    """Keeps nodes as Flower does: a key that was withdrawn is never taken again."""

    known: list[Node] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def nodes(self) -> list[Node]:
        return list(self.known)

    def register(self, name: str, key: bytes) -> None:
        assert all(node.key != key for node in self.known)
        self.calls.append(f"+{name}")
        self.known.append(Node(len(self.known) + 1, name, key, online=False, registered=True))

    def unregister(self, node_id: int) -> None:
        [node] = [node for node in self.known if node.node_id == node_id]
        self.calls.append(f"-{node.name}")
        self.known[self.known.index(node)] = Node(node_id, node.name, node.key, online=False, registered=False)


@pytest.fixture
def keys(tmp_path):
    return [create_node_key(tmp_path / f"{index}.key") for index in range(5)]


@pytest.fixture
def superlink():
    return FakeSuperLink()


def test_every_listed_node_is_registered_once(keys, superlink):
    wanted = NodeList(nodes={"a": keys[0], "b": keys[1]})
    for _ in range(3):
        reconcile(wanted, superlink)
    assert superlink.calls == ["+a", "+b"]
    assert [node.key for node in superlink.known] == [node_key_pem(keys[0]), node_key_pem(keys[1])]


def test_one_site_s_key_is_replaced_and_no_other_is_touched(keys, superlink):
    wanted = NodeList(nodes={"a": keys[0], "b": keys[1], "c": keys[2]})
    reconcile(wanted, superlink)
    superlink.calls.clear()
    reconcile(wanted.with_nodes({"b": keys[3]}), superlink)
    assert superlink.calls == ["-b", "+b"]


def test_a_site_that_left_the_list_is_withdrawn(keys, superlink):
    wanted = NodeList(nodes={"a": keys[0], "b": keys[1]})
    reconcile(wanted, superlink)
    reconcile(wanted.without("a"), superlink)
    assert superlink.calls == ["+a", "+b", "-a"]


def test_a_superlink_that_forgot_everything_is_told_again(keys, superlink):
    wanted = NodeList(nodes={"a": keys[0], "b": keys[1]})
    reconcile(wanted, superlink)
    superlink.known.clear()
    reconcile(wanted, superlink)
    assert superlink.calls == ["+a", "+b"] * 2


def test_a_withdrawn_key_is_not_taken_back_and_all_else_is_done(keys, superlink):
    wanted = NodeList(nodes={"a": keys[0]})
    reconcile(wanted, superlink)
    reconcile(wanted.without("a"), superlink)
    said = reconcile(NodeList(nodes={"a": keys[0], "z": keys[1]}), superlink)
    assert said == "the node key of 'a' was withdrawn before and is not taken back: ask for a card with a new one"
    assert superlink.calls == ["+a", "-a", "+z"]


def test_the_list_survives_on_disk_for_its_owner_alone(keys, tmp_path):
    wanted = NodeList(nodes={"a": keys[0]})
    wanted.save(tmp_path / "nodes.json")
    assert NodeList.load(tmp_path / "nodes.json") == wanted
    assert (tmp_path / "nodes.json").stat().st_mode & 0o777 == 0o600
    assert NodeList.load(tmp_path / "none.json") == NodeList()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"nodes": {"A B": "x"}}', b"\xff"])
def test_a_damaged_list_is_named(tmp_path, content):
    (tmp_path / "nodes.json").write_bytes(content)
    with pytest.raises(DeploymentError, match=r"nodes\.json: cannot be read: restore it, or delete it and register"):
        NodeList.load(tmp_path / "nodes.json")


def test_two_sites_do_not_share_a_key(keys):
    with pytest.raises(DeploymentError, match="sites 'a' and 'b' have the same node key"):
        NodeList(nodes={"a": keys[0]}).with_nodes({"b": f"{keys[0]} with a comment"})


@pytest.mark.parametrize("added", [{"a": "no key"}, {"A b": "ssh"}, {"a": "ssh-rsa AAAA"}])
def test_what_is_no_name_or_key_is_refused(added):
    with pytest.raises(DeploymentError, match="a site's name or node key is malformed"):
        NodeList().with_nodes(added)


def test_a_site_that_is_not_there_cannot_be_withdrawn():
    with pytest.raises(DeploymentError, match="site 'a' is not registered"):
        NodeList().without("a")


def test_a_roster_s_keys_are_taken_by_name(keys):
    coordinator = Identity.create("coordinator", SystemEntropy())
    members = tuple(
        Member(name=name, public_key=Identity.create(name, SystemEntropy()).public_key_text, node_key=key)
        for name, key in (("a", keys[0]), ("b", None))
    )
    roster = Roster(consortium="c", coordinator=coordinator.public_key_text, members=members)
    with pytest.raises(DeploymentError, match="site 'b' has no node key on the roster: add its card"):
        nodes_of(roster)
    assert nodes_of(roster.without_member("b")) == {"a": keys[0]}
