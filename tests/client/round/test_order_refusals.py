"""Orders that a site refuses for when they come or what issued them, asked through its ClientApp."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import yaml
from flwr.app import ConfigRecord, RecordDict

from sealora_client.round import order_check, participation
from sealora_client.round.order_check import check_order
from sealora_client.site.directory import Site
from sealora_client.site.policy import SitePolicy
from sealora_common import __version__
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import OrderRefusedError
from sealora_common.identity import Identity
from sealora_common.round.order import RoundOrder

from lora_kinds import lora
from pure_sites import LAYOUT, pure_recipe
from quorum import Consortium
from site_bench import Bench, payload_of, refusal_of
from tiny_federation import PRIVATE


@pytest.fixture
def bench(tiny_base: Callable[..., Path], tmp_path: Path) -> Bench:
    return Bench(tmp_path, tiny_base(), privacy=PRIVATE)


def decide(bench: Bench, **lines: object) -> None:
    path = bench.directory() / "policy.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | lines))


def at(hour: int) -> type[datetime]:
    """A clock that stands at the full hour (UTC)."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(2027, 1, 15, hour, tzinfo=UTC)

    return Clock


@pytest.mark.parametrize("purpose", ["train", "evaluate"])
def test_an_order_outside_the_policy_s_hours_is_refused_by_the_line_and_costs_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, purpose: str
) -> None:
    decide(bench, hours=["20:00-06:00"])
    monkeypatch.setattr(order_check, "datetime", at(13))
    refused = refusal_of(bench.begin("site-0", bench.order(purpose), action=purpose))
    assert refused == (
        "policy.yaml: hours are 20:00-06:00 (UTC), but it is 13:00 there: the order is refused until 20:00"
    )
    with bench.site.ledger() as ledger:
        assert ledger.charges() == []


def test_an_order_for_a_larger_adapter_than_the_policy_s_is_refused_and_so_is_the_greeting(bench: Bench) -> None:
    size = adapter_kind(bench.recipe).shared(bench.layout).size
    decide(bench, most_parameters=size - 1)
    said = (
        f"policy.yaml: most_parameters is {size - 1}, but the recipe's adapter has {size} on this base model: the "
        "order is refused"
    )
    assert refusal_of(bench.begin("site-0", bench.order())) == said
    hello = RecordDict({"config": ConfigRecord({})})
    assert refusal_of(bench.ask("site-0", "query.hello", hello)) == said
    decide(bench, most_parameters=size)
    assert payload_of(bench.ask("site-0", "query.hello", hello))


def test_an_order_within_the_hours_is_taken_and_its_round_goes_on_after_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(bench, hours=["20:00-06:00"])
    monkeypatch.setattr(order_check, "datetime", at(5))
    order = bench.order()
    session = bench.session(order)
    for name in bench.roster.names:
        session.add_advertisement(payload_of(bench.begin(name, order)))
    monkeypatch.setattr(order_check, "datetime", at(7))
    request = session.close_advertisements()[bench.roster.index("site-0")]
    assert payload_of(bench.stage("site-0", "share", request))


def test_an_order_of_another_release_is_refused_by_both_versions(bench: Bench) -> None:
    refused = refusal_of(bench.begin("site-0", bench.order(release="0.0.1")))
    assert refused == (f"the order is of Sealora 0.0.1, this site runs {__version__}: install the same version at both")


UNSIGNED = "the order is not signed by the server that this site's roster names: it was refused"


@pytest.mark.parametrize("case", ["unsigned", "by another key", "by a member", "of another order", "altered after"])
def test_an_order_that_the_server_did_not_sign_is_refused_before_anything_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Not even that the order is good or bad is looked at."""
    monkeypatch.setattr(participation, "check_order", lambda *arguments: pytest.fail("looked into"))
    order = bench.order()
    signature = {
        "unsigned": b"",
        "by another key": order.signed_by(Identity.create("x", SystemEntropy())),
        "by a member": order.signed_by(bench.site.identity),
        "of another order": bench.order(attempt=2).signed_by(bench.server),
        "altered after": order.signed_by(bench.server),
    }[case]
    sent = order.model_copy(update={"attempt": 3}) if case == "altered after" else order
    content = bench.content(sent, bench.adapter, **{"order-signature": signature})
    assert UNSIGNED in refusal_of(bench.ask("site-0", "train", content))
    assert UNSIGNED in refusal_of(bench.ask("site-0", "evaluate", content))
    with bench.site.ledger() as ledger:
        assert ledger.charges() == []


def test_an_order_without_the_field_of_its_signature_is_refused_as_unsigned(bench: Bench) -> None:
    content = bench.content(bench.order(), bench.adapter)
    del content.config_records["config"]["order-signature"]
    assert UNSIGNED in refusal_of(bench.ask("site-0", "train", content))


def test_what_is_not_signed_is_not_even_parsed(bench: Bench) -> None:
    content = bench.content(b"nonsense", bench.adapter, **{"order-signature": b""})
    assert UNSIGNED in refusal_of(bench.ask("site-0", "train", content))
    assert "malformed" in refusal_of(bench.begin("site-0", b"nonsense"))


LOCAL = {"mechanism": "local", "epsilon": 8.0, "delta": 1e-5}


def show(
    *,
    own: int = 1,
    fewest: int = 3,
    mechanism: str = "local",
    at: datetime | None = None,
    patience: int | None = None,
    **changes: Any,
) -> None:
    """Shows a site among twelve, whose sums may be opened from three on, a good order of round 1, or a changed one."""
    recipe = pure_recipe(
        privacy=LOCAL,
        sealing={"groups": own, "min_survivors": 3},
        sites={"minimum": 12},
        server={"early_stopping": None if patience is None else {"patience": patience}},
    )
    recipe = recipe.model_copy(update={"privacy": recipe.privacy.model_copy(update={"mechanism": mechanism})})
    home = Consortium(12)
    policy = SitePolicy(epsilon_limit=8, delta_limit=1e-5, minimum_sites=fewest)
    site = cast(Site, SimpleNamespace(recipe=recipe, roster=home.roster, policy=policy))
    initial = adapter_kind(recipe).shared(LAYOUT).flatten(adapter_kind(recipe).initial(LAYOUT))
    adapter = changes.pop("adapter", initial)
    order = RoundOrder.issue(
        "train",
        run="ab" * 16,
        round_number=1,
        attempt=1,
        recipe=recipe,
        roster=home.roster,
        layout_digest=LAYOUT.digest,
        adapter=adapter,
    )
    check_order(site, order.model_copy(update=changes), adapter, LAYOUT, at)


@pytest.mark.parametrize(
    "case",
    [{"groups": 1}, {"groups": 2}, {"groups": 4}, {"groups": 3, "fewest": 4}, {"groups": 3, "own": 3}],
    ids=str,
)
def test_an_order_may_deal_the_sites_into_groups_where_each_vector_carries_its_own_promise(case: Any) -> None:
    show(**case)


@pytest.mark.parametrize(
    "case",
    [
        {"groups": 5},  # of two
        {"groups": 12},
        {"groups": 4, "fewest": 4},
        {"groups": 4, "mechanism": "none"},
        {"groups": 4, "mechanism": "distributed"},
        {"groups": 4, "own": 3},
        {"groups": 1, "own": 3},
    ],
    ids=str,
)
def test_no_order_makes_the_groups_smaller_than_recipe_and_policy_allow(case: Any) -> None:
    """The sum of a group is read by itself, so this is what keeps a server from reading one site's."""
    with pytest.raises(OrderRefusedError, match=f"deals the 12 sites into {case['groups']} groups, which neither"):
        show(**case)


@pytest.mark.parametrize("seconds", [-1, 60])
def test_an_order_is_taken_until_the_roster_s_term_is_over_though_the_site_was_opened_before(seconds: int) -> None:
    at = datetime.strptime(str(Consortium(12).roster.expires), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    at += timedelta(seconds=seconds)
    if seconds < 0:
        show(at=at)
        return
    with pytest.raises(OrderRefusedError, match=r"roster.json expired .*: the order is refused until the coordinator"):
        show(at=at)


def test_as_many_attempts_are_taken_as_may_show_somebody_s_fault_and_no_more() -> None:
    show(attempt=15)
    with pytest.raises(OrderRefusedError, match=r"attempt 16 of a round, .* no more than 15"):
        show(attempt=16)


def test_the_recipe_s_last_round_is_trained_and_no_later_one() -> None:
    show(round_number=3)
    with pytest.raises(OrderRefusedError, match="the order is for round 4 of a recipe of 3 rounds"):
        show(round_number=4)


def test_a_run_may_be_ended_early_where_the_recipe_says_so_and_not_before_its_patience_is_over() -> None:
    for number in (3, 4):
        show(patience=1, purpose="evaluate", round_number=number)
    for number in (1, 2, 5):
        with pytest.raises(OrderRefusedError, match=r"once, after the last or where server.early_stopping may end it"):
            show(patience=1, purpose="evaluate", round_number=number)
    with pytest.raises(OrderRefusedError, match="to evaluate in round 3, but a run of 3 rounds evaluates by itself"):
        show(purpose="evaluate", round_number=3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"release": "0.0.1"}, "the order is of Sealora 0.0.1"),
        ({"recipe_hash": "0" * 64}, "the order is for recipe 000000000000"),
        ({"roster_hash": "0" * 64}, "another roster than this site's"),
        ({"roster_sequence": 2}, "another roster than this site's"),
        ({"layout_digest": "0" * 64}, "another base model or adapter"),
        ({"purpose": "evaluate"}, "to evaluate in round 1, but a run of 3 rounds"),
        ({"purpose": "evaluate", "round_number": 5}, "to evaluate in round 5, but a run of 3 rounds"),
        ({"adapter": np.zeros(3, dtype=np.float32)}, "the order's adapter has 3 parameters"),
        ({"adapter_digest": "0" * 64}, "the first round's adapter is not the one"),
        ({"clip_range": 5.0}, "the order's range 5 is none"),
        ({"clip_norm": 1e3}, "the order's clipping norm 1000 is not the recipe's"),
        ({"adapter_digest": "0" * 64, "round_number": 2}, "the order's adapter is damaged"),
    ],
    ids=str,
)
def test_whatever_the_site_did_not_agree_to_is_refused_by_what_it_is(changes: Any, said: str) -> None:
    with pytest.raises(OrderRefusedError, match=said):
        show(**changes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_adapter_that_is_no_number_is_refused_in_a_later_round_though_it_is_the_order_s(value: float) -> None:
    shared = lora().shared(LAYOUT)
    with pytest.raises(OrderRefusedError, match="the order's adapter is damaged"):
        show(round_number=2, adapter=np.full(shared.size, value, dtype=np.float32))
