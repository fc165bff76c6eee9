"""What the attacks found under one arm and one seed, as it is kept, so that it is computed once.

LOCAL: exact figures, for whoever holds the records of all sites.
"""

from __future__ import annotations

from sealora_common.records.attacks.memorisation import AttackedAdapter
from sealora_server.comparison.outcome import SeededOutcome


class AttackOutcome(SeededOutcome):
    """One arm under one seed."""

    rounds: int
    """That were trained."""
    seconds: float
    """That the rounds took."""
    found: AttackedAdapter
