"""Orders that a site refuses for when they come or what issued them, asked through its ClientApp."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from sealora_client import order_check
from sealora_common import __version__
from sealora_common.errors import OrderRefusedError

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
        assert ledger.history() == []


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


@pytest.mark.parametrize("purpose", ["train", "evaluate"])
def test_an_order_after_the_roster_s_term_is_refused_though_the_site_was_opened_before(
    bench: Bench, purpose: str
) -> None:
    site, order = bench.site, bench.order(purpose)
    ends = datetime.fromisoformat(str(site.roster.expires))
    with pytest.raises(OrderRefusedError, match=r"this site's roster.json expired .*: the order is refused until"):
        order_check.check_order(site, order, bench.adapter, site.model().layout, at=ends)
    if purpose == "train":
        order_check.check_order(site, order, bench.adapter, site.model().layout, at=ends - timedelta(seconds=1))
