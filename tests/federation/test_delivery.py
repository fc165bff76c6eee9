"""When a run is over every site keeps its adapter, and keeps none that its receipts do not name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from flwr.app import ConfigRecord, Message, RecordDict
from keyed import COORDINATOR, KeyedGridInline, keyed_run

from sealora_client.delivery.kept_run import KeptRun, find_run
from sealora_client.delivery.take import Delivered, holding, take_delivery
from sealora_client.ledger import LEDGER
from sealora_client.ledger.recovery import write_off_known_runs
from sealora_client.round.history import Told
from sealora_client.site.directory import Site
from sealora_common.canonical import canonical_json
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import ModelError, PolicyError, StorageError
from sealora_common.identity import Identity
from sealora_common.privacy.plan import privacy_plan
from sealora_common.receipts.receipt import chain_from_bytes, chain_to_bytes
from sealora_common.recipe import load_recipe
from sealora_common.roster import Roster
from sealora_common.round.order import vector_digest
from sealora_server.app import serve
from sealora_server.delivery.final_adapter import FinalAdapter
from sealora_server.run.store import RunStore

from tiny_federation import PRIVATE, adapter_of, events_of

SITES = ("site-0", "site-1", "site-2")
WEIGHTS = "adapter_model.safetensors"


def refused(site: str, action: str, message: Message) -> Message | None:
    """No site says what it has: nothing is delivered."""
    if action != "query.held":
        return None
    return Message(RecordDict({"config": ConfigRecord({"error": "not now"})}), reply_to=message)


@pytest.fixture(scope="module")
def run(tiny_base, tmp_path_factory) -> Path:
    """A run that is over, and of whose sites none has its adapter yet."""
    directory = keyed_run(tmp_path_factory.mktemp("delivery"), tiny_base(), privacy=PRIVATE)
    serve(KeyedGridInline.over(directory, refused), directory)
    return directory


@pytest.fixture
def site(run, tmp_path) -> Site:
    """One of its sites, in a copy of its directory."""
    home = tmp_path / "site-1"
    shutil.copytree(run / "sites" / "site-1", home)
    return Site(home)


@pytest.fixture
def delivered(run) -> Delivered:
    """What an honest server delivers."""
    final = FinalAdapter(RunStore.open(run))
    conclusion = final.conclusion()
    return Delivered(conclusion, final.layout_bytes, final.vector(conclusion), Told())


def kept(site: Site, delivered: Delivered) -> KeptRun:
    return KeptRun(site.directory, delivered.conclusion.run)


def test_every_site_keeps_the_server_s_adapter_and_the_server_knows_it(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    grid = KeyedGridInline.over(copy)
    serve(grid, copy)
    assert {action for _, action in grid.asked} == {"query.held", "query.deliver"}
    store = RunStore.open(copy)
    for name in SITES:
        keeps = KeptRun(copy / "sites" / name, store.run_id)
        assert (keeps.adapter_directory / WEIGHTS).read_bytes() == (copy / "adapter" / WEIGHTS).read_bytes()
        assert keeps.recipe == store.recipe
        assert find_run(copy / "sites" / name, "tiny") == find_run(copy / "sites" / name, None) == keeps
        assert (keeps.adapter_directory / WEIGHTS).stat().st_mode & 0o077 == 0
    assert FinalAdapter(store).delivered == set(SITES)
    assert sorted(event.site for event in events_of(copy, "adapter_delivered")) == list(SITES)
    grid = KeyedGridInline.over(copy)
    serve(grid, copy)
    assert grid.asked == []  # nobody is asked again, and no round is held again


def test_a_site_that_was_away_is_given_it_later_with_the_receipts_that_it_lacks(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    receipts = copy / "sites" / "site-2" / "receipts" / f"{RunStore.open(run).run_id}.jsonl"
    receipts.write_bytes(chain_to_bytes(chain_from_bytes(receipts.read_bytes())[:1]))
    (receipts.with_name(receipts.stem + ".confirmed.jsonl")).unlink()

    def away(site, action, message):
        return refused(site, action, message) if site == "site-2" else None

    serve(KeyedGridInline.over(copy, away), copy)
    assert FinalAdapter(RunStore.open(copy)).delivered == {"site-0", "site-1"}
    grid = KeyedGridInline.over(copy)
    serve(grid, copy)
    assert grid.asked == [("site-2", "query.held"), ("site-2", "query.deliver")]
    assert receipts.read_bytes() == chain_to_bytes(RunStore.open(copy).receipts())
    assert find_run(copy / "sites" / "site-2", None).adapter().keys() == adapter_of(copy).keys()


def test_a_site_that_agreed_to_another_recipe_since_takes_the_one_it_took_part_in(site, delivered):
    recipe = yaml.safe_load((site.directory / "recipe.yaml").read_text()) | {"name": "the-next"}
    (site.directory / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    changed = Site(site.directory)
    assert changed.recipe.hash != delivered.conclusion.recipe_hash
    assert take_delivery(changed, delivered).adapter_digest == delivered.conclusion.adapter_digest
    assert kept(site, delivered).recipe == load_recipe(kept(site, delivered).directory / "recipe.yaml")
    shutil.rmtree(kept(site, delivered).directory)
    with pytest.raises(PolicyError, match=r"the adapter is of recipe .*, this site agreed to"):
        take_delivery(changed, delivered)


def test_a_roster_that_was_signed_anew_since_is_no_hindrance_if_the_run_s_own_is_kept(run, site, delivered):
    """As when the coordinator changed the roster after the last round, and a site that was away has it already."""
    old = Roster.load(site.directory / "roster.json")
    coordinator = Identity.load("coordinator", run / COORDINATOR)
    old.draft().signed(coordinator).save(site.directory / "roster.json")
    changed = Site(site.directory)
    assert changed.roster.sequence == 2
    kept_roster = site.directory / "receipts" / "rosters" / f"{old.hash.hex()}.json"
    aside = kept_roster.rename(site.directory / "aside")
    with pytest.raises(PolicyError, match=r"the roster of the last round .* is not in this site's receipts/rosters"):
        take_delivery(changed, delivered)
    aside.rename(kept_roster)
    assert take_delivery(changed, delivered).adapter_digest == delivered.conclusion.adapter_digest


def signed(home: Path, delivered: Delivered, **changes: object) -> Delivered:
    """A lie that the run's server has signed."""
    conclusion = delivered.conclusion.model_copy(update=changes).signed_by(RunStore.open(home).server_identity())
    return replace(delivered, conclusion=conclusion)


def earlier_round(run: Path, delivered: Delivered) -> Delivered:
    store = RunStore.open(run)
    return signed(run, delivered, kept_round=1, adapter_digest=store.receipt(1).adapter_digest)


def other_adapter(run: Path, delivered: Delivered) -> Delivered:
    vector = delivered.adapter + 1
    return replace(signed(run, delivered, adapter_digest=vector_digest(vector)), adapter=vector)


def not_signed(run: Path, delivered: Delivered) -> Delivered:
    stranger = Identity.create("server", SystemEntropy())
    return replace(delivered, conclusion=delivered.conclusion.signed_by(stranger))


def shorter_run(run: Path, delivered: Delivered) -> Delivered:
    first = RunStore.open(run).receipt(1)
    return signed(run, delivered, rounds=1, history=first.hash, kept_round=1, adapter_digest=first.adapter_digest)


def other_layout(run: Path, delivered: Delivered) -> Delivered:
    layout = json.loads(delivered.layout)
    layout[0][0] = "base_model.model.other.lora_A.weight"
    return replace(delivered, layout=canonical_json(layout))


LIES = {
    "an adapter of its own": (other_adapter, "the adapter is not the one that the receipt of round 2 names"),
    "one that it does not name": (
        lambda run, of: replace(of, adapter=of.adapter + 1),
        "the adapter that came is not the one that the receipt of round 2 names",
    ),
    "no numbers": (lambda run, of: replace(of, adapter=of.adapter * np.nan), "holds what is no number"),
    "too large": (
        lambda run, of: replace(of, adapter=np.concatenate([of.adapter, of.adapter])),
        "does not fit its layout",
    ),
    "an earlier round's": (earlier_round, "said to be that of round 1, and the recipe keeps another"),
    "a round that was not": (lambda run, of: signed(run, of, kept_round=7), "said to be that of round 7"),
    "signed by nobody": (not_signed, "is not signed by the roster's server"),
    "a shorter run": (shorter_run, "differ from this site's from round 2 on|ended after round 1"),
    "a longer run": (lambda run, of: signed(run, of, rounds=3), "does not follow from the receipts"),
    "another history": (lambda run, of: signed(run, of, history="0" * 64), "receipts differ from this site's"),
    "another run's": (lambda run, of: signed(run, of, run="0" * 32), "no receipts|does not follow"),
    "another recipe's": (
        lambda run, of: signed(run, of, recipe_hash="0" * 64),
        "the adapter is of recipe 000000000000",
    ),
    "less noise than there is": (
        lambda run, of: signed(run, of, heldout_noise=1e-9),
        "the noise of its held-out figures is not the one that the recipe gives",
    ),
    "figures without noise": (
        lambda run, of: signed(run, of, heldout_noise=None),
        "the noise of its held-out figures is not the one that the recipe gives",
    ),
    "another layout": (other_layout, "the adapter's layout is not the one of the run's orders"),
    "another layout, signed": (lambda run, of: signed(run, of, layout_digest="0" * 64), "layout is not the one of the"),
    "a layout that is none": (lambda run, of: replace(of, layout=b"[[1]]"), "the adapter's layout is malformed"),
    "receipts of its own": (
        lambda run, of: replace(of, told=Told((RunStore.open(run).receipt(1).model_copy(update={"survivors": ()}),))),
        "differ from this site's from round 1 on",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_with_a_sentence_and_leaves_nothing(run, site, delivered, lie):
    tell, said = LIES[lie]
    before = {path for path in site.directory.rglob("*") if path.is_file()}
    told = tell(run, delivered)
    with pytest.raises(PolicyError, match=said):
        take_delivery(site, told)
    assert {path for path in site.directory.rglob("*") if path.is_file()} == before
    assert holding(site, delivered.conclusion.run).adapter_digest is None
    assert take_delivery(site, delivered).adapter_digest == delivered.conclusion.adapter_digest


def test_receipts_that_come_with_the_adapter_find_out_a_ledger_that_was_put_back(run, site, delivered, caplog):
    """Otherwise a server ends a run early and goes on with it: its next order brings no receipt that tells of it."""
    store = RunStore.open(run)
    receipts = site.directory / "receipts" / f"{store.run_id}.jsonl"
    for path in (*site.directory.glob("ledger*"), *receipts.parent.glob(f"{store.run_id}.*")):
        path.unlink()
    brought = replace(delivered, told=Told(tuple(store.receipts())))
    with pytest.raises(PolicyError, match=r"vector of round 1 left, and its privacy ledger does not know of it"):
        take_delivery(site, brought)
    assert not receipts.exists()  # so that the run's next order finds it out, too
    assert "the privacy ledger does not know of round 1 of run" in caplog.text
    assert holding(site, store.run_id).adapter_digest is None


def test_receipts_that_were_there_before_the_ledger_was_put_back_find_it_out_as_the_adapter_comes(site, delivered):
    for path in site.directory.glob("ledger*"):
        path.unlink()
    with pytest.raises(PolicyError, match=r"vector of round 1 left, and its privacy ledger does not know of it"):
        take_delivery(site, delivered)


def test_once_the_rest_of_the_run_is_written_off_the_adapter_is_taken(site, delivered):
    run, recipe, data = delivered.conclusion.run, site.recipe, site.data
    for path in site.directory.glob("ledger*"):
        path.unlink()
    with site.ledger() as ledger:  # as it was after round 1
        for part, dataset in (("heldout", data.heldout_set), ("train", data.train_set)):
            planned = privacy_plan(recipe, len(site.roster)).charge(part)
            made = ledger.charge(
                dataset=dataset, run=run, round_number=1, event=planned.event, delta=recipe.privacy.delta,
                epsilon_limit=recipe.privacy.epsilon, planned=planned.times,
            )  # fmt: skip
            ledger.mark_released(made.id)
    with pytest.raises(PolicyError, match=r"vector of round 2 left, and its privacy ledger does not know of it"):
        take_delivery(site, delivered)
    assert write_off_known_runs(site.directory / LEDGER, site.identity) == [run]
    assert take_delivery(site, delivered).adapter_digest == delivered.conclusion.adapter_digest


def test_an_adapter_of_more_numbers_than_the_policy_allows_by_now_is_refused(site, delivered):
    policy = site.directory / "policy.yaml"
    policy.write_text(policy.read_text() + "most_parameters: 3\n")
    with pytest.raises(PolicyError, match="most_parameters is 3, but the recipe's adapter has"):
        take_delivery(Site(site.directory), delivered)
    assert holding(site, delivered.conclusion.run).adapter_digest is None


def test_a_second_end_of_one_run_is_two_faces(run, site, delivered):
    take_delivery(site, delivered)
    adapter = (kept(site, delivered).adapter_directory / WEIGHTS).read_bytes()
    with pytest.raises(PolicyError, match=r"two faces: this site was told before that run .* ended with another"):
        take_delivery(site, signed(run, delivered, heldout_loss_after=0.0))
    assert (kept(site, delivered).adapter_directory / WEIGHTS).read_bytes() == adapter


@pytest.mark.parametrize("name", ["../../../etc", "AB" * 16, "ab" * 15, "ab" * 16 + "/x", ""])
def test_a_run_that_is_no_name_touches_no_file(site, name):
    with pytest.raises(PolicyError, match="is no run"):
        holding(site, name)
    with pytest.raises(PolicyError, match="32 hexadecimal digits"):
        KeptRun(site.directory, name)


@pytest.mark.parametrize("moment", ["receipts", "adapter", "half"])
def test_a_site_that_dies_while_it_takes_it_is_whole_afterwards_and_takes_it_again(
    site, delivered, monkeypatch, moment
):
    keep = KeptRun.keep

    def dies(self, conclusion, tensors, recipe):
        if moment == "half":
            (self.directory / ".adapter.unfinished").mkdir(parents=True)
            (self.directory / ".adapter.unfinished" / WEIGHTS).write_bytes(b"half")
        elif moment == "adapter":
            keep(self, conclusion, tensors, recipe)
            (self.directory / "conclusion.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(KeptRun, "keep", dies)
        with pytest.raises(KeyboardInterrupt):
            take_delivery(site, delivered)
    assert holding(site, delivered.conclusion.run).adapter_digest is None
    with pytest.raises(PolicyError, match="this site has no adapter of the run yet"):
        kept(site, delivered).adapter()
    with pytest.raises(PolicyError, match="no run's adapter is here yet"):
        find_run(site.directory, None)
    assert take_delivery(site, delivered).adapter_digest == delivered.conclusion.adapter_digest
    assert sorted(path.name for path in kept(site, delivered).directory.iterdir()) == [
        "adapter",
        "conclusion.json",
        "recipe.yaml",
    ]


def test_an_adapter_that_was_changed_on_the_disk_is_not_used_and_comes_again(run, site, delivered):
    take_delivery(site, delivered)
    weights = kept(site, delivered).adapter_directory / WEIGHTS
    shutil.copy(run / "rounds" / "0001" / "adapter" / WEIGHTS, weights)
    with pytest.raises(ModelError, match="is not the adapter that the run ended with"):
        kept(site, delivered).adapter()
    assert holding(site, delivered.conclusion.run).adapter_digest is None
    assert take_delivery(site, delivered).adapter_digest == delivered.conclusion.adapter_digest
    assert weights.read_bytes() == (run / "adapter" / WEIGHTS).read_bytes()


def test_a_server_does_not_deliver_what_was_changed_on_its_disk(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    shutil.copy(run / "rounds" / "0001" / "adapter" / WEIGHTS, copy / "adapter" / WEIGHTS)
    final = FinalAdapter(RunStore.open(copy))
    with pytest.raises(StorageError, match="is not the adapter that the run ended with"):
        final.vector(final.conclusion())
    grid = KeyedGridInline.over(copy)
    serve(grid, copy)  # which is no reason to fail the run
    assert grid.asked == []


def test_sites_are_told_noisy_figures_and_none_without_noise(run, delivered, tiny_base, tmp_path):
    assert delivered.conclusion.heldout_noise > 0
    assert delivered.conclusion.heldout_loss_after == RunStore.open(run).result.heldout_loss_after
    open_run = keyed_run(tmp_path, tiny_base(), rounds=1)
    serve(KeyedGridInline.over(open_run), open_run)
    told = FinalAdapter(RunStore.open(open_run)).conclusion()
    assert (told.heldout_loss_before, told.heldout_loss_after, told.heldout_noise) == (None, None, None)


@pytest.mark.slow
def test_where_the_recipe_keeps_the_best_it_may_be_another_round_s_adapter_and_the_run_may_stop_early(
    tiny_base, tmp_path
):
    server = {"early_stopping": {"patience": 1, "min_delta": 100.0}, "keep": "best"}  # never good enough
    best = keyed_run(tmp_path, tiny_base(), rounds=5, server=server)
    serve(KeyedGridInline.over(best), best)
    conclusion = FinalAdapter(RunStore.open(best)).conclusion()
    assert (conclusion.kept_round, conclusion.rounds) == (0, 2)
    for name in SITES:
        keeps = find_run(best / "sites" / name, None)
        assert keeps.conclusion.kept_round == 0
        assert keeps.adapter().keys() == adapter_of(best).keys()
