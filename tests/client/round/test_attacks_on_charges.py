"""Findings: what a lying server, or a restored file, still does to a site's charges and its outbox. Each test states
what docs/privacy.md promises and fails while the promise is broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from flwr.app import ConfigRecord, RecordDict

from sealora_client.budget.admission import admission
from sealora_client.delivery.kept_run import KeptRun, kept_runs
from sealora_client.ledger import Ledger, export, journal, recovery
from sealora_client.round import participation
from sealora_client.round.closed_runs import close_runs
from sealora_client.site.directory import open_site
from sealora_client.training.local import LocalTraining
from sealora_common.errors import StorageError
from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.receipts.receipt import Receipt, history_of
from sealora_common.round.contribution import ContributionLayout
from sealora_common.round.order import RoundOrder

from charge_watch import VICTIM, Watch, stalls
from site_bench import Bench, payload_of, refusal_of
from tiny_federation import PRIVATE


@pytest.fixture
def bench_of(tiny_base: Callable[..., Path], tmp_path: Path) -> Callable[..., Bench]:
    def make(mechanism: str, rounds: int = 2, **sections: Any) -> Bench:
        privacy = {"mechanism": "none"} if mechanism == "none" else {**PRIVATE, "mechanism": mechanism}
        sealing = {"ring_bits": 24} if mechanism == "distributed" else {}
        if mechanism == "distributed":
            privacy["spare_rounds"] = 2
        return Bench(
            tmp_path / mechanism, tiny_base(), records=6, rounds=rounds, privacy=privacy, sealing=sealing, **sections
        )

    return make


@pytest.fixture(autouse=True)
def receipts_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers here have all sites' keys and invent receipts. That a site finds its own vector in them of which its
    ledger does not know (`round.paid_receipts`) would end each attack sooner than the rules that are tried here."""
    monkeypatch.setattr(participation, "require_paid", lambda site, run, receipts, recipe: None)


@pytest.fixture
def contributions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    seen: list[Any] = []
    encode = ContributionLayout.encode

    def spied(self: ContributionLayout, contribution: Any, entropy: Any) -> Any:
        seen.append(contribution)
        return encode(self, contribution, entropy)

    monkeypatch.setattr(ContributionLayout, "encode", spied)
    return seen


def invented(bench: Bench, number: int, round_number: int, purpose: str = "train") -> tuple[RoundOrder, list[Receipt]]:
    """An order of a run that never was; of what came before, the lying server has all that sites can give it."""
    run = f"{number:032x}"
    receipts: list[Receipt] = []
    for earlier in range(1, round_number):
        issued = bench.order(round_number=earlier, run=run, history=history_of(receipts))
        receipts.append(bench.receipt(issued))
    order = RoundOrder.issue(
        purpose,  # type: ignore[arg-type]
        run=run,
        round_number=round_number,
        attempt=1,
        recipe=bench.recipe,
        roster=bench.roster,
        layout_digest=bench.layout.digest,
        adapter=bench.adapter,
        history=history_of(receipts),
    )
    return order, receipts


def begin_invented(bench: Bench, number: int, round_number: int, purpose: str = "train") -> RecordDict:
    """Orders it in a Flower run of its own, and drops it."""
    order, receipts = invented(bench, number, round_number, purpose)
    remembered, bench.contexts[VICTIM].state = bench.contexts[VICTIM].state, RecordDict()
    former, bench.receipts = bench.receipts, receipts
    try:
        return bench.begin(VICTIM, order, action=purpose)
    finally:
        bench.receipts = former
        bench.contexts[VICTIM].state = remembered


def allow(bench: Bench, epsilon: float) -> None:
    """Sets the sites' limit over the data's lifetime; a run of the recipe spends 8."""
    for name in bench.roster.names:
        policy = bench.directory(name) / "policy.yaml"
        policy.write_text(yaml.safe_dump(yaml.safe_load(policy.read_text()) | {"epsilon_limit": epsilon}))


def charges(bench: Bench, part: str = "train") -> list[Any]:
    data = bench.site.data
    with Ledger(bench.directory(VICTIM) / "ledger.sqlite") as ledger:
        return ledger.charges(data.train_set if part == "train" else data.heldout_set)


# 0: what the site keeps of a run for the day on which its adapter comes.


def test_of_invented_runs_nothing_is_kept_and_of_one_that_a_vector_left_for_its_recipe_is(bench_of):
    bench = bench_of("local")
    for number in range(3):
        begin_invented(bench, number, 1)
    assert not (bench.directory(VICTIM) / "runs").exists()
    order = bench.order()
    assert Watch(bench).play(order)
    assert kept_runs(bench.directory(VICTIM)) == [KeptRun(bench.directory(VICTIM), order.run)]
    assert KeptRun(bench.directory(VICTIM), order.run).recipe == bench.recipe


# 1 and 2: the outbox forgets what eight invented runs push out.


def test_without_privacy_invented_runs_do_not_make_a_site_forget_what_it_sent(bench_of):
    bench = bench_of("none")
    watch = Watch(bench)
    assert not watch.play(bench.order(attempt=1), stalls("confirm"))
    assert watch.vectors == 1
    for number in range(8):
        begin_invented(bench, number, 1)
    answer = bench.begin(VICTIM, bench.order(attempt=2))
    assert "error" in answer.config_records["config"], "a second vector of the round is on its way, without any noise"


def test_under_local_a_round_has_one_vector_whatever_else_is_ordered(bench_of, contributions):
    bench = bench_of("local")
    allow(bench, 100.0)
    watch = Watch(bench)
    assert not watch.play(bench.order(attempt=1), stalls("confirm"))
    first = contributions[0].values
    for number in range(8):
        begin_invented(bench, number, 1)
    contributions.clear()
    assert watch.play(bench.order(attempt=2))
    np.testing.assert_array_equal(contributions[0].values, first)
    assert sum(row.released is not None for row in charges(bench) if row.run == bench.order().run) == 1


# 3: two charges of one vector are marked released one after the other.


def test_a_vector_that_may_not_leave_spends_neither_of_its_charges(bench_of):
    bench = bench_of("local", training={"evaluate_every": 2})
    allow(bench, 8.01)
    _, requests = bench.play(bench.order(), until="mask")
    # Rounds of invented runs that do not evaluate: they push out the charge for training alone.
    for number in range(3):
        payload_of(begin_invented(bench, number, 2))
    refusal_of(bench.stage(VICTIM, "mask", requests[VICTIM]))
    spent = [row for part in ("train", "heldout") for row in charges(bench, part) if row.released is not None]
    assert spent == [], "epsilon is spent on held-out records, and no vector left"


def test_a_server_cannot_burn_the_held_out_budget_without_a_vector(bench_of):
    """The same again and again, each time with a run of its own: the next honest run is refused."""
    bench = bench_of("local", training={"evaluate_every": 2})
    allow(bench, 8.01)
    number = 1000
    for run in range(3):
        order = bench.order(run=f"{run + 1:032x}")
        for context in bench.contexts.values():
            context.state = RecordDict()
        try:
            _, requests = bench.play(order, until="mask")
        except KeyError:  # the victim has no budget left for its held-out records
            break
        for _ in range(3):
            number += 1
            begin_invented(bench, number, 2)
        refusal_of(bench.stage(VICTIM, "mask", requests[VICTIM]))
    content = RecordDict({"config": ConfigRecord({"run": b"f" * 32})})
    answer = bench.ask(VICTIM, "query.hello", content)
    assert "error" not in answer.config_records["config"], "no vector ever left, and no run is admitted any more"


# 4: what is kept does not say of which recipe it is.


def test_a_delta_of_one_recipe_is_not_sent_under_another(bench_of, contributions):
    bench = bench_of("local")
    bench.begin(VICTIM, bench.order())
    first = contributions[0].values
    text = (bench.directory(VICTIM) / "recipe.yaml").read_text()
    changed = yaml.safe_load(text)
    changed["training"]["learning_rate"] = 1e-4
    (bench.directory(VICTIM) / "recipe.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
    other = open_site(bench.directory(VICTIM)).recipe
    assert other.hash != bench.recipe.hash
    bench.recipe = other
    bench.contexts[VICTIM].state = RecordDict()
    answer = bench.begin(VICTIM, bench.order(attempt=2))
    if "error" in answer.config_records["config"]:
        return
    assert np.abs(contributions[1].values).max() <= 2e-4, "trained at another learning rate than the order's recipe"
    assert not np.array_equal(contributions[1].values, first)


# 5 and 6: what is kept names its charge by number alone.


def test_a_kept_delta_does_not_leave_under_a_charge_of_another_run(bench_of, tmp_path):
    """The ledger is lost and restored from its newest export, as the manual says; entry numbers are given out anew."""
    bench = bench_of("local")
    directory = bench.directory(VICTIM)
    content = RecordDict()
    assert "error" not in bench.ask(VICTIM, "query.hello", content).config_records["config"]  # begins the ledger
    export.export_ledger(directory / "ledger.sqlite", bench.site.identity, tmp_path / "export.jsonl")
    payload_of(bench.begin(VICTIM, bench.order()))  # held-out set 2, charge 3; training set 4, charge 5
    for file in [*directory.glob("ledger.sqlite*"), directory / "ledger.head"]:
        file.unlink(missing_ok=True)
    recovery.restore_ledger(tmp_path / "export.jsonl", directory / "ledger.sqlite", bench.site.identity)
    for number in range(2):  # entry 3 is the held-out set, entries 4 and 5 charge it
        payload_of(begin_invented(bench, number, 3, "evaluate"))
    for context in bench.contexts.values():
        context.state = RecordDict()
    _, requests = bench.play(bench.order(attempt=2), until="mask")
    left = bench.stage(VICTIM, "mask", requests[VICTIM])
    assert left.array_records
    assert sum(row.released is not None for row in charges(bench)) == 1, "training records left, none of them charged"


def test_an_outbox_of_another_site_does_not_leave(bench_of, contributions):
    bench = bench_of("local")
    bench.begin(VICTIM, bench.order())
    first = contributions[0].values
    bench.begin("site-1", bench.order(run="c" * 32))
    bench.contexts["site-1"].state = RecordDict()
    shutil.copytree(bench.directory(VICTIM) / "outbox", bench.directory("site-1") / "outbox", dirs_exist_ok=True)
    contributions.clear()
    bench.begin("site-1", bench.order(attempt=2))
    assert not np.array_equal(contributions[0].values, first), "another site's delta, under a charge of another run"


# 7: admission keeps nothing free.


def test_two_runs_are_not_both_admitted_where_one_fits(bench_of):
    bench = bench_of("local", rounds=2)
    allow(bench, 8.5)
    first, second = "1" * 32, "2" * 32
    states: dict[str, dict[str, RecordDict]] = {}
    requests: dict[str, dict[str, bytes]] = {}
    refused = []
    for run in (first, second):  # both are greeted and begin their first rounds, as two submissions at once do
        for context in bench.contexts.values():
            context.state = RecordDict()
        try:
            _, requests[run] = bench.play(bench.order(run=run), until="mask")
        except KeyError:
            refused.append(run)
            continue
        states[run] = {name: context.state for name, context in bench.contexts.items()}
    assert refused == []
    for run, of_sites in states.items():
        for name, state in of_sites.items():
            bench.contexts[name].state = state
        answer = bench.stage(VICTIM, "mask", requests[run][VICTIM])
        if run == second:
            assert "does not allow this whole run" in refusal_of(answer)
    assert {row.run for row in charges(bench) if row.released is not None} == {first}


def test_what_a_run_that_has_begun_may_yet_take_is_no_other_run_s(bench_of):
    """Two runs and a half fit. Two have begun, and a third is not admitted though there is room for a whole one now."""
    bench = bench_of("local", rounds=2)
    with Ledger(bench.directory(VICTIM) / "ledger.sqlite", bench.site.identity) as ledger:
        kind = (ledger, bench.site.policy, bench.recipe, 3, bench.site.data.train_set, bench.site.data.heldout_set)
        parts = admission(*kind).parts
    allow(bench, max(epsilon_pld([replace(each.event, steps=5 * each.rounds // 2)], each.delta) for each in parts))
    for run in ("1" * 32, "2" * 32):
        _, requests = bench.play(bench.order(run=run), until="mask")
        payload_of(bench.stage(VICTIM, "mask", requests[VICTIM]))
    assert "does not allow this whole run" in refusal_of(bench.begin(VICTIM, bench.order(run="3" * 32)))
    with Ledger(bench.directory(VICTIM) / "ledger.sqlite", bench.site.identity) as ledger:
        policy = open_site(bench.directory(VICTIM)).policy
        kind = (ledger, policy, bench.recipe, 3, bench.site.data.train_set, bench.site.data.heldout_set)
        refused = admission(*kind, "3" * 32)
        assert "beside what runs that have begun may yet take" in str(refused.refused)
        # A run that has been silent for long is over, and what it had planned is free.
        assert admission(*kind, "3" * 32, datetime.now(UTC) + timedelta(days=8)).parts[0].reserved == ()


# 8: a refused order fills the disk.


def test_a_run_that_the_site_left_for_good_orders_nothing_of_it_without_a_greeting(bench_of):
    bench = bench_of("local")
    order = bench.order()
    close_runs(bench.directory(VICTIM), [order.run])
    assert "takes no further part in it" in refusal_of(bench.begin(VICTIM, order))
    assert charges(bench) == charges(bench, "heldout") == []


def test_an_order_that_is_refused_leaves_nothing_on_the_disk(bench_of):
    bench = bench_of("local")
    allow(bench, 0.5)
    before = sum(file.stat().st_size for file in bench.directory(VICTIM).rglob("*") if file.is_file())
    for number in range(3):
        order, _ = invented(bench, number, 1)
        huge = bench.receipt(order).model_copy(update={"survivors": ("x" * 64,) * 1000}).signed_by(bench.server)
        second = RoundOrder.issue(
            "train",
            run=order.run,
            round_number=2,
            attempt=1,
            recipe=bench.recipe,
            roster=bench.roster,
            layout_digest=bench.layout.digest,
            adapter=bench.adapter,
            history=huge.hash,
        )
        former, bench.receipts = bench.receipts, [huge]
        refusal_of(bench.begin(VICTIM, second))
        bench.receipts = former
    after = sum(file.stat().st_size for file in bench.directory(VICTIM).rglob("*") if file.is_file())
    assert after - before < 100_000


# 9: a full disk under the head.


def test_a_head_that_cannot_be_written_stops_no_vector_that_is_paid_for(bench_of, monkeypatch):
    bench = bench_of("distributed")
    _, requests = bench.play(bench.order(), until="mask")

    def full(*arguments: Any) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "write_head", full)
        payload_of(bench.stage(VICTIM, "mask", requests[VICTIM]))
    assert len([row for row in charges(bench) if row.released is not None]) == 1
    with Ledger(bench.directory(VICTIM) / "ledger.sqlite", bench.site.identity) as ledger:
        ledger.verify()  # and the head has caught up


# 11: `sent` is overwritten by a round that began before it was set.


def test_without_privacy_rounds_at_the_same_time_send_one_vector(bench_of, monkeypatch):
    """A stock SuperNode answers two Flower runs at the same time."""
    bench = bench_of("none")
    watch = Watch(bench)
    _, first = bench.play(bench.order(attempt=1), until="mask")
    states = {name: context.state for name, context in bench.contexts.items()}
    for context in bench.contexts.values():
        context.state = RecordDict()
    sound = LocalTraining.train
    pending = [True]

    def meanwhile(*arguments: Any, **rest: Any) -> Any:
        if pending:
            pending.clear()
            own = bench.contexts[VICTIM].state
            bench.contexts[VICTIM].state = states[VICTIM]
            assert watch.ask(VICTIM, "mask", first[VICTIM]) is not None
            bench.contexts[VICTIM].state = own
        return sound(*arguments, **rest)

    monkeypatch.setattr(LocalTraining, "train", meanwhile)
    _, second = bench.play(bench.order(attempt=2), until="mask")
    watch.ask(VICTIM, "mask", second[VICTIM])
    assert watch.vectors == 1
