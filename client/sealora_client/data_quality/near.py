"""Which texts are nearly the same: by the Jaccard similarity of their sets of five-character shingles.

Pairs are found by MinHash and locality-sensitive hashing (Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of Massive
Datasets", chapter 3), and each pair found is then compared exactly, so that none is called alike which is not. Of the
pairs that are alike, a few may be missed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sealora_client.data_quality.disjoint_sets import DisjointSets
from sealora_client.data_quality.missing import needing

SIMILARITY: Final = 0.85
"""From which on two texts are nearly the same. One word in twenty may differ, or a few characters anywhere."""
_SHINGLE = 5  # characters, which needs no words and so no language
_PERMUTATIONS = 128
_WEIGHTS = (0.1, 0.9)  # of false and of missed pairs: false ones are sorted out
_LONGEST = 20_000  # characters of a text that are compared


def near_groups(texts: Sequence[str], similarity: float = SIMILARITY) -> list[int]:
    """For each text, the place of the first one in its group.

    Texts are compared in lower case and Unicode's compatibility form (NFKC), with single spaces. Whatever is alike is
    in one group, and so is what is alike to something in it.

    Args:
        texts: any number of them; memory is some 4 bytes a character.
        similarity: from which on two are alike, in (0, 1].

    Raises:
        MissingLibraryError: `datasketch` is not installed.
    """
    with needing("datasketch", "finding near-duplicates"):
        from datasketch import MinHash, MinHashLSH

    folded = [_folded(text) for text in texts]
    firsts: dict[str, int] = {}
    for place, text in enumerate(folded):
        firsts.setdefault(text, place)
    groups = DisjointSets(len(texts))
    index = MinHashLSH(threshold=similarity, num_perm=_PERMUTATIONS, weights=_WEIGHTS)
    shingles: dict[int, NDArray[np.uint32]] = {}
    for text, place in firsts.items():
        own = shingles[place] = _shingles(text)
        sketch = MinHash(num_perm=_PERMUTATIONS, hashfunc=int)
        sketch.update_batch(own.tolist())
        for other in sorted(index.query(sketch)):
            if groups.of(other) != groups.of(place) and _jaccard(own, shingles[other]) >= similarity:
                groups.join(other, place)
        index.insert(place, sketch)
    for place, text in enumerate(folded):
        groups.join(firsts[text], place)
    return [groups.of(place) for place in range(len(texts))]


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text[:_LONGEST]).casefold().split())


def _shingles(text: str) -> NDArray[np.uint32]:
    """Hashes of the text's shingles, each once, ascending; a text that is shorter than one is its own."""
    padded = text.ljust(_SHINGLE)
    codes = np.frombuffer(padded.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    windows = len(codes) - _SHINGLE + 1
    hashed = np.zeros(windows, dtype=np.uint64)
    for offset in range(_SHINGLE):  # a polynomial modulo 2^64, whose upper half is well mixed (Knuth's multiplier)
        hashed = hashed * np.uint64(6364136223846793005) + codes[offset : offset + windows] + np.uint64(1)
    return np.unique((hashed * np.uint64(6364136223846793005) >> np.uint64(32)).astype(np.uint32))


def _jaccard(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)
