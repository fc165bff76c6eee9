"""What a site remembers of a round between two stages: where it lies, who can read it, how long it is there."""

from __future__ import annotations

import base64
import json
import stat

import pytest
from flwr.app import RecordDict

from sealora_common.errors import SealoraError
from sealora_common.records.names import ROUND_ASIDE
from sealora_server.simulation import engine

from site_bench import Bench, payload_of, refusal_of
from tiny_federation import PRIVATE


@pytest.fixture
def bench(tiny_base, tmp_path) -> Bench:
    """Sites as those of a simulation are."""
    bench = Bench(tmp_path, tiny_base(), rounds=2, privacy=PRIVATE)
    for number, context in enumerate(bench.contexts.values()):
        context.node_config |= {"partition-id": number}
    return bench


def aside(bench, name="site-0"):
    return bench.directory(name) / ROUND_ASIDE


def kept_in_memory(bench, name="site-0"):
    return dict(bench.contexts[name].state.config_records["sealora"])


def test_a_simulated_site_plays_a_round_and_nothing_of_it_is_left(bench):
    session, _ = bench.play(bench.order())
    assert len(session.open().survivors) == 3
    assert len(bench.receipts) == 1
    for name, context in bench.contexts.items():
        assert list(context.state.config_records) == ["sealora-course"]  # no secret: what its log told
        assert not aside(bench, name).exists()


@pytest.mark.parametrize("stage", ["share", "mask", "confirm", "open"])
def test_all_that_it_remembers_is_in_a_file_of_its_own_account_and_its_digest_in_memory(bench, stage):
    bench.play(bench.order(), until=stage)
    assert stat.S_IMODE(aside(bench).stat().st_mode) == 0o600
    assert set(kept_in_memory(bench)) == {"aside", "bytes-up", "bytes-down"}
    assert len(kept_in_memory(bench)["aside"]) == 32
    state = json.loads(aside(bench).read_bytes().split(b"\n")[0])
    assert b"self_mask_seed" in base64.b64decode(state["session"])


def test_a_real_site_writes_nothing_of_it(bench):
    for context in bench.contexts.values():
        del context.node_config["partition-id"]
    bench.play(bench.order(), until="mask")
    assert len(kept_in_memory(bench)["encoded"]) > 0
    assert not aside(bench).exists()


def test_it_is_gone_before_the_stage_is_worked_on(bench):
    _, requests = bench.play(bench.order(), until="mask")
    refusal_of(bench.stage("site-0", "mask", b"garbage"))
    assert not aside(bench).exists()
    assert "this site is in no round" in refusal_of(bench.stage("site-0", "mask", requests["site-0"]))


@pytest.mark.parametrize("spoilt", ["other", "none"])
def test_what_is_not_what_it_put_there_is_not_used(bench, caplog, spoilt):
    _, requests = bench.play(bench.order(), until="mask")
    if spoilt == "other":
        aside(bench).write_bytes(aside(bench, "site-1").read_bytes())
    else:
        aside(bench).unlink()
    assert "its own log says why" in refusal_of(bench.stage("site-0", "mask", requests["site-0"]))
    assert ("was changed between two stages" in caplog.text) == (spoilt == "other")
    assert payload_of(bench.stage("site-1", "mask", requests["site-1"]))


def test_what_a_killed_simulation_left_is_not_gone_on_with(bench):
    _, requests = bench.play(bench.order(), until="mask")
    bench.contexts["site-0"].state = RecordDict()
    assert "this site is in no round" in refusal_of(bench.stage("site-0", "mask", requests["site-0"]))
    bench.begin("site-0", bench.order(attempt=2))
    assert b'"attempt":2' in aside(bench).read_bytes()


def test_an_engine_leaves_nothing_of_a_round_that_was_not_finished(tmp_path, monkeypatch):
    left = [tmp_path / "sites" / name / ROUND_ASIDE for name in ("a", "b")]

    def broken(*_):
        for file in left:
            file.parent.mkdir(parents=True)
            file.write_bytes(b"a site's part in a round")
        raise SealoraError("stopped in the middle of a round")

    monkeypatch.setattr(engine, "_run_inline", broken)
    with pytest.raises(SealoraError, match="in the middle"):
        engine.run_engine(engine.Engine.INLINE, tmp_path, ["a", "b", "c"])
    assert not any(file.exists() for file in left)
