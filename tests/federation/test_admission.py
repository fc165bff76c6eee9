"""A site that refuses the whole run when it is greeted: the others go on without it, or nobody is charged anything."""

from __future__ import annotations

import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from sealora_client.ledger import Ledger
from sealora_common.errors import FederationError
from sealora_common.round.wire_format import CONFIG, ERROR, RUN, field
from sealora_server.run.store import RunStore

from tiny_federation import PRIVATE, WatchedGrid, events_of, run_inline, write_federation

SITES = tuple(f"site-{index}" for index in range(4))
BUDGET = "the site's privacy budget does not allow this whole run; `sealora-site budget` at the site says why"


def refusing_grid(*refusing):
    """An inline grid whose sites `refusing` say no when they are greeted; the others are the real ones."""

    class Grid(WatchedGrid):
        delivered: list[tuple[str, str]] = []  # noqa: RUF012 - of the class, which the engine makes an object of
        greeted: list[bytes | str | int | None] = []  # noqa: RUF012

        def exchange(self, site, action, message):
            self.delivered.append((site, action))
            if action == "query.hello":
                self.greeted.append(field(message.content, RUN))
                if site in refusing:
                    return Message(RecordDict({CONFIG: ConfigRecord({ERROR: BUDGET})}), reply_to=message)
            return super().exchange(site, action, message)

    return Grid


@pytest.fixture
def federation(tiny_base, tmp_path):
    sections = {"sealing": {"adversary": "curious"}, "privacy": PRIVATE}  # of four sites, three must answer
    return write_federation(tmp_path, tiny_base(), count=4, rounds=1, **sections), tmp_path / "run"


def charges(run, site):
    with Ledger(run / "sites" / site / "ledger.sqlite") as ledger:
        return ledger.charges()


def test_a_run_goes_on_without_a_site_that_refuses_it_and_charges_that_site_nothing(federation):
    recipe, run = federation
    grid = refusing_grid("site-1")
    run_inline(recipe, run, grid=grid)
    (ready,) = events_of(run, "sites_ready")
    assert ready.sites == ("site-0", "site-2", "site-3")
    assert [away.reason for away in ready.turned_away] == [BUDGET]
    (finished,) = events_of(run, "round_finished")
    assert finished.survivors == ready.sites
    assert events_of(run, "round_aborted") == []
    assert {action for site, action in grid.delivered if site == "site-1"} == {"query.hello"}
    assert {site: bool(charges(run, site)) for site in SITES} == {site: site != "site-1" for site in SITES}
    assert set(grid.greeted) == {RunStore.open(run).run_id.encode()}


def test_where_the_others_do_not_suffice_no_round_is_begun_and_no_site_is_charged_anything(federation):
    recipe, run = federation
    grid = refusing_grid("site-1", "site-2")
    with pytest.raises(FederationError, match="2 of at least 3 sites are ready") as caught:
        run_inline(recipe, run, grid=grid)
    assert str(caught.value).count(BUDGET) == 2
    assert {action for _, action in grid.delivered} == {"query.hello"}
    assert {site: charges(run, site) for site in SITES} == {site: [] for site in SITES}
    assert [event.event for event in events_of(run)] == ["run_started", "too_few_sites"]
