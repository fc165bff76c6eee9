"""A site's part in a round: what it pays when, what it puts into the sum, what it notes for itself."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from flwr.app import RecordDict

from sealora_client.ledger import Ledger
from sealora_client.round.history import History, Told
from sealora_client.round.outbox import Outbox
from sealora_client.round.participation import Participation, RoundState
from sealora_client.training.clipped_groups import ClippingFigures
from sealora_client.training.local import LocalTraining
from sealora_client.training.round_training import TrainedRound
from sealora_common.errors import BudgetError, ModelError, StorageError
from sealora_common.round.contribution import ContributionLayout
from sealora_common.round.order import layout_of, terms_of
from sealora_common.secagg import ProtocolError
from sealora_common.secagg.bodies import Survivors
from sealora_common.secagg.messages import Kind, bundle, open_signed

from lora_kinds import lora
from site_bench import Bench, payload_of, refusal_of
from tiny_federation import PRIVATE


@pytest.fixture
def bench(tiny_base, tmp_path) -> Bench:
    return Bench(tmp_path, tiny_base(), rounds=2, privacy=PRIVATE)


def charges(bench, name="site-0"):
    """The ledger's charges: which records, of which run and round, released or not."""
    parts = {bench.site.data.train_set.fingerprint: "train", bench.site.data.heldout_set.fingerprint: "held out"}
    with Ledger(bench.directory(name) / "ledger.sqlite") as ledger:
        return [
            (parts[row.dataset], row.run[:2], row.round_number, row.released is not None) for row in ledger.charges()
        ]


def history(bench, name="site-0"):
    return [json.loads(line) for line in (bench.directory(name) / "history.jsonl").read_text().splitlines()]


def test_the_round_is_paid_for_before_there_is_a_gradient(bench, monkeypatch):
    seen = []

    def spied(*arguments, **rest):
        seen.append(charges(bench))
        raise ModelError("stop here")

    monkeypatch.setattr(LocalTraining, "train", spied)
    with pytest.raises(ModelError):
        Participation.begin(bench.site, bench.order(), bench.adapter, Told())
    assert seen == [[("held out", "ab", 1, False), ("train", "ab", 1, False)]]


def test_a_round_that_never_left_is_trained_again_for_nothing(bench):
    for attempt in (1, 2, 3):
        Participation.begin(bench.site, bench.order(attempt=attempt), bench.adapter, Told())
    assert charges(bench) == [("held out", "ab", 1, False), ("train", "ab", 1, False)]


def test_what_its_charges_do_not_pay_for_any_more_is_done_and_paid_for_anew(bench):
    """Somebody settled the round's charges at the site: what was kept under them may not leave."""
    first, _ = Participation.begin(bench.site, bench.order(), bench.adapter, Told())
    with bench.site.ledger() as ledger:
        for release in first.state.releases:
            ledger.settle(release.charge.id)
    second, _ = Participation.begin(bench.site, bench.order(attempt=2), bench.adapter, Told())
    assert len(charges(bench)) == 4
    assert len(second.state.releases) == 2
    for mine, theirs in zip(second.state.releases, first.state.releases, strict=True):
        assert mine.charge.id > theirs.charge.id
        assert mine.content != theirs.content


@pytest.mark.parametrize("request_", [b"", b"\x00", b"\xff" * 40, bytes(5000)])
def test_a_request_that_gets_no_vector_spends_nothing(bench, request_):
    """One byte, twice: the charge stays open, and pays for the round when it is asked for as it should be."""
    for attempt in (1, 2):
        bench.play(bench.order(attempt=attempt), until="mask")
        refusal_of(bench.stage("site-0", "mask", request_))
        refusal_of(bench.stage("site-0", "mask", request_))
    assert charges(bench) == [("held out", "ab", 1, False), ("train", "ab", 1, False)]
    bench.play(bench.order(attempt=3))
    assert charges(bench) == [("held out", "ab", 1, True), ("train", "ab", 1, True)]


def test_the_charge_is_released_on_the_disk_before_the_vector_leaves(bench, monkeypatch):
    _, requests = bench.play(bench.order(), until="mask")

    def full(*arguments):
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "release", full)
        refusal_of(bench.stage("site-0", "mask", requests["site-0"]))
    assert charges(bench) == [("held out", "ab", 1, False), ("train", "ab", 1, False)]
    _, requests = bench.play(bench.order(attempt=2), until="mask")
    assert payload_of(bench.stage("site-0", "mask", requests["site-0"]))
    assert charges(bench) == [("held out", "ab", 1, True), ("train", "ab", 1, True)]


def test_that_a_vector_leaves_is_on_the_disk_before_it_does(bench, monkeypatch):
    """Or a site that was killed then would not know, and a second vector of the round could leave."""
    _, requests = bench.play(bench.order(), until="mask")

    def full(*arguments):
        raise StorageError("the disk is full")

    monkeypatch.setattr(Outbox, "mark_sent", full)
    refusal_of(bench.stage("site-0", "mask", requests["site-0"]))


def test_what_a_site_confirms_is_on_its_disk_before_it_leaves(bench, monkeypatch):
    """Or receipts could tell a site that was killed then of other survivors than it helped to open."""
    order = bench.order()
    session, requests = bench.play(order, until="confirm")

    def full(*arguments):
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(History, "confirm", full)
        refusal_of(bench.stage("site-0", "confirm", requests["site-0"]))
    session.add_confirmation(payload_of(bench.stage("site-1", "confirm", requests["site-1"])))
    files = [bench.directory(name) / "receipts" / f"{order.run}.confirmed.jsonl" for name in ("site-0", "site-1")]
    assert not files[0].exists()
    (noted,) = [json.loads(line) for line in files[1].read_text().splitlines()]
    assert (noted["order_digest"], noted["survivors"]) == (order.digest.hex(), list(bench.roster.names))
    terms = terms_of(order, bench.recipe, bench.roster, layout_of(order, bench.recipe, bench.roster, bench.layout))
    _, body = open_signed(session._confirmed[1], Kind.CONFIRM, terms, bench.roster)
    assert noted["transcript"] == Survivors.from_bytes(body).transcript.hex()


def test_a_released_charge_releases_no_other_vector(bench):
    order = bench.order()
    _, requests = bench.play(order, until="mask")
    bench.stage("site-0", "mask", requests["site-0"])
    with Ledger(bench.directory() / "ledger.sqlite", bench.site.identity) as ledger:
        for row in ledger.charges():
            with pytest.raises(BudgetError, match="released already"):
                ledger.mark_released(row.id, "ab" * 32)


def test_the_noise_is_that_of_all_the_recipe_s_rounds(bench, monkeypatch):
    from sealora_common.privacy.accounting import calibrate_noise

    seen = {}

    def spied(self, model, examples, **rest):
        seen.update(rest)
        raise ModelError("stop here")

    monkeypatch.setattr(LocalTraining, "train", spied)
    with pytest.raises(ModelError):
        Participation.begin(bench.site, bench.order(), bench.adapter, Told())
    expected = calibrate_noise(PRIVATE["epsilon"], PRIVATE["delta"], bench.recipe.training.sample_rate, steps=2)
    assert seen["leave"].event.noise_multiplier == expected
    assert seen["round_number"] == 1


def test_the_site_trains_from_the_order_s_adapter_whatever_the_model_held(bench, monkeypatch):
    bench.play(bench.order(), step=0.25)
    model = bench.site.model()
    model.write({name: np.full_like(value, 9.0) for name, value in model.read(model.layout.names).items()})
    seen = {}

    def spied(self, model, examples, **rest):
        seen.update(model.read(model.layout.names))
        raise ModelError("stop here")

    monkeypatch.setattr(LocalTraining, "train", spied)
    with pytest.raises(ModelError):
        Participation.begin(bench.site, bench.order(round_number=2), bench.adapter, Told(tuple(bench.receipts)))
    np.testing.assert_array_equal(lora().shared(bench.layout).flatten(seen), bench.adapter)
    assert bench.adapter.max() == np.float32(0.25)
    assert max(np.abs(value).max() for name, value in seen.items() if "lora_A" in name) < 1  # the recipe's own A


def test_what_goes_into_the_sum_is_the_weighted_delta_the_weight_and_the_loss(bench, monkeypatch):
    seen = []
    encode = ContributionLayout.encode

    def spied(self, contribution, entropy):
        seen.append(contribution)
        return encode(self, contribution, entropy)

    monkeypatch.setattr(ContributionLayout, "encode", spied)
    part, _ = Participation.begin(bench.site, bench.order(), bench.adapter, Told())
    (contribution,) = seen
    assert contribution.values.shape == (lora().shared(bench.layout).size,)
    assert contribution.values.any()
    assert contribution.weight == 0.1  # 24 records of a cap of 10,000: the floor
    assert contribution.heldout_loss != part.state.figures.heldout_loss  # what leaves is noisy, what stays exact


def test_a_round_that_does_not_evaluate_pays_for_no_evaluation(tiny_base, tmp_path):
    bench = Bench(tmp_path, tiny_base(), rounds=3, privacy=PRIVATE, training={"evaluate_every": 2})
    bench.play(bench.order(round_number=1))
    bench.play(bench.order(round_number=2))
    bench.play(bench.order(round_number=3))
    assert [(part, number) for part, _, number, _ in charges(bench)] == [
        ("held out", 1),
        ("train", 1),
        ("train", 2),
        ("held out", 3),
        ("train", 3),
    ]
    assert ["heldout_loss" in line for line in history(bench)] == [True, False, True]


def test_evaluations_as_if_the_run_ended_early_cost_no_more_than_the_recipe_promises(tiny_base, tmp_path):
    """A server that says so and goes on has more evaluations than planned: what is beyond the promise is refused."""
    bench = Bench(
        tmp_path,
        tiny_base(),
        rounds=4,
        privacy=PRIVATE,
        training={"evaluate_every": 2},
        server={"early_stopping": {"patience": 1}},
    )
    asked = [("train", 1), ("train", 2), ("train", 3), ("evaluate", 4), ("train", 4)]
    for purpose, number in asked:
        bench.play(bench.order(purpose, round_number=number))
    assert bench.recipe.accounted_evaluations == 3
    assert [number for part, _, number, _ in charges(bench) if part == "held out"] == [1, 3, 4]
    said = refusal_of(bench.begin("site-0", bench.order("evaluate", round_number=5), action="evaluate"))
    assert "privacy budget" in said
    with Ledger(bench.directory() / "ledger.sqlite") as ledger:
        assert ledger.spent(bench.site.data.heldout_set, PRIVATE["delta"]) <= PRIVATE["epsilon"]


def test_a_held_out_record_is_protected_as_a_training_record_is(tiny_base, tmp_path):
    """All evaluations that the recipe asks for fit the recipe's epsilon, and one more does not."""
    bench = Bench(tmp_path, tiny_base(), rounds=2, privacy=PRIVATE)
    bench.play(bench.order(round_number=1))
    bench.play(bench.order(round_number=2))
    bench.play(bench.order("evaluate", round_number=3))
    with Ledger(bench.directory() / "ledger.sqlite") as ledger:
        spent = ledger.spent(bench.site.data.heldout_set, PRIVATE["delta"])
    assert 0.9 * PRIVATE["epsilon"] < spent <= PRIVATE["epsilon"]
    again = bench.order("evaluate", round_number=3, attempt=2)
    assert payload_of(bench.begin("site-0", again, action="evaluate"))  # the same loss, which is paid for
    shutil.rmtree(bench.directory() / "outbox")
    said = refusal_of(bench.begin("site-0", again, action="evaluate"))
    assert "this site has sent what it had for round 3, and does not have it any more to send it again" in said


def test_an_order_with_another_clipping_norm_is_refused(bench):
    assert "clipping norm 0.5 is not the recipe's" in refusal_of(bench.begin("site-0", bench.order(clip_norm=0.5)))


def test_an_evaluation_sends_no_delta(bench, monkeypatch):
    seen = []
    encode = ContributionLayout.encode

    def spied(self, contribution, entropy):
        seen.append((self.parameters, contribution.values.size))
        return encode(self, contribution, entropy)

    monkeypatch.setattr(ContributionLayout, "encode", spied)
    for round_number in (1, 2):
        bench.play(bench.order(round_number=round_number))
    seen.clear()
    Participation.begin(bench.site, bench.order("evaluate", round_number=3), bench.adapter, Told(tuple(bench.receipts)))
    assert seen == [(0, 0)]


def test_a_finished_round_is_noted_at_the_site_alone(bench):
    bench.play(bench.order())
    (line,) = history(bench)
    assert (line["round"], line["kind"], line["records"], line["heldout_records"]) == (1, "train", 24, 4)
    assert 0 < line["epsilon"] < PRIVATE["epsilon"]
    assert line["bytes_up"] > 0
    assert line["bytes_down"] > bench.adapter.nbytes
    assert set(line) >= {"heldout_loss", "truncated", "delta", "seconds", "fraction_clipped", "median_norm"}


def test_epsilon_grows_to_what_was_agreed_and_no_further(bench):
    bench.play(bench.order(round_number=1))
    bench.play(bench.order(round_number=2))
    bench.play(bench.order("evaluate", round_number=3))
    spent = [line["epsilon"] for line in history(bench)]
    assert spent[0] < spent[1] == spent[2] <= PRIVATE["epsilon"] + 1e-9


def test_without_a_mechanism_there_is_no_bound_and_none_is_claimed(tiny_base, tmp_path):
    bench = Bench(tmp_path, tiny_base(), rounds=1)
    bench.play(bench.order())
    bench.play(bench.order("evaluate", round_number=2))
    assert [line["epsilon"] for line in history(bench)] == [None, None]


def test_a_site_says_loudly_that_its_adapter_did_not_move(bench, monkeypatch, caplog):
    size = lora().shared(bench.layout).size
    still = TrainedRound(
        values=np.zeros(size, dtype=np.float32), unclipped=None, moved=False, figures=ClippingFigures([])
    )
    monkeypatch.setattr(LocalTraining, "train", lambda *arguments, **rest: still)
    bench.play(bench.order())
    assert "site site-0, round 1: the adapter's weights did not move" in caplog.text
    assert history(bench)[0]["moved"] is False
    assert history(bench)[0]["median_norm"] is None  # and the file stays JSON


def test_a_site_opens_nothing_for_survivors_that_leave_it_out(bench):
    session, requests = bench.play(bench.order(), until="mask")
    for name in ("site-1", "site-2"):
        session.add_masked(payload_of(bench.stage(name, "mask", requests[name])))
    bench.stage("site-0", "mask", requests["site-0"])  # it answers, and the server pretends that it did not
    without = bundle([signed for _, signed in sorted(session._masked.items())])
    assert "opens nothing" in refusal_of(bench.stage("site-0", "confirm", without))


def test_a_site_s_state_names_no_secret_when_it_is_shown(bench):
    part, _ = Participation.begin(bench.site, bench.order(), bench.adapter, Told())
    session = part._session()
    assert "private" not in repr(session)
    assert len(repr(session)) < 100


def test_a_contribution_of_the_wrong_shape_is_never_masked(bench):
    _, requests = bench.play(bench.order(), until="mask")
    kept = bench.contexts["site-0"].state.config_records["sealora"]
    state = RoundState.model_validate_json(kept["round"])
    part = Participation(bench.site, state, kept["encoded"][:-1])
    with pytest.raises(ProtocolError, match="wrong length"):
        part.mask(requests["site-0"])


def test_the_sites_of_one_process_share_one_model(bench):
    from sealora_client.site.directory import open_site

    models = {id(open_site(bench.directory(name)).model()) for name in bench.roster.names}
    assert len(models) == 1


def test_an_answer_carries_the_same_keys_whoever_asks(bench):
    assert set(bench.begin("site-0", bench.order()).config_records["config"]) == {"payload"}
    assert isinstance(bench.ask("site-0", "query.hello", RecordDict()), RecordDict)
    assert payload_of(bench.begin("site-0", bench.order())) != payload_of(bench.begin("site-0", bench.order()))
