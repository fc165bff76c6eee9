"""What a server's messages are held to before Flower's own code puts them together.

Flower trusts the server: it follows whatever references an object names, as often as they are named. Here every object
must have the bytes that its id is the SHA-256 of, so that no object can contain itself, and what the objects grow to is
worked out first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from flwr.app.metadata import Metadata
from flwr.common.serde_utils import metadata_from_proto
from flwr.proto.message_pb2 import Metadata as ProtoMetadata
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    get_object_head_values_from_object_content,
    get_object_id,
    iterate_object_tree,
)

from sealora_client.fleet.errors import BadMessageError
from sealora_common.config import json_value
from sealora_common.round.wire_format import Action

MOST_OBJECTS = 10_000
"""Parts of one message: an array has one for each 5 MB."""
LARGEST_STRUCTURE = 4 << 20
"""Bytes of an object that only names others."""
_LARGEST_HEAD = 1 << 20
_CONTENT = ("ArrayChunk", "ConfigRecord")
_LONGEST_NAME = 256
_ID = re.compile(r"[0-9a-f]{64}")


def checked_metadata(proto: ProtoMetadata, node_id: int) -> Metadata:
    """A message's metadata, if it is such that it can be kept, shown and answered.

    Args:
        proto: as it came.
        node_id: this node's.

    Raises:
        ValueError: it is not.
    """
    if not _ID.fullmatch(proto.message_id):
        raise ValueError("a message whose id is none")
    if proto.dst_node_id != node_id:
        raise ValueError("a message for another node")
    if proto.message_type not in set(Action):
        raise ValueError("a message of a kind that Sealora does not know")
    if max(len(proto.group_id), len(proto.reply_to_message_id)) > _LONGEST_NAME:
        raise ValueError("a message with names that are too long")
    if not (math.isfinite(proto.created_at) and math.isfinite(proto.ttl) and proto.created_at > 0 and proto.ttl > 0):
        raise ValueError("a message without a time")
    return metadata_from_proto(proto)


def check_tree(tree: ObjectTree) -> list[str]:
    """The ids of a message's objects, each once.

    Raises:
        BadMessageError: they are too many, or no ids.
    """
    ids: dict[str, None] = {}
    for count, node in enumerate(iterate_object_tree(tree), 1):
        if count > MOST_OBJECTS:
            raise BadMessageError("the message has more parts than any order")
        if not _ID.fullmatch(node.object_id):
            raise BadMessageError("the message has a part whose id is none")
        ids[node.object_id] = None
    return list(ids)


def check_object(object_id: str, content: bytes) -> None:
    """Refuses content that is not what its id says, or is large where it only names other objects.

    Raises:
        BadMessageError: it is such.
    """
    if get_object_id(content) != object_id:
        raise BadMessageError("a part of the message is another than its id says")
    kind, children, _ = _head(content)
    if kind not in _CONTENT and len(content) > LARGEST_STRUCTURE:
        raise BadMessageError("a part of the message is larger than any of its kind")
    if len(children) > MOST_OBJECTS:
        raise BadMessageError("the message has more parts than any order")


def check_expansion(contents: Mapping[str, bytes], largest: int) -> None:
    """Refuses objects that grow to more than `largest` bytes: an array may name one chunk any number of times.

    Raises:
        BadMessageError: they do.
        ValueError: (or another error) they are damaged.
    """
    total = 0
    for content in contents.values():
        kind, children, _ = _head(content)
        if kind == "Array":
            body: Any = json_value(content[content.index(b"\x00") + 1 :])
            total += sum(len(contents[children[index]]) for index in body["arraychunk_ids"])
        if total > largest:
            raise BadMessageError("the message grows to more than any order")


def _head(content: bytes) -> tuple[str, list[str], int]:
    if content.find(b"\x00", 0, _LARGEST_HEAD) < 0:
        raise BadMessageError("a part of the message has no head")
    try:
        return get_object_head_values_from_object_content(content)
    except ValueError:
        raise BadMessageError("a part of the message has a head that cannot be read") from None
