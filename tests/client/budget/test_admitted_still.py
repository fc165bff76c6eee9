"""What is judged to the last digit, and what a run has to have sent to be judged no more."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sealora_client.budget.admission import PlannedPart, admit_unless_begun
from sealora_client.ledger import Ledger
from sealora_client.site.directory import Site
from sealora_client.site.policy import SitePolicy
from sealora_common.errors import OrderRefusedError
from sealora_common.privacy.accounting import HEADROOM, PrivacyEvent, epsilon_pld
from sealora_common.recipe import parse_recipe

from ledger_runs import SITE, records

DELTA = 1e-3
TRAIN, HELDOUT = records("a", "b", "c"), records("x", "y")
EVENT = PrivacyEvent(2.0, 0.2, 2)


def test_a_run_s_own_promise_is_kept_with_room_for_a_rounding_too() -> None:
    cost = epsilon_pld([EVENT], DELTA)

    def refused(promised: float) -> str | None:
        nothing: tuple[PrivacyEvent, ...] = ()
        return PlannedPart("train", TRAIN, EVENT, 1, 0, nothing, nothing, nothing, DELTA, 1000.0, promised).refused

    assert refused(cost / (1 - 2 * HEADROOM)) is None
    assert "that the recipe promises" in str(refused(cost / (1 - HEADROOM / 2)))


@pytest.mark.parametrize("dataset", [TRAIN, HELDOUT], ids=["training", "evaluation"])
def test_a_run_of_which_anything_has_left_has_begun(tmp_path: Path, dataset: object) -> None:
    recipe = parse_recipe(
        "name: test\nrounds: 4\nmodel: {base: b}\ntraining: {sample_rate: 0.2}\nprivacy: {epsilon: 6, delta: 1.0e-3}\n"
    )
    with Ledger(tmp_path / "ledger.sqlite", SITE) as ledger:
        site = cast(
            Site,
            SimpleNamespace(
                recipe=recipe,
                roster=(1, 2, 3),
                policy=SitePolicy(epsilon_limit=1.0, delta_limit=DELTA),
                data=SimpleNamespace(train_set=TRAIN, heldout_set=HELDOUT),
                ledger=lambda: nullcontext(ledger),
            ),
        )
        with pytest.raises(OrderRefusedError, match="does not allow this whole run"):
            admit_unless_begun(site, "own")
        made = ledger.charge(
            dataset=dataset,  # type: ignore[arg-type]
            run="own",
            round_number=1,
            event=PrivacyEvent(30.0, 1.0, 1),
            delta=DELTA,
            epsilon_limit=8.0,
        )
        with pytest.raises(OrderRefusedError):
            admit_unless_begun(site, "own")
        ledger.mark_released(made.id)
        admit_unless_begun(site, "own")
        with pytest.raises(OrderRefusedError):
            admit_unless_begun(site, "another")
