"""`sealora-site receipts`: what a chain proves, checked offline, and two sites' chains compared."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from sealora_client.cli import main
from sealora_client.site.seen_rosters import SEEN
from sealora_common.receipts.receipt import Receipt, chain_to_bytes
from sealora_common.roster import SeenRosters
from sealora_common.roster.book import RosterBook
from sealora_common.round.order import vector_digest

from pure_sites import pure_recipe
from quorum import RUN, Consortium, terms_for
from site_bench import Bench, payload_of

RECIPE = pure_recipe()
HOME = Consortium(recipe_hash=RECIPE.hash)
CHAIN = HOME.chain(5)
NAMES = HOME.names


@pytest.fixture
def roster(tmp_path) -> Path:
    HOME.roster.save(tmp_path / "roster.json")
    return tmp_path / "roster.json"


@pytest.fixture
def run(monkeypatch, capsys):
    """The command; returns its exit code and the lines it said."""

    def command(*words: object) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", ["sealora-site", "receipts", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        said = captured.err if left.value.code else captured.out
        assert not left.value.code or (said.count("\n") == 1 and said.startswith("Error: "))
        return int(left.value.code or 0), said.splitlines()

    return command


def stored(directory: Path, receipts: Sequence[Receipt]) -> Path:
    path = directory / "receipts" / f"{RUN}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(chain_to_bytes(receipts))
    return directory


# verify


def test_a_chain_is_told_round_by_round_and_what_it_proves(tmp_path, roster, run):
    site = stored(tmp_path / "a", CHAIN[:2])
    for path in (site, site / "receipts" / f"{RUN}.jsonl"):
        code, said = run("verify", path, "--roster", roster)
        assert code == 0
        rounds = "4 survivors (site-0, site-1, site-2, site-3); 3 confirmations, 3 needed (site-0, site-1, site-2)"
        assert said[:2] == [f"round 1, attempt 1: {rounds}", f"round 2, attempt 1: {rounds}"]
        assert said[2] == f"run {RUN}, recipe {RECIPE.hash[:12]}, 2 rounds"
        assert HOME.roster.fingerprint in said[3]
        assert said[4].startswith("proven: ")
        assert said[5].startswith("not proven: ")
        assert said[6].startswith("without --recipe")


@pytest.mark.parametrize("named", [True, False])
def test_receipts_under_another_roster_of_a_number_that_a_site_has_used_are_two_faces(tmp_path, roster, run, named):
    """The coordinator signed two rosters of one number: the site used the one, the receipts are of the other."""
    site = stored(tmp_path / "a", CHAIN[:2])
    other = SeenRosters().after(HOME.roster_of(NAMES[:3]))
    (tmp_path / "b").mkdir()
    used = tmp_path / "b" if named else site
    (used / SEEN).write_text(other.model_dump_json())
    words = ["verify", site / "receipts" / f"{RUN}.jsonl", "--site", used] if named else ["verify", site]
    code, said = run(*words, "--roster", roster)
    assert code == 1
    assert "two faces: round 1 was under a roster number 1" in said[0]
    (used / SEEN).write_text(SeenRosters().after(HOME.roster).model_dump_json())
    assert run(*words, "--roster", roster)[0] == 0


def test_comparing_finds_two_faces_too(tmp_path, roster, run):
    ours, theirs = stored(tmp_path / "a", CHAIN[:2]), stored(tmp_path / "b", CHAIN[:2])
    (ours / SEEN).write_text(SeenRosters().after(HOME.roster_of(NAMES[:3])).model_dump_json())
    code, said = run("compare", ours, theirs, "--roster", roster)
    assert code == 1
    assert "two faces: round 1 was under a roster number 1" in said[0]


def test_the_run_s_own_directory_is_read_as_well(tmp_path, roster, run):
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "receipts.jsonl").write_bytes(chain_to_bytes(CHAIN))
    HOME.roster.save(directory / "roster.json")
    code, said = run("verify", directory)
    assert (code, len(said)) == (0, 10)


def test_with_the_recipe_its_threshold_is_asked_for(tmp_path, roster, run):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE.model_dump(mode="json")))
    code, (said,) = run("verify", stored(tmp_path / "a", CHAIN), "--roster", roster, "--recipe", recipe)
    assert code == 1
    assert "round 1 is refused: its terms ask for 3 confirmations and 2 survivors, the least of 4 sites is 3" in said
    order = HOME.order()
    good = HOME.receipt(order, terms=terms_for(order, HOME.roster, min_survivors=3))
    code, said = run("verify", stored(tmp_path / "b", [good]), "--roster", roster, "--recipe", recipe)
    assert code == 0
    assert not [line for line in said if "--recipe" in line]


def test_the_first_round_that_does_not_fit_is_named(tmp_path, roster, run):
    forged = [*CHAIN[:2], CHAIN[2].model_copy(update={"survivors": NAMES[:3]}).signed_by(HOME.server), *CHAIN[3:]]
    site = stored(tmp_path / "a", forged)
    code, (said,) = run("verify", site, "--roster", roster)
    file = site / "receipts" / f"{RUN}.jsonl"
    start = f"Error: {file}: the receipt of round 3 is refused: it names other survivors than its sites confirmed"
    assert (code, said.startswith(start)) == (1, True)


def test_a_chain_of_another_roster_is_told_so(tmp_path, run):
    stranger = Consortium(3, name="x").roster
    stranger.save(tmp_path / "other.json")
    code, (said,) = run("verify", stored(tmp_path / "a", CHAIN), "--roster", tmp_path / "other.json")
    assert code == 1
    ours, theirs = HOME.roster.hash.hex()[:12], stranger.hash.hex()[:12]
    assert f"round 1 is refused: it is under roster {ours}, which is not at hand ({theirs} is)" in said


def test_rosters_of_the_run_s_time_are_given_or_found_beside_the_receipts(tmp_path, roster, run):
    later = Consortium(recipe_hash=RECIPE.hash)
    later.roster = later.roster_of(NAMES[:3])
    later.roster.save(tmp_path / "later.json")
    chain = [*CHAIN[:1], later.receipt(later.order(CHAIN[:1]))]
    site = stored(tmp_path / "a", chain)
    assert run("verify", site, "--roster", tmp_path / "later.json")[0] == 1
    code, said = run("verify", site, "--roster", tmp_path / "later.json", "--roster", roster)
    assert code == 0
    assert said[0].endswith(f"under roster {HOME.roster.hash.hex()[:12]}, not the one given")
    assert "not the one given" not in said[1]
    RosterBook(site / "receipts" / "rosters").keep(HOME.roster)
    assert run("verify", site, "--roster", tmp_path / "later.json") == (0, said)


def test_all_rosters_must_be_one_coordinator_s(tmp_path, roster, run):
    Consortium(3, name="x").roster.save(tmp_path / "other.json")
    site = stored(tmp_path / "a", CHAIN)
    code, (said,) = run("verify", site, "--roster", roster, "--roster", tmp_path / "other.json")
    assert (code, "signed by another coordinator" in said) == (1, True)


def test_signatures_are_never_left_unchecked(tmp_path, run):
    for command in (("verify", stored(tmp_path / "a", CHAIN)), ("compare", tmp_path / "a", tmp_path / "a")):
        code, (said,) = run(*command)
        assert (code, "no roster.json there: give the roster with --roster" in said) == (1, True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"nonsense\n", "line 1 of the receipts: a receipt is malformed"),
        (b"", "holds no receipts: nothing is proven"),
        (chain_to_bytes(CHAIN)[:-7], "line 5 of the receipts is cut short"),
        (chain_to_bytes(CHAIN[1:]), "round 1 is refused: in its place is one of round 2"),
    ],
)
def test_a_chain_that_is_missing_damaged_cut_or_empty_ends_in_one_sentence(tmp_path, roster, run, content, said):
    path = tmp_path / "theirs.jsonl"
    if content is not None:
        path.write_bytes(content)
    code, (refusal,) = run("verify", path, "--roster", roster)
    assert code == 1
    assert refusal.startswith(f"Error: {path}: ")
    assert said in refusal


# compare


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [(3, 5, "the chains agree on rounds 1 to 3"), (0, 2, "no round is in both chains yet")],
)
def test_two_sites_that_were_told_one_history_agree(tmp_path, roster, run, ours, theirs, said):
    a, b = stored(tmp_path / "a", CHAIN[:ours]), stored(tmp_path / "b", CHAIN[:theirs])
    assert run("compare", a, b, "--roster", roster) == (0, [said])
    assert run("compare", b, a / "receipts" / f"{RUN}.jsonl", "--roster", roster) == (0, [said])


def test_a_chain_that_the_server_did_not_sign_accuses_nobody(tmp_path, roster, run):
    forged = [receipt.model_copy(update={"signature": b"0" * 64}) for receipt in CHAIN]
    a, b = stored(tmp_path / "a", CHAIN), stored(tmp_path / "b", forged)
    code, (said,) = run("compare", a, b, "--roster", roster)
    assert (code, "not signed by the roster's server" in said) == (1, True)


def test_chains_of_two_runs_are_not_compared(tmp_path, roster, run):
    other = HOME.receipt(HOME.order(run="cd" * 16))
    code, (said,) = run("compare", stored(tmp_path / "a", CHAIN), stored(tmp_path / "b", [other]), "--roster", roster)
    assert (code, "different runs" in said) == (1, True)


# With real sites


@pytest.fixture(scope="module")
def bench(tiny_base, tmp_path_factory) -> Bench:
    """Sites that took part in round 1, of which the server then told site-2 another adapter."""
    bench = Bench(tmp_path_factory.mktemp("bench"), tiny_base(), rounds=3)
    bench.play(bench.order(), step=0.25)
    for name in ("site-0", "site-1"):
        payload_of(bench.begin(name, bench.order(round_number=2)))
    bench.adapter = bench.adapter + np.float32(1)
    other = bench.receipts[0].model_copy(update={"adapter_digest": vector_digest(bench.adapter)})
    bench.receipts = [other.signed_by(bench.server)]
    payload_of(bench.begin("site-2", bench.order(round_number=2)))
    return bench


def test_two_sites_that_compare_find_the_round_in_which_the_worlds_part(bench, run):
    assert run("compare", bench.directory("site-0"), bench.directory("site-1"))[0] == 0
    for one, other in (("site-0", "site-2"), ("site-2", "site-1")):
        code, (said,) = run("compare", bench.directory(one), bench.directory(other))
        assert code == 1
        assert said.startswith("Error: the chains differ from round 1 on: the server told the two sites different")


def test_a_site_checks_its_own_receipts_with_its_own_roster_and_recipe(bench, run):
    code, said = run("verify", bench.directory("site-0"), "--recipe", bench.directory("site-0") / "recipe.yaml")
    assert code == 0
    assert said[0].startswith("round 1, attempt 1: 3 survivors (site-0, site-1, site-2); 3 confirmations, 3 needed")


def test_a_site_shows_its_roster_s_fingerprint(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sealora-site", "roster", "show", str(bench.directory("site-0"))])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    assert f"fingerprint  {bench.roster.fingerprint}" in capsys.readouterr().out
