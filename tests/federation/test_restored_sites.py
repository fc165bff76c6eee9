"""A site that is put back from a backup in the middle of a run: nothing of its records is spent twice."""

from __future__ import annotations

import shutil
import stat

import pytest
from typer.testing import CliRunner

from sealora_client.cli.program import cli
from sealora_client.ledger import Ledger
from sealora_client.site.directory import open_site
from sealora_client.upkeep.backup import EXPORTED_LEDGER, back_up_site
from sealora_client.upkeep.restore import restore_site
from sealora_common.archive import locked
from sealora_common.archive.read import opened_archive
from sealora_common.errors import PolicyError, StorageError
from sealora_common.privacy.plan import privacy_plan
from sealora_server.run.store import RunStore

from tiny_federation import (
    PRIVATE,
    WatchedGrid,
    events_of,
    recipe_of,
    run_inline,
    training_charges,
    write_federation,
)

WORD = b"correct horse"
ROUNDS = 4
SITE = "site-1"
FOUR = {"count": 4, "rounds": ROUNDS, "sealing": {"adversary": "curious"}}
"""Three of the four can open a sum."""


def cut_at(round_number: int, action: str = "train", site: str = "site-0") -> type[WatchedGrid]:
    """A grid in which a person presses Ctrl-C when a site is asked for something in a round."""

    class Cut(WatchedGrid):
        def exchange(self, asked, what, message):
            if (asked, what, self.round) == (site, action, round_number):
                raise KeyboardInterrupt
            return super().exchange(asked, what, message)

    return Cut


class Federation:
    """A run of four sites, and what becomes of one of them."""

    def __init__(self, directory, base):
        self.recipe = write_federation(directory, base, privacy=PRIVATE, **FOUR)
        self.run = directory / "run"
        self.site = self.run / "sites" / SITE
        self.file = directory / "site.tar"
        self.begun = False

    def go_on(self, cut=None):
        """Runs until it is cut short, or to its end."""
        resume, self.begun = self.begun, True
        if cut is None:
            run_inline(self.recipe, self.run, resume=resume)
            return
        with pytest.raises(KeyboardInterrupt):
            run_inline(self.recipe, self.run, resume=resume, grid=cut)

    def restore(self, since):
        """As after the loss of the machine: from the backup alone, and the records."""
        shutil.rmtree(self.site)
        return restore_site(self.file, self.site, lambda: WORD, since)

    def back_up(self):
        return back_up_site(self.site, self.file, WORD)

    def entries(self):
        with Ledger(self.site / "ledger.sqlite") as ledger:
            return ledger.verify().entries

    def spent(self, site=SITE):
        opened = open_site(self.run / "sites" / site)
        with opened.ledger() as ledger:
            return ledger.spent(opened.data.train_set, opened.recipe.privacy.delta)

    def refusals(self):
        told = [away.reason for event in events_of(self.run, "sites_ready") for away in event.turned_away]
        return told + [event.reason for event in events_of(self.run, "site_failed")]

    def survivors(self):
        return [receipt.survivors for receipt in RunStore.open(self.run).receipts()]


@pytest.fixture(autouse=True)
def quick_passphrases(monkeypatch):
    monkeypatch.setattr(locked, "_COST", 2**4)


@pytest.fixture
def federation(tiny_base, tmp_path):
    return Federation(tmp_path, tiny_base())


def test_a_site_that_has_not_run_since_its_backup_goes_on_in_the_midst_of_a_round_and_spends_no_more(federation):
    federation.go_on(cut_at(2, "query.mask", SITE))  # charged for round 2, and nothing of it has left
    made = federation.back_up()
    before = training_charges(federation.run, SITE)
    found = federation.restore("nothing")
    assert found.closed == ()
    assert found.entries == made.entries + 1
    federation.go_on()
    charges = training_charges(federation.run, SITE)
    assert [(row.round_number, row.is_open) for row in charges] == [(number, False) for number in range(1, ROUNDS + 1)]
    assert [row.id for row in charges[:2]] == [row.id for row in before]
    assert federation.spent() == pytest.approx(federation.spent("site-0"))
    assert [SITE in survivors for survivors in federation.survivors()] == [True] * ROUNDS


@pytest.mark.slow
def test_a_site_that_took_part_since_counts_all_the_run_could_take_as_spent_and_takes_no_further_part(federation):
    federation.go_on(cut_at(2))
    federation.back_up()
    federation.go_on(cut_at(4))
    found = federation.restore("known-runs")
    assert len(found.closed) == 1
    recipe = recipe_of(federation.run)
    (train,) = [charge for charge in privacy_plan(recipe, 4).charges if charge.part == "train"]
    whole = federation.spent()
    assert whole == pytest.approx(recipe.privacy.epsilon, rel=0.02)
    assert sum(row.event.steps for row in training_charges(federation.run, SITE)) == train.times * train.event.steps
    entries = federation.entries()
    federation.go_on()
    assert any("was put back from a backup in the midst of this run" in said for said in federation.refusals())
    assert [SITE in survivors for survivors in federation.survivors()] == [True, True, True, False]
    assert (federation.entries(), federation.spent()) == (entries, whole)


def test_an_old_copy_of_which_somebody_says_that_nothing_left_since_is_found_out_by_receipts(federation):
    federation.go_on(cut_at(2))
    federation.back_up()
    federation.go_on(cut_at(4))
    federation.restore("nothing")  # which is not so: rounds 2 and 3 were done since
    entries = federation.entries()
    federation.go_on()
    (said,) = {said for said in federation.refusals() if "receipts prove" in said}
    assert "vector of round 2 left, and its privacy ledger does not know of it" in said
    assert federation.entries() == entries  # nothing was charged, so nothing noisy came to be
    assert [SITE in survivors for survivors in federation.survivors()] == [True, True, True, False]


@pytest.mark.slow
def test_a_directory_that_was_copied_back_by_hand_is_found_out_just_so_and_put_right_by_a_write_off(federation):
    federation.go_on(cut_at(2))
    shutil.copytree(federation.site, federation.run / "copy")
    federation.go_on(cut_at(3))
    shutil.rmtree(federation.site)
    (federation.run / "copy").rename(federation.site)
    federation.go_on(cut_at(4))
    assert any("receipts prove" in said for said in federation.refusals())
    said = CliRunner().invoke(cli, ["budget", "write-off", "--directory", str(federation.site)]).output
    assert "all that it could yet take is spent" in said
    whole = federation.spent()
    assert whole == pytest.approx(recipe_of(federation.run).privacy.epsilon, rel=0.02)
    assert (
        "nothing to write off"
        in CliRunner().invoke(cli, ["budget", "write-off", "--directory", str(federation.site)]).output
    )
    federation.go_on()
    assert federation.spent() == whole


def test_without_a_word_on_what_left_since_nothing_is_put_back(federation, tmp_path):
    federation.go_on(cut_at(2))
    made = federation.back_up()
    assert made.entries > 3
    with pytest.raises(PolicyError, match=r"was made 20.*: say what this site has done since, with --spent-since"):
        restore_site(federation.file, tmp_path / "back", lambda: WORD, None)
    assert not (tmp_path / "back").exists()
    with pytest.raises(StorageError, match="there is something already"):
        restore_site(federation.file, federation.site, lambda: WORD, "nothing")
    with pytest.raises(StorageError, match="the passphrase is wrong"):
        restore_site(federation.file, tmp_path / "back", lambda: b"another", "nothing")
    typed = CliRunner().invoke(cli, ["backup", str(tmp_path / "b.tar"), "--directory", str(federation.site)])
    assert "no terminal to ask at" in str(typed.exception)
    assert not (tmp_path / "b.tar").exists()


def test_a_backup_holds_what_a_site_needs_and_no_record_and_nothing_readable(federation, tmp_path):
    federation.go_on(cut_at(2))
    (federation.site / "records.jsonl").write_text('{"prompt": "in the directory", "response": "secret"}')
    federation.back_up()
    with opened_archive(federation.file, "site") as archive:
        names = {each.path for each in archive.files}
        assert all(each.locked for each in archive.files)
    assert {"site.yaml", "policy.yaml", "recipe.yaml", "roster.json", "identity.pem", EXPORTED_LEDGER} <= names
    assert any(name.startswith("receipts/") for name in names)
    assert any(name.startswith("outbox/") for name in names)
    assert not any("records" in name or name.endswith((".lock", ".sqlite", ".head", "-wal")) for name in names)
    content = federation.file.read_bytes()
    for text in (b"secret", b"PRIVATE KEY", b"member_key", b"epsilon_limit"):
        assert text not in content
    restore_site(federation.file, tmp_path / "back", lambda: WORD, "nothing")
    assert not (tmp_path / "back" / EXPORTED_LEDGER).exists()
    for path in (tmp_path / "back").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_nothing_is_charged_or_released_while_a_site_is_copied(federation, monkeypatch):
    federation.go_on(cut_at(2))
    from sealora_client.ledger import store
    from sealora_client.upkeep import backup

    monkeypatch.setattr(store, "_BUSY_SECONDS", 0.05)
    tried = []
    real = backup._content

    def charges_meanwhile(path):
        if path.name == "history.jsonl":
            opened = open_site(federation.site)
            row = training_charges(federation.run, SITE)[-1]
            with pytest.raises(StorageError, match="another process has held it"), opened.ledger() as ledger:
                ledger.charge(
                    dataset=opened.data.train_set, run="9" * 32, round_number=1, event=row.event, delta=1e-3,
                    epsilon_limit=1000.0,
                )  # fmt: skip
            tried.append(path)
        return real(path)

    monkeypatch.setattr(backup, "_content", charges_meanwhile)
    federation.back_up()
    assert len(tried) == 1
