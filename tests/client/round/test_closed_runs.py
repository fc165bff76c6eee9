"""A run in whose midst a site was put back: it takes no further part, whatever the server asks first."""

from __future__ import annotations

import pytest
from flwr.app import ConfigRecord, RecordDict

from sealora_client.round.closed_runs import CLOSED, close_runs, require_open
from sealora_common.errors import OrderRefusedError

from quorum import RUN
from site_bench import RUN_ID, Bench, refusal_of

SAID = "was put back from a backup in the midst of this run, and takes no further part in it"


def test_a_closed_run_is_refused_and_no_other_and_what_is_no_run_names_no_file(tmp_path):
    close_runs(tmp_path, [RUN, "../outside", ""])
    assert [path.name for path in (tmp_path / CLOSED).iterdir()] == [RUN]
    with pytest.raises(OrderRefusedError, match=SAID):
        require_open(tmp_path, RUN)
    for other in ("cd" * 16, "", "../" + RUN):
        require_open(tmp_path, other)
    close_runs(tmp_path, [RUN])  # once more does no harm


def test_the_server_is_told_so_when_it_greets_and_when_it_orders(tiny_base, tmp_path):
    bench = Bench(tmp_path, tiny_base(), records=6)
    close_runs(bench.directory(), [RUN_ID])
    greeting = RecordDict({"config": ConfigRecord({"run": RUN_ID.encode(), "recipe_hash": bench.recipe.hash.encode()})})
    assert SAID in refusal_of(bench.ask("site-0", "query.hello", greeting))
    assert SAID in refusal_of(bench.begin("site-0", bench.order()))
