"""What the ledger charged for one run, and for all runs on the same records: without the key that tells who is in them.

The ledger itself never goes into a dossier: whoever holds it can look people up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sealora_client.ledger import ChargeRow, Ledger
from sealora_client.ledger.state import ChargeState
from sealora_common.dossier.figure import DossierModel
from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.privacy.plan import Part, PrivacyPlan
from sealora_common.recipe.sections.data import Unit

EXTRACT = "ledger.json"


class ExtractedCharge(DossierModel):
    """One charge that is spent."""

    entry: int
    hash: str
    """SHA-256 (hex) of the entry and all before it."""
    created: str
    dataset: str
    run: str
    round: int
    noise_multiplier: float
    sample_rate: float
    steps: int
    noise: str
    grid_steps: int
    state: ChargeState
    insecure: bool


class ExtractedDataSet(DossierModel):
    """A data set that the run charged, and what is spent of it."""

    fingerprint: str
    part: Part
    unit: Unit
    size: int
    delta: float
    epsilon_of_run: float | None
    """Of this run's charges composed, at `delta`; null: without bound."""
    epsilon_of_all_runs: float | None
    """Of all charges that count against it, of whatever run."""
    other_runs: tuple[str, ...]


class LedgerExtract(DossierModel):
    """`evidence/ledger.json`."""

    entries: int
    """Of the whole ledger, each hash, signature and list of members checked when the extract was made."""
    last_hash: str
    signed_by: str
    """Pin of the key that signs it; empty if it is not signed."""
    marks: tuple[str, ...]
    """Entries by which a person accepted or restored the ledger."""
    datasets: tuple[ExtractedDataSet, ...]
    charges: tuple[ExtractedCharge, ...]
    insecure: bool
    """Whether one of the charges was made under the seed for tests."""

    @classmethod
    def of(cls, ledger: Ledger, run: str, plan: PrivacyPlan, delta: float) -> LedgerExtract:
        """What `ledger` has of the run, and of all that counts against the same records.

        Raises:
            StorageError: the ledger is damaged.
        """
        found = ledger.verify()
        own = [row for row in ledger.charges() if row.run == run and row.voided is None]
        rows: dict[int, ChargeRow] = {}
        datasets = []
        for row in ledger.datasets():
            mine = [charge for charge in own if charge.dataset == row.fingerprint]
            if not mine:
                continue
            every = ledger.charges(row.fingerprint)
            rows |= {charge.id: charge for charge in every}
            of_run = [charge for charge in every if charge.run == run]
            datasets.append(
                ExtractedDataSet(
                    fingerprint=row.fingerprint,
                    part=_part(mine[0], plan),
                    unit=row.unit,
                    size=row.size,
                    delta=delta,
                    epsilon_of_run=_epsilon(of_run, delta),
                    epsilon_of_all_runs=_epsilon(every, delta),
                    other_runs=tuple(sorted({charge.run for charge in every} - {run})),
                )
            )
        charges = tuple(_extracted(rows[number]) for number in sorted(rows))
        return cls(
            entries=found.entries,
            last_hash=found.hash,
            signed_by=found.signed_by,
            marks=tuple(f"entry {mark.number}, {mark.created}: {mark.deed} by a person" for mark in found.marks),
            datasets=tuple(datasets),
            charges=charges,
            insecure=any(charge.insecure for charge in charges),
        )


def _part(charge: ChargeRow, plan: PrivacyPlan) -> Part:
    heldout = plan.charge("heldout")
    return "heldout" if heldout is not None and charge.is_of_kind(heldout.event) else "train"


def _epsilon(charges: Sequence[ChargeRow], delta: float) -> float | None:
    epsilon = epsilon_pld([charge.event for charge in charges], delta)
    return epsilon if math.isfinite(epsilon) else None


def _extracted(row: ChargeRow) -> ExtractedCharge:
    return ExtractedCharge(
        entry=row.id,
        hash=row.hash,
        created=row.created,
        dataset=row.dataset,
        run=row.run,
        round=row.round_number,
        noise_multiplier=row.event.noise_multiplier,
        sample_rate=row.event.sample_rate,
        steps=row.event.steps,
        noise=row.event.noise,
        grid_steps=row.event.grid_steps,
        state=row.state,
        insecure=row.insecure,
    )
