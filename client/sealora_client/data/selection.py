"""Which held-out records are evaluated when there are more than the recipe evaluates.

Limits count units of privacy, and which units are taken follows from a hash of each under one key: the units with the
smallest. So one unit more or less displaces at most one other, whatever it holds and wherever in the file it stands,
and a sum over the chosen ones, each clipped to C, moves by at most C. Had the first so many records of the file been
taken, one person with many would have displaced all others.

The key is one constant, so everybody who reads the file chooses alike, whatever the recipe: two recipes over one file
are compared on the same held-out records. It is public; nothing rests on its being secret.
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
from collections import Counter
from collections.abc import Iterable, Sequence

from sealora_client.data.fingerprint import digest_of_person, digest_of_record
from sealora_client.data.record import Record
from sealora_common.recipe import Recipe

_KEY = hashlib.sha256(b"sealora evaluated units v1").digest()


def evaluated(heldout: Sequence[Record], recipe: Recipe) -> list[Record]:
    """Those of `heldout` that are evaluated: at most `data.heldout_limit` units, in the order they came in.

    With persons, at most `privacy.records_per_person` records of each, chosen likewise among that person's: a person
    with a million records is not to take all the time. Equal records are told apart by their number alone.
    """
    limit = recipe.data.heldout_limit
    if recipe.data.unit == "record":
        return [heldout[place] for place in _smallest(_numbered(heldout), limit)]
    of_person: dict[bytes, list[int]] = {}
    for place, record in enumerate(heldout):
        of_person.setdefault(digest_of_person(record.person or ""), []).append(place)
    owned = list(of_person.values())
    places: list[int] = []
    for person in _smallest(list(of_person), limit):
        own = owned[person]
        chosen = _smallest(_numbered(heldout[i] for i in own), recipe.privacy.records_per_person)
        places += [own[i] for i in chosen]
    return [heldout[place] for place in sorted(places)]


def _numbered(records: Iterable[Record]) -> list[bytes]:
    """A name for each record: its digest, and how many equal ones came before it."""
    seen: Counter[bytes] = Counter()
    names = []
    for record in records:
        digest = digest_of_record(*record.texts)
        names.append(digest + seen[digest].to_bytes(8, "big"))
        seen[digest] += 1
    return names


def _smallest(names: Sequence[bytes], count: int) -> list[int]:
    """The places, ascending, of the `count` names with the smallest keyed hashes; all of them if there are fewer."""
    if len(names) <= count:
        return list(range(len(names)))
    hashes = [hmac.digest(_KEY, name, "sha256") for name in names]
    return sorted(heapq.nsmallest(count, range(len(names)), key=hashes.__getitem__))
