"""What a site keeps of its last rounds: the same when it is read again, damaged never, and not for ever."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sealora_client.ledger import ChargeReference
from sealora_client.round.outbox import Kept, Noised, Outbox
from sealora_common.errors import OrderRefusedError, StorageError
from sealora_common.records.site_rounds import SiteRound
from sealora_common.round.order import GENESIS, RoundOrder

RUN = "ab" * 16


def reference(number: int) -> ChargeReference:
    return ChargeReference(id=number, hash=f"{number:064x}")


KEPT = Kept(
    purpose="train",
    round_number=2,
    recipe_hash=GENESIS,
    adapter_digest="0" * 64,
    clip_norm=1.0,
    weight=0.1 + 0.2,  # not one of those that survive being printed short
    figures=SiteRound(round=1, kind="train", epsilon=1.25),
    heldout_loss=Noised(value=1 / 3, charge=reference(4)),
    values=np.array([1.5, -0.0, 1e-42, np.finfo(np.float32).max], dtype=np.float32),
    charge=reference(5),
    unclipped=2 / 3,
)


def order(**changes: object) -> RoundOrder:
    """An order for the round that `KEPT` is of, or one with some fields changed."""
    made = RoundOrder(
        purpose="train",
        run=RUN,
        round_number=2,
        attempt=1,
        nonce="cd" * 16,
        recipe_hash=GENESIS,
        roster_hash=GENESIS,
        roster_sequence=1,
        layout_digest=GENESIS,
        adapter_digest=KEPT.adapter_digest,
        history=GENESIS,
        clip_range=1.0,
        clip_norm=KEPT.clip_norm,
    )
    return made.model_copy(update=changes)


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    made = Outbox(tmp_path, RUN)
    made.keep(KEPT)
    return made


def test_what_is_kept_is_found_again_to_the_last_bit_by_a_new_process(tmp_path: Path, outbox: Outbox) -> None:
    found = Outbox(tmp_path, RUN).find(order(attempt=3))
    assert found is not None
    assert found.values is not None
    assert found.values.tobytes() == KEPT.values.tobytes()  # type: ignore[union-attr]
    assert replace(found, values=None) == replace(KEPT, values=None)
    assert found.values_digest == KEPT.values_digest


def test_without_a_delta_there_is_none(tmp_path: Path) -> None:
    made = Outbox(tmp_path, RUN)
    made.keep(replace(KEPT, values=None))
    found = made.find(order())
    assert found is not None
    assert found.values is None


@pytest.mark.parametrize("change", [{"round_number": 3}, {"purpose": "evaluate"}])
def test_nothing_is_kept_of_another_round_or_purpose(outbox: Outbox, change: dict[str, object]) -> None:
    assert outbox.find(order(**change)) is None


def test_nothing_is_kept_of_another_run(tmp_path: Path, outbox: Outbox) -> None:
    assert Outbox(tmp_path, "ef" * 16).find(order(run="ef" * 16)) is None


def test_the_next_round_takes_the_place_of_the_last(outbox: Outbox) -> None:
    outbox.keep(replace(KEPT, round_number=3))
    assert outbox.find(order()) is None
    assert outbox.find(order(round_number=3)) is not None


def test_only_the_owner_may_read_it(tmp_path: Path, outbox: Outbox) -> None:
    """The figures beside the delta carry no noise."""
    assert (tmp_path / "outbox" / RUN).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_damaged_file_is_refused_and_never_sent(tmp_path: Path, outbox: Outbox, place: int) -> None:
    path = tmp_path / "outbox" / RUN
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="is damaged: move it away"):
        outbox.find(order())


def test_a_delta_that_is_cut_short_is_damage(tmp_path: Path, outbox: Outbox) -> None:
    path = tmp_path / "outbox" / RUN
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StorageError, match="is damaged"):
        outbox.find(order())


def test_a_round_ordered_again_must_be_the_same_but_for_the_attempt() -> None:
    KEPT.require_of(order(attempt=2, nonce="00" * 16))
    for change in ({"recipe_hash": "1" * 64}, {"adapter_digest": "1" * 64}, {"clip_norm": 2.0}):
        with pytest.raises(OrderRefusedError, match="ordered before with another recipe, adapter or clipping norm"):
            KEPT.require_of(order(**change))


def test_a_vector_is_marked_sent_once_and_that_lasts(tmp_path: Path, outbox: Outbox) -> None:
    assert outbox.mark_sent(order())
    assert Outbox(tmp_path, RUN).was_sent(order())
    assert not outbox.was_sent(order(round_number=3))
    assert not outbox.mark_sent(order(attempt=2))
    outbox.keep(KEPT)  # as a round does that began before the mark was made
    assert not outbox.mark_sent(order(attempt=3))
    assert outbox.mark_sent(order(round_number=3))


def test_a_server_that_invents_runs_does_not_have_one_forgotten_of_which_something_left(
    tmp_path: Path, outbox: Outbox
) -> None:
    outbox.mark_sent(order())
    os.utime(tmp_path / "outbox" / RUN, ns=(0, 0))
    for number in range(30):
        Outbox(tmp_path, f"{number:032x}").keep(KEPT)
    found = Outbox(tmp_path, RUN).find(order())
    assert found is not None
    assert Outbox(tmp_path, RUN).was_sent(order())
    assert len(list((tmp_path / "outbox").iterdir())) == 2 + 8


def test_of_many_runs_that_sent_something_the_latest_deltas_are_kept_and_that_they_were_sent_of_all(
    tmp_path: Path,
) -> None:
    runs = [f"{number:032x}" for number in range(30)]
    for number, run in enumerate(runs):
        Outbox(tmp_path, run).keep(KEPT)
        Outbox(tmp_path, run).mark_sent(order())
        os.utime(tmp_path / "outbox" / run, ns=(number, number))
    Outbox(tmp_path, runs[-1]).keep(KEPT)
    kept = {path.name for path in (tmp_path / "outbox").iterdir() if path.suffix != ".sent"}
    assert kept == set(runs[-8:])
    assert all(Outbox(tmp_path, run).was_sent(order()) for run in runs)


def test_of_many_runs_the_latest_are_kept_and_the_one_under_way(tmp_path: Path) -> None:
    """A server that invents runs fills no disk, and does not push out the newest first."""
    runs = [f"{number:032x}" for number in range(12)]
    for number, run in enumerate(runs):
        Outbox(tmp_path, run).keep(KEPT)
        os.utime(tmp_path / "outbox" / run, ns=(number, number))
    Outbox(tmp_path, runs[-1]).keep(KEPT)
    assert {path.name for path in (tmp_path / "outbox").iterdir()} == set(runs[-8:])


def test_the_ledger_knows_a_delta_by_all_that_its_charge_pays_for() -> None:
    """The share of unclipped units has left with the delta; another one under the same charge would be unpaid."""
    other_values = np.array([1.5, 0.0, 1e-42, np.finfo(np.float32).max], dtype=np.float32)
    digests = {
        KEPT.values_digest,
        replace(KEPT, unclipped=0.5).values_digest,
        replace(KEPT, values=other_values).values_digest,
        Noised(value=1 / 3, charge=reference(4)).digest,
    }
    assert len(digests) == 4
    assert Noised(value=1 / 3, charge=reference(9)).digest == Noised(value=1 / 3, charge=reference(4)).digest
