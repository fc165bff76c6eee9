"""A receipt is written down when the roster that it is under is there already: without it, it cannot be checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealora_client.round.history import History, Told
from sealora_common.errors import StorageError

from pure_sites import pure_recipe
from quorum import RUN, Consortium, terms_for

RECIPE = pure_recipe()


def test_no_receipt_is_kept_whose_roster_could_not_be(tmp_path: Path) -> None:
    home = Consortium(recipe_hash=RECIPE.hash)
    first = home.order([])
    receipt = home.receipt(first, terms=terms_for(first, home.roster, min_survivors=3))
    history = History(tmp_path, RUN)
    checked = history.check(Told((receipt,)), home.order([receipt]), RECIPE, home.roster)
    (tmp_path / "receipts").mkdir()
    in_the_way = tmp_path / "receipts" / "rosters"
    in_the_way.write_bytes(b"")
    with pytest.raises(StorageError):
        history.take(checked)
    assert History(tmp_path, RUN).receipts == []
    in_the_way.unlink()
    history.take(checked)
    assert History(tmp_path, RUN).receipts == [receipt]
    assert (in_the_way / f"{home.roster.hash.hex()}.json").exists()
