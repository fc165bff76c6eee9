"""A name for a data set that follows from its content, for the privacy ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def dataset_fingerprint(records: Iterable[tuple[str, str]]) -> str:
    """SHA-256 (hex) over the sorted digests of the records: the same for any order and any file name.

    Records are counted, so a data set with a record twice is another data set. One that gains, loses or changes
    a record is another one too, and the ledger then starts it afresh: a site that grows its data keeps spending
    on the old records, which only its policy can hold against the new data set.

    Args:
        records: (prompt, response) texts, any number of them, read once.

    >>> one = dataset_fingerprint([("a", "b"), ("c", "d")])
    >>> one == dataset_fingerprint([("c", "d"), ("a", "b")])
    True
    >>> one == dataset_fingerprint([("a", "bc"), ("", "d")])
    False
    """
    digests = sorted(_digest_of_record(prompt, response) for prompt, response in records)
    return hashlib.sha256(b"sealora dataset v1\n" + b"".join(digests)).hexdigest()


def _digest_of_record(prompt: str, response: str) -> bytes:
    # Lone surrogates can stand in JSON strings, so they must have bytes as well.
    first, second = (text.encode("utf-8", "surrogatepass") for text in (prompt, response))
    return hashlib.sha256(len(first).to_bytes(8, "big") + first + second).digest()
