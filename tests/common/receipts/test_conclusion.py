"""How a run ended: what is no end of the run whose receipts these are is refused, whoever signed it."""

from __future__ import annotations

import json

import pytest

from sealora_common.entropy import SeededEntropy
from sealora_common.errors import ReceiptError
from sealora_common.identity import Identity
from sealora_common.receipts.conclusion import Conclusion, adapter_of_round, check_conclusion
from sealora_common.receipts.receipt import Receipt

from pure_sites import pure_recipe
from quorum import RUN, Consortium

RECIPE = pure_recipe(rounds=3)
BEST = pure_recipe(rounds=3, server={"keep": "best"})
HOME = {recipe.hash: Consortium(recipe_hash=recipe.hash) for recipe in (RECIPE, BEST)}


def chain_under(recipe) -> list[Receipt]:
    home, chain = HOME[recipe.hash], []
    for digit in "567":
        chain.append(home.receipt(home.order(chain), adapter_digest=digit * 64))
    return chain


CHAINS = {recipe.hash: chain_under(recipe) for recipe in (RECIPE, BEST)}


def conclusion(recipe=RECIPE, **changes: object) -> Conclusion:
    chain = CHAINS[recipe.hash]
    values = {
        "run": RUN,
        "recipe_hash": recipe.hash,
        "rounds": 3,
        "history": chain[-1].hash,
        "kept_round": 3,
        "adapter_digest": "7" * 64,
        "layout_digest": "3" * 64,
        "heldout_loss_after": 1.5,
    }
    return Conclusion.model_validate(values | changes).signed_by(HOME[recipe.hash].server)


def check(told: Conclusion, recipe=RECIPE, chain: list[Receipt] | None = None) -> None:
    check_conclusion(told, CHAINS[recipe.hash] if chain is None else chain, recipe, HOME[recipe.hash].rosters)


def test_the_end_of_the_run_holds_and_travels():
    check(conclusion())
    assert Conclusion.parse(conclusion().to_bytes()).says_the_same_as(conclusion())


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_where_the_best_is_kept_it_is_that_of_any_receipt_or_the_one_before_them(kept):
    digest = adapter_of_round(CHAINS[BEST.hash], kept)
    assert digest == ("4567"[kept] * 64)
    check(conclusion(BEST, kept_round=kept, adapter_digest=digest), BEST)
    with pytest.raises(ReceiptError, match=f"not the one that the receipt of round {kept} names"):
        check(conclusion(BEST, kept_round=kept, adapter_digest="8" * 64), BEST)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run": "0" * 32}, "the end of another run or recipe"),
        ({"recipe_hash": "0" * 64}, "the end of another run or recipe"),
        ({"rounds": 2}, "said to have ended after round 2, and its receipts are others"),
        ({"history": "0" * 64}, "said to have ended after round 3, and its receipts are others"),
        ({"kept_round": 2, "adapter_digest": "6" * 64}, "that of round 2, and the recipe keeps another"),
        ({"kept_round": 4}, "that of round 4, and the recipe keeps another"),
        ({"adapter_digest": "6" * 64}, "not the one that the receipt of round 3 names"),
        ({"layout_digest": "0" * 64}, "the adapter's layout is not the one of the run's orders"),
    ],
)
def test_another_end_is_refused_though_the_server_signed_it(changes, said):
    with pytest.raises(ReceiptError, match=said):
        check(conclusion(**changes))


def test_a_run_may_not_end_where_its_recipe_does_not_let_it():
    chain = CHAINS[RECIPE.hash][:2]
    early = conclusion(rounds=2, history=chain[-1].hash, kept_round=2, adapter_digest="6" * 64)
    with pytest.raises(ReceiptError, match="does not let a run end after round 2"):
        check(early, chain=chain)
    with pytest.raises(ReceiptError, match="no receipts of run"):
        check(conclusion(), chain=[])


def test_what_another_signed_or_somebody_changed_is_refused():
    stranger = Identity.create("server", SeededEntropy("stranger"))
    with pytest.raises(ReceiptError, match="is not signed by the roster's server"):
        check(conclusion().signed_by(stranger))
    with pytest.raises(ReceiptError, match="is not signed by the roster's server"):
        check(conclusion().model_copy(update={"heldout_loss_after": 0.1}))


@pytest.mark.parametrize(
    "change",
    [
        lambda told: b" " + told,
        lambda told: b"",
        lambda told: told[:-1],
        lambda told: json.dumps({**json.loads(told), "more": 1}).encode(),
        lambda told: json.dumps({**json.loads(told), "run": "../../etc"}).encode(),
        lambda told: json.dumps({**json.loads(told), "heldout_loss_after": float("nan")}).encode(),
        lambda told: b"[" * 100_000,
    ],
)
def test_what_is_no_conclusion_is_one_sentence(change):
    with pytest.raises(ReceiptError, match=r"the end of the run is (not )?told in"):
        Conclusion.parse(change(conclusion().to_bytes()))
