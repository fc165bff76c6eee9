"""What sites are given when a run is over, and who has taken it.

delivery/conclusion.json  how the run ended, signed: made when it is first offered, the same from then on
delivery/delivered.json   the sites that keep the adapter; one that is away stands in it later

The adapter itself is the one that the run has published, and its layout the one that its orders name.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from sealora_common.adapter import AdapterLayout, adapter_kind
from sealora_common.config import LARGE, LINE, SMALL, from_json, read_file
from sealora_common.errors import ModelError, ReceiptError, StorageError, UnreadableError
from sealora_common.export.peft_directory import read_tensors
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.receipts.conclusion import Conclusion, adapter_of_round, least_heldout_noise
from sealora_common.records.names import LAYOUT
from sealora_common.round.hello import parse_layout
from sealora_common.round.order import vector_digest
from sealora_common.storage.durable import write_atomically
from sealora_server.run.store import RunStore

_LONGEST_CONCLUSION = SMALL.longest


class _Delivered(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    sites: tuple[str, ...] = ()


class FinalAdapter:
    """The adapter that a run ended with, on its way to the sites."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._conclusion = store.directory / "delivery" / "conclusion.json"
        self._delivered = store.directory / "delivery" / "delivered.json"

    @property
    def is_deliverable(self) -> bool:
        """Whether the run has ended, and under a version that keeps what a delivery takes."""
        return self._store.result is not None and (self._store.directory / LAYOUT).exists()

    def conclusion(self) -> Conclusion:
        """How the run ended. Call it of a run that is deliverable.

        Raises:
            StorageError: a file is damaged, or cannot be written.
        """
        try:
            return Conclusion.parse(read_file(self._conclusion, _LONGEST_CONCLUSION))
        except FileNotFoundError:
            conclusion = self._concluded()
            write_atomically(self._conclusion, conclusion.to_bytes())
            return conclusion
        except (OSError, UnreadableError, ReceiptError):
            raise StorageError(
                f"{self._conclusion}: cannot be read: restore it from a backup, so that all sites are told the same"
            ) from None

    @property
    def layout_bytes(self) -> bytes:
        """The layout as it travels.

        Raises:
            StorageError: the file cannot be read.
        """
        path = self._store.directory / LAYOUT
        try:
            return read_file(path, LINE.longest)
        except (OSError, UnreadableError):
            raise StorageError(f"{path}: cannot be read: restore it from a backup") from None

    def vector(self, conclusion: Conclusion) -> NDArray[np.float32]:
        """The shared part of the published adapter, float32, shape (P,).

        Raises:
            StorageError: it is not the one that the run ended with, or cannot be read.
        """
        path, kind = self._store.directory / "adapter", adapter_kind(self._store.recipe)
        try:
            vector = kind.shared(self._layout()).flatten(kind.held(read_tensors(path)))
        except ModelError as error:
            raise StorageError(f"{path}: cannot be delivered ({error})") from None
        if vector_digest(vector) != conclusion.adapter_digest:
            raise StorageError(f"{path}: is not the adapter that the run ended with: restore it from a backup")
        return vector

    @property
    def delivered(self) -> frozenset[str]:
        """The sites that have it. Where the file is damaged none: they are asked again, which costs little."""
        try:
            return frozenset(from_json(_Delivered, read_file(self._delivered, LARGE.longest)).sites)
        except (OSError, UnreadableError):
            return frozenset()

    def note_delivered(self, site: str) -> None:
        """Notes that `site` has it.

        Raises:
            StorageError: it could not be written.
        """
        sites = tuple(sorted(self.delivered | {site}))
        write_atomically(self._delivered, _Delivered(sites=sites).model_dump_json().encode())

    def _layout(self) -> AdapterLayout:
        try:
            return parse_layout(self.layout_bytes)
        except UnreadableError as error:
            raise StorageError(f"{self._store.directory / LAYOUT}: {error}: restore it from a backup") from None

    def _concluded(self) -> Conclusion:
        store, recipe = self._store, self._store.recipe
        result, chain = store.result, store.receipts()
        if result is None or not chain:
            raise StorageError(f"{store.directory}: its run has not come to its end: nothing can be delivered")
        kept = len(chain) if result.kept_round is None else result.kept_round
        mechanism = mechanism_of(recipe)
        return Conclusion(
            run=store.run_id,
            recipe_hash=recipe.hash,
            rounds=len(chain),
            history=chain[-1].hash,
            kept_round=kept,
            adapter_digest=adapter_of_round(chain, kept),
            layout_digest=chain[-1].order.layout_digest,
            # Without noise a mean of few sites would tell each of them of the others.
            heldout_loss_before=result.heldout_loss_before if mechanism.protects else None,
            heldout_loss_after=result.heldout_loss_after if mechanism.protects else None,
            heldout_noise=least_heldout_noise(recipe, len(chain[-1].survivors)),
        ).signed_by(store.server_identity())
