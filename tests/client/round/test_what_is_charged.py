"""A round's charges say under which limits they were made, the site's and the recipe's, and how many there may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sealora_client.round.history import Told
from sealora_client.round.participation import Participation

from ledger_runs import bodies
from site_bench import Bench
from tiny_federation import PRIVATE


def test_what_is_charged_stands_in_the_ledger_with_its_limits(tiny_base: Callable[..., Path], tmp_path: Path) -> None:
    bench = Bench(tmp_path, tiny_base(), rounds=2, privacy=PRIVATE)
    Participation.begin(bench.site, bench.order(), bench.adapter, Told())
    charged = [entry for entry in bodies(bench.directory() / "ledger.sqlite") if entry["kind"] == "charge"]
    site, recipe = bench.site, bench.recipe
    assert [entry["planned"] for entry in charged] == [recipe.accounted_evaluations, recipe.accounted_rounds] == [3, 2]
    for entry in charged:
        assert entry["epsilon_limit"] == site.policy.epsilon_limit
        assert entry["run_epsilon_limit"] == recipe.privacy.epsilon
        assert entry["delta"] == recipe.privacy.delta
        assert entry["round_number"] == 1
