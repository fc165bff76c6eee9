"""What a site holds a server to: one history for a run, the same for all sites, with its own part as it was."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealora_client.cli import main
from sealora_client.history import History, read_receipts
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity
from sealora_common.order import RoundOrder, vector_digest
from sealora_common.receipt import Receipt, chain_to_bytes, history_of
from sealora_common.secagg.messages import bundle

from site_bench import RUN_ID, Bench, payload_of, refusal_of

SERVER = Identity.create("server", SeededEntropy("server"))
RECIPE = "1" * 64
NAMES = ("site-0", "site-1", "site-2")


def order_after(receipts: list[Receipt], **changes) -> RoundOrder:
    """The order of the round that follows `receipts`, with fields changed."""
    values = {
        "purpose": "train",
        "run": RUN_ID,
        "round_number": len(receipts) + 1,
        "attempt": 1,
        "nonce": f"{len(receipts):032x}",
        "recipe_hash": RECIPE,
        "roster_hash": "2" * 64,
        "layout_digest": "3" * 64,
        "adapter_digest": receipts[-1].adapter_digest if receipts else "4" * 64,
        "history": history_of(receipts),
        "clip_range": 0.5,
        "clip_norm": 1.0,
    }
    return RoundOrder.model_validate(values | changes)


def lengthened(receipts: list[Receipt], rounds: int = 1, *, adapter: str = "f", survivors=NAMES) -> list[Receipt]:
    """The chain some rounds later; other adapters make another world."""
    for _ in range(rounds):
        digest = f"{len(receipts) + 1:02x}" + adapter * 62
        receipts = [
            *receipts,
            Receipt.issue(order_after(receipts), survivors, digest, history_of(receipts), SERVER),
        ]
    return receipts


CHAIN = lengthened([], 5)


@pytest.fixture
def history(tmp_path) -> History:
    return History(tmp_path, RUN_ID)


def tell(history: History, told: list[Receipt], order: RoundOrder | None = None) -> None:
    history.extend(told, order or order_after(told), RECIPE, SERVER.public_key)


def take_part(history: History, told: list[Receipt], survivors=NAMES) -> list[Receipt]:
    """One round as a good server and the site do it; returns the chain after it."""
    tell(history, told)
    history.confirm(order_after(told), survivors)
    return lengthened(told, survivors=survivors)


def test_a_site_follows_round_after_round(history):
    chain: list[Receipt] = []
    for number in range(4):
        chain = take_part(history, chain)
        assert history.receipts == chain[:number]


@given(st.integers(0, 5), st.integers(0, 5))
def test_a_site_that_missed_rounds_catches_up_and_one_that_is_ahead_refuses(tmp_path_factory, first, second):
    history = History(tmp_path_factory.mktemp("site"), RUN_ID)
    tell(history, CHAIN[:first])
    if second >= first:
        tell(history, CHAIN[:second])
    else:
        with pytest.raises(PolicyError, match=f"differ from this site's from round {second + 1} on"):
            tell(history, CHAIN[:second])
    assert history.receipts == CHAIN[: max(first, second)]


@given(st.integers(1, 4), st.integers(0, 3))
def test_a_server_that_rewrites_the_past_is_refused_and_the_round_named(tmp_path_factory, changed, more):
    """The other past is a faultless chain, signed by the server itself; only this site's memory tells."""
    history = History(tmp_path_factory.mktemp("site"), RUN_ID)
    tell(history, CHAIN[:4])
    rewritten = lengthened(CHAIN[: changed - 1], 5 - changed + more, adapter="e")
    with pytest.raises(PolicyError, match=f"differ from this site's from round {changed} on: the order is refused"):
        tell(history, rewritten)
    assert history.receipts == CHAIN[:4]


def test_a_server_that_forgets_everything_is_refused(history):
    tell(history, CHAIN[:3])
    with pytest.raises(PolicyError, match="differ from this site's from round 1 on"):
        tell(history, [])


def test_an_old_order_played_again_is_refused(history):
    """With the receipts it came with, history has been cut; with today's, it does not follow from them."""
    old = order_after(CHAIN[:1])
    tell(history, CHAIN[:1], old)
    tell(history, CHAIN[:3])
    with pytest.raises(PolicyError, match="differ from this site's from round 2 on"):
        tell(history, CHAIN[:1], old)
    with pytest.raises(PolicyError, match="does not follow from the receipts"):
        tell(history, CHAIN[:3], old)


OTHER_FOLLOWING = {
    "the history of the round before": {"history": CHAIN[1].hash},
    "no history": {"history": "0" * 64},
    "the number of the round before": {"round_number": 3},
    "a round left out": {"round_number": 5},
}


@pytest.mark.parametrize("case", OTHER_FOLLOWING)
def test_an_order_that_does_not_follow_from_its_receipts_is_refused(history, case):
    with pytest.raises(PolicyError, match="does not follow from the receipts"):
        tell(history, CHAIN[:3], order_after(CHAIN[:3], **OTHER_FOLLOWING[case]))
    assert history.receipts == []


def test_another_adapter_than_the_last_receipt_s_is_refused(history):
    with pytest.raises(PolicyError, match="adapter is not the one of the last receipt"):
        tell(history, CHAIN[:2], order_after(CHAIN[:2], adapter_digest=CHAIN[0].adapter_digest))


def test_a_chain_that_is_broken_or_not_the_server_s_is_refused_and_nothing_stored(history):
    for told in (CHAIN[1:], [CHAIN[0].model_copy(update={"survivors": NAMES[:2]})]):
        with pytest.raises(PolicyError, match="round 1 does not fit the chain"):
            tell(history, told)
    with pytest.raises(PolicyError, match="not signed by the server"):
        history.extend(CHAIN, order_after(CHAIN), RECIPE, Identity.create("x", SeededEntropy("x")).public_key)
    assert history.receipts == []


@pytest.mark.parametrize("named", [NAMES[:2], ("site-0", "site-1", "site-3"), NAMES[::-1], ()])
@pytest.mark.parametrize("later", [0, 2])
def test_a_receipt_with_other_survivors_than_this_site_confirmed_is_refused(history, named, later):
    """Also when the site missed the rounds after and hears of its own only now."""
    chain = take_part(history, lengthened([]))
    forged = lengthened(chain[:1], survivors=named)
    with pytest.raises(PolicyError, match="receipt of round 2 names other survivors than this site confirmed"):
        tell(history, lengthened(forged, later))
    tell(history, lengthened(chain, later))


def test_what_was_confirmed_in_an_attempt_that_came_to_nothing_is_held_against_nobody(history):
    tell(history, [])
    history.confirm(order_after([], attempt=1, nonce="e" * 32), NAMES[:2])
    tell(history, lengthened([]))


def test_of_a_round_in_groups_a_site_knows_its_own_group_s_survivors_alone(history):
    """Those of other groups it takes from the receipt; its own group may have been left out as a whole."""
    for named, fits in ((NAMES, True), (NAMES[2:], True), (NAMES[1:], False), (NAMES[:1], False)):
        tell(history, [])
        history.confirm(order_after([]), NAMES[:2], NAMES[:2])
        told = lengthened([], survivors=named)
        if fits:
            history.check(told, order_after(told), RECIPE, SERVER.public_key)
        else:
            with pytest.raises(PolicyError, match="names other survivors than this site confirmed"):
                history.check(told, order_after(told), RECIPE, SERVER.public_key)


def test_runs_do_not_mix(tmp_path):
    tell(History(tmp_path, RUN_ID), CHAIN[:2])
    other = History(tmp_path, "cd" * 16)
    other.extend([], order_after([], run="cd" * 16), RECIPE, SERVER.public_key)
    with pytest.raises(PolicyError, match="round 1 does not fit"):
        other.extend(CHAIN[:2], order_after(CHAIN[:2]), RECIPE, SERVER.public_key)


@pytest.mark.parametrize("file", [f"{RUN_ID}.json", f"{RUN_ID}.confirmed.json"])
@pytest.mark.parametrize("content", [b"", b"[{}]", b"\xff"])
def test_a_damaged_file_stops_the_site_and_is_named(tmp_path, history, file, content):
    chain = take_part(history, CHAIN[:1])
    path = tmp_path / "receipts" / file
    path.write_bytes(content)
    with pytest.raises(PolicyError) as caught:
        tell(history, chain)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_newest_chain_of_a_directory_is_read(tmp_path):
    with pytest.raises(PolicyError, match="no receipts here yet"):
        read_receipts(tmp_path)
    tell(History(tmp_path, "cd" * 16), [], order_after([], run="cd" * 16))
    chain = take_part(History(tmp_path, RUN_ID), CHAIN[:3])
    assert read_receipts(tmp_path) == chain[:3]
    assert read_receipts(tmp_path / "receipts" / f"{RUN_ID}.json") == chain[:3]
    with pytest.raises(PolicyError, match=r"nowhere.json: cannot be read"):
        read_receipts(tmp_path / "nowhere.json")


# `sealora-site receipts verify`


def verify(monkeypatch, capsys, ours, theirs, *options: str) -> tuple[int, str]:
    """The command; returns its exit code and what it said, on one line."""
    monkeypatch.setattr(sys, "argv", ["sealora-site", "receipts", "verify", str(ours), str(theirs), *options])
    with pytest.raises(SystemExit) as left:
        main()
    captured = capsys.readouterr()
    said = captured.err if left.value.code else captured.out
    assert said.count("\n") == 1
    return int(left.value.code or 0), said.strip()


def stored(directory, receipts: list[Receipt]):
    path = directory / "receipts" / f"{RUN_ID}.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(chain_to_bytes(receipts))
    return directory


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [(3, 5, "the chains agree on rounds 1 to 3"), (0, 2, "no round is in both chains yet")],
)
def test_two_sites_that_were_told_one_history_agree(tmp_path, monkeypatch, capsys, ours, theirs, said):
    a, b = stored(tmp_path / "a", CHAIN[:ours]), stored(tmp_path / "b", CHAIN[:theirs])
    server = ("--server", SERVER.public_key.hex())
    assert verify(monkeypatch, capsys, a, b, *server) == (0, said)
    assert verify(monkeypatch, capsys, b, a / "receipts" / f"{RUN_ID}.json", *server) == (0, said)


def test_a_chain_that_the_server_did_not_sign_accuses_nobody(tmp_path, monkeypatch, capsys):
    forged = [receipt.model_copy(update={"signature": "0" * 128}) for receipt in CHAIN]
    a, b = stored(tmp_path / "a", CHAIN), stored(tmp_path / "b", forged)
    code, said = verify(monkeypatch, capsys, a, b, "--server", SERVER.public_key.hex())
    assert (code, "not signed by the server" in said) == (1, True)


@pytest.mark.parametrize(
    ("options", "said"), [((), "no roster.json beside"), (("--server", "abc"), "'abc' is no Ed25519")]
)
def test_signatures_are_never_left_unchecked(tmp_path, monkeypatch, capsys, options, said):
    a, b = stored(tmp_path / "a", CHAIN), stored(tmp_path / "b", CHAIN)
    code, refusal = verify(monkeypatch, capsys, a, b, *options)
    assert (code, said in refusal) == (1, True)


def test_a_site_shows_its_roster_s_fingerprint(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sealora-site", "roster", str(bench.directory("site-0"))])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    assert f"fingerprint  {bench.roster.fingerprint}" in capsys.readouterr().out


def test_chains_of_two_runs_are_not_compared(tmp_path, monkeypatch, capsys):
    other = [receipt.model_copy(update={"run": "cd" * 16}) for receipt in CHAIN]
    code, said = verify(monkeypatch, capsys, stored(tmp_path / "a", CHAIN), stored(tmp_path / "b", other))
    assert (code, "different runs" in said) == (1, True)


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_a_chain_that_is_missing_or_damaged_ends_in_one_sentence(tmp_path, monkeypatch, capsys, content):
    damaged = tmp_path / "theirs.json"
    if content is not None:
        damaged.write_bytes(content)
    code, said = verify(monkeypatch, capsys, stored(tmp_path / "a", CHAIN), damaged)
    assert code == 1
    assert said.startswith(f"Error: {damaged}: ")


# With real sites


@pytest.fixture(scope="module")
def played(tiny_base, tmp_path_factory) -> Bench:
    """Sites that took part in round 1."""
    bench = Bench(tmp_path_factory.mktemp("bench"), tiny_base(), rounds=3)
    bench.play(bench.order(), step=0.25)
    return bench


@pytest.fixture
def bench(played):
    """As it was after round 1, whatever the test does."""
    receipts, adapter = list(played.receipts), played.adapter
    before = {
        f"{name}-{part}": played.directory(name) / part
        for name in played.roster.names
        for part in ("receipts", "outbox")
    }
    for name, directory in before.items():
        shutil.copytree(directory, played.run / f"kept-{name}")
    yield played
    played.receipts, played.adapter = receipts, adapter
    for name, directory in before.items():
        shutil.rmtree(directory)
        shutil.move(played.run / f"kept-{name}", directory)


def other_world(bench: Bench) -> tuple[list[Receipt], np.ndarray]:
    """A second history of round 1, signed by the server as well, and its adapter."""
    first = bench.receipts[0]
    adapter = bench.adapter + np.float32(1)
    changed = first.model_copy(update={"adapter_digest": vector_digest(adapter)})
    signature = bench.server.sign(b"sealora receipt v1\n" + changed._signed_bytes())
    return [changed.model_copy(update={"signature": signature.hex()})], adapter


def tell_two_worlds(bench: Bench) -> dict[str, bytes]:
    """Orders round 2 of site-0 and site-1 in one world and of site-2 in the other; returns what each advertised."""
    orders = {name: bench.order(round_number=2, nonce="7" * 32) for name in ("site-0", "site-1")}
    advertised = {name: payload_of(bench.begin(name, order)) for name, order in orders.items()}
    bench.receipts, bench.adapter = other_world(bench)
    advertised["site-2"] = payload_of(bench.begin("site-2", bench.order(round_number=2, nonce="7" * 32)))
    return advertised


def test_sites_that_were_told_two_worlds_get_no_sum_together(bench):
    """A server that hides it hands everybody's keys to everybody: they are keys of another round to the others."""
    advertised = tell_two_worlds(bench)
    everybody = bundle(list(advertised.values()))
    for name in advertised:
        said = refusal_of(bench.stage(name, "share", everybody))
        assert "advertise message is not of this round: it was refused" in said


def test_sites_that_were_told_one_world_do_get_a_sum(bench):
    """The same messages without the fork: the test above bites."""
    order = bench.order(round_number=2, nonce="7" * 32)
    everybody = bundle([payload_of(bench.begin(name, order)) for name in bench.roster.names])
    for name in bench.roster.names:
        assert payload_of(bench.stage(name, "share", everybody))


def test_two_sites_that_compare_find_the_round_in_which_the_worlds_part(bench, monkeypatch, capsys):
    tell_two_worlds(bench)
    assert verify(monkeypatch, capsys, bench.directory("site-0"), bench.directory("site-1"))[0] == 0
    for one, other in (("site-0", "site-2"), ("site-2", "site-1")):
        code, said = verify(monkeypatch, capsys, bench.directory(one), bench.directory(other))
        assert code == 1
        assert said.startswith("Error: the chains differ from round 1 on: the server told the two sites different")


def test_a_site_that_knows_the_first_world_refuses_the_second(bench):
    bench.begin("site-2", bench.order(round_number=2))
    bench.receipts, bench.adapter = other_world(bench)
    said = refusal_of(bench.begin("site-2", bench.order(round_number=2)))
    assert "the server's receipts differ from this site's from round 1 on: the order is refused" in said


def test_a_receipt_with_other_survivors_than_the_sites_confirmed_reaches_no_training(bench):
    first = bench.receipts[0]
    changed = first.model_copy(update={"survivors": first.survivors[:2]})
    signature = bench.server.sign(b"sealora receipt v1\n" + changed._signed_bytes())
    bench.receipts = [changed.model_copy(update={"signature": signature.hex()})]
    for name in bench.roster.names:
        said = refusal_of(bench.begin(name, bench.order(round_number=2)))
        assert "the receipt of round 1 names other survivors than this site confirmed" in said


def test_another_adapter_than_the_receipt_s_reaches_no_training(bench):
    moved = bench.adapter + np.float32(1)
    said = refusal_of(bench.begin("site-0", bench.order(round_number=2, adapter=moved), moved))
    assert "the order's adapter is not the one of the last receipt" in said


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_as_receipts_make_a_site_fail(bench, content):
    """Whatever comes as receipts, the answer is a refusal, not a failure of the site."""
    from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

    fields = {"order": bench.order(round_number=2).to_bytes(), "receipts": content}
    told = RecordDict({"arrays": ArrayRecord({"adapter": Array(bench.adapter)}), "config": ConfigRecord(fields)})
    assert "its own log says why" not in refusal_of(bench.ask("site-0", "train", told))
