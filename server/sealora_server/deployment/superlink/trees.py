"""What an answer is made of: the tree of its parts' names, which its sender tells before it sends them.

Flower believes what it is told first of each part, and goes by it when it lists a message's parts and when it deletes
them. A part's name is the hash of its content, and the content says what it is made of; but Flower never compares.
"""

from __future__ import annotations

from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    get_object_children_ids_from_object_content,
    is_valid_sha256_hash,
    iterate_object_tree,
)
from flwr.supercore.object_store import NoObjectInStoreError, ObjectStore

MOST_PARTS = 10_000
"""An answer of ours has a handful of records and its vector in pieces of 5 MB."""

Parts = dict[str, list[str]]
"""Name of a part -> names of what it is made of."""


def parts_of(tree: ObjectTree) -> Parts | None:
    """The parts of a tree, or None if it is none that an honest node sends.

    Each part is made of the same wherever it stands. So none contains itself, and all go when the root is deleted.
    """
    parts: Parts = {}
    for count, part in enumerate(iterate_object_tree(tree)):
        made_of = [child.object_id for child in part.children]
        if count >= MOST_PARTS or not is_valid_sha256_hash(part.object_id):
            return None
        if parts.setdefault(part.object_id, made_of) != made_of:
            return None
    return parts


def contradicted(tree: ObjectTree, store: ObjectStore) -> set[str]:
    """The parts of which the store was told something else."""
    left, seen, found = [tree], set(), set()
    while left:
        part = left.pop()
        if part.object_id in seen:
            continue
        seen.add(part.object_id)
        try:
            stored = store.get_object_tree(part.object_id)
        except NoObjectInStoreError:
            left.extend(part.children)
            continue
        if stored == part:
            continue
        if [child.object_id for child in stored.children] == [child.object_id for child in part.children]:
            left.extend(part.children)
        else:
            found.add(part.object_id)
    return found


def is_made_of(content: bytes, names: list[str]) -> bool:
    """Whether a part's content says that it is made of these. Of what is no part's content, False."""
    try:
        return get_object_children_ids_from_object_content(content) == names
    except ValueError:
        return False
