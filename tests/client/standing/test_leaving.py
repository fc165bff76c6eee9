"""What leaving costs, said before; how a site that leaves, or left, stands; `leave` and `return` as they are typed."""

from __future__ import annotations

import io

import pytest
from typer.testing import CliRunner

from sealora_client.cli import cli
from sealora_client.cli.status import watch_standing
from sealora_client.ledger import Ledger
from sealora_client.operator.at_work import AtWork, tell_work, told_work
from sealora_client.operator.departure import SAID_AWAY, depart, departure
from sealora_client.site.process_lock import only_process
from sealora_client.standing.leaving_cost import leaving_cost
from sealora_client.standing.standing import site_standing
from sealora_common.errors import PolicyError
from sealora_common.health.status import PartStatus
from sealora_common.show.console import SafeConsole
from sealora_common.show.quantities import epsilon_text

from budget_site import ROUND, training_set, write_site
from ledger_runs import SITE

RUN = "ab" * 16


@pytest.fixture
def site(tmp_path):
    return write_site(tmp_path / "site")


@pytest.fixture
def in_round(site):
    """The site, with a process that is in round 2."""
    at_work = AtWork(
        run=RUN, recipe="tiny", rounds=4, round=2, purpose="train", stage="train", stage_began=1.0, round_began=1.0
    )
    with only_process(site):
        tell_work(site, at_work)
        yield site


def charged(site, *, released: bool) -> float:
    """Charges round 2; returns its epsilon by itself."""
    with Ledger(site / "ledger.sqlite", SITE) as ledger:
        made = ledger.charge(
            dataset=training_set(site), run=RUN, round_number=2, event=ROUND, delta=1e-3, epsilon_limit=8.0
        )
        if released:
            ledger.mark_released(made.id)
        return made.epsilon_after


def test_in_no_round_leaving_costs_nothing(site):
    cost = leaving_cost(site)
    assert cost.now == cost.after_round == "The site is in no round: leaving costs no epsilon."


def test_before_a_round_is_charged_stopping_costs_nothing(in_round):
    cost = leaving_cost(in_round)
    assert cost.now == "Round 2 is not charged yet: stopping now costs no epsilon."
    assert "if it is before it ends, that is spent" in cost.after_round


def test_a_round_that_is_charged_is_not_given_back(in_round):
    epsilon = epsilon_text(charged(in_round, released=False))
    tell_work(in_round, told_work(in_round).model_copy(update={"stage": "share"}))
    cost = leaving_cost(in_round)
    assert cost.after_round.startswith(f"Round 2 is charged: epsilon {epsilon} of data set ")
    assert cost.after_round.endswith("Leaving after it costs nothing more.")
    assert cost.now.endswith("Stopping now keeps its result here, and does not give the charge back.")


def test_what_has_left_is_not_given_back_either(in_round):
    charged(in_round, released=True)
    assert leaving_cost(in_round).now.endswith("Its sealed update has left, so neither gives anything back.")


def test_a_site_that_does_not_run_and_was_told_to_leave_has_left(site):
    depart(site, "after-round")
    standing = site_standing(site)
    assert standing.has_left
    assert any("it takes part again after `sealora-site return`" in todo for todo in standing.todo)


def test_a_round_at_hand_is_told_with_its_stage(in_round):
    assert site_standing(in_round).at_work.stage == "train"
    said = CliRunner().invoke(cli, ["status", str(in_round)]).output
    assert "round       round 2 of 4: train" in said


def typed(*words) -> str:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


def test_it_is_said_what_leaving_costs_before_anything_is_done(site):
    assert "leaving costs no epsilon.\nnothing was done: `sealora-site leave" in typed("leave", site)
    assert departure(site) is None
    typed("leave", site, "--yes")
    assert departure(site).when == "after-round"
    typed("leave", site, "--now", "--yes")
    assert departure(site).when == "now"
    assert "the site takes part again; it does not run" in typed("return", site)
    assert departure(site) is None
    assert "nothing changes" in typed("return", site)


@pytest.mark.parametrize("command", [["leave", "--yes"], ["return"]])
def test_where_there_is_no_site_nothing_is_written(tmp_path, command):
    result = CliRunner().invoke(cli, [command[0], str(tmp_path), *command[1:]])
    assert "site.yaml: no such file" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_it_is_shown_anew_until_ctrl_c(site):
    out, left = io.StringIO(), 2

    def ask():
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return site_standing(site)

    with pytest.raises(SystemExit) as ended:
        watch_standing(ask, SafeConsole(file=out, force_terminal=True, width=80, color_system=None), 0.0)
    assert ended.value.code == 130
    assert out.getvalue().count("site-0, not running") == 2


def test_without_a_terminal_it_says_what_to_do(site):
    with pytest.raises(PolicyError, match="--watch needs a terminal: leave it out"):
        watch_standing(lambda: site_standing(site), SafeConsole(file=io.StringIO()), 0.0)


def test_what_a_round_is_charged_yet_is_not_left_out(in_round):
    """Of a round the held-out records are charged first, then it evaluates, and then training is charged."""
    charged(in_round, released=False)
    assert leaving_cost(in_round).after_round.endswith("What is charged for it yet is spent, too.")


def test_nor_is_that_of_a_round_that_is_tried_again(in_round):
    charged(in_round, released=True)
    assert leaving_cost(in_round).after_round.endswith("What is charged for it yet is spent, too.")


def test_charges_of_other_rounds_are_told_as_a_server_may_have_begun_several(in_round):
    charged(in_round, released=False)
    tell_work(in_round, told_work(in_round).model_copy(update={"run": "cd" * 16}))
    cost = leaving_cost(in_round)
    assert cost.now.endswith("costs no epsilon. 1 charge of other rounds is open, and not given back.")
    (in_round / "at-work.json").unlink()
    assert leaving_cost(in_round).now.endswith("costs no epsilon. 1 charge is open, and not given back.")


@pytest.mark.parametrize(
    ("ok", "said", "has_left"),
    [
        (True, "connected", False),
        (False, "the server does not answer", False),
        (False, f"{SAID_AWAY} on 2026-01-01: it takes part again after `sealora-site return`", True),
    ],
)
def test_a_site_that_lost_the_server_on_its_way_out_has_not_left(in_round, monkeypatch, ok, said, has_left):
    parts = {"server": PartStatus(ok=ok, said=said)}
    monkeypatch.setattr("sealora_client.standing.standing.told_parts", lambda address, site: parts)
    (in_round / "site.yaml").write_text((in_round / "site.yaml").read_text() + "health: 127.0.0.1:1\n")
    depart(in_round, "after-round")
    standing = site_standing(in_round)
    assert standing.has_left is has_left
    assert (standing.at_work is None) is has_left


def test_a_ledger_that_is_lost_is_not_taken_for_nothing_spent(in_round):
    charged(in_round, released=False)
    (in_round / "ledger.sqlite").unlink()
    assert "What it costs cannot be told" in leaving_cost(in_round).now
    standing = site_standing(in_round)
    assert any("the privacy ledger is missing" in todo for todo in standing.todo)
    assert standing.left is None
