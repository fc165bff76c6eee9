"""How much is read of what others wrote. What is beyond a bound is refused before it is built in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """The most that is taken.

    Attributes:
        longest: bytes of the file or message.
        depth: how deep lists and mappings lie in each other.
        nodes: values, keys included.
        digits: of a whole number. Fewer than a double's 308, so that every whole number has a float.
    """

    longest: int
    depth: int = 32
    nodes: int = 200_000
    digits: int = 100


CONFIGURATION = Bounds(longest=256 * 2**10, depth=16, nodes=20_000)
"""What people write: recipes, policies, site.yaml, server.yaml. 1000 simulated sites take 60 kB."""
SMALL = Bounds(longest=64 * 2**10, nodes=2_000)
"""Cards, co-signatures, orders, and the files of a few fields that each side keeps for itself."""
LINE = Bounds(longest=16 * 2**20)
"""Rosters and receipts of 1000 sites (8 MB each), greetings, operators' requests, events, records, one line each."""
LARGE = Bounds(longest=512 * 2**20, nodes=5_000_000)
"""What a process has kept for itself of the sealing of 1000 sites, and ledger exports."""
LONGEST_TENSORS = 64 * 2**30
"""Bytes of a file of tensors: an adapter of rank 256 on a model of 400 billion parameters."""
