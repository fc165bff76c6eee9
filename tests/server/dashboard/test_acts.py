"""What operators do at the dashboard, and what others try, sent by hand on a server's real operations."""

from __future__ import annotations

import html
import io
import json
import threading
import zipfile
from types import SimpleNamespace

import pytest
from acting import READER, Hand, acting

from sealora_common.invitation import Invitation
from sealora_common.web.pages import Pages
from sealora_common.web.sessions import Role, Session
from sealora_server.dashboard.acts import doing
from sealora_server.dashboard.acts.once import Forms
from sealora_server.dashboard.acts.routes import LONGEST_UPLOAD

from run_host import RECIPE

OPERATORS_PAGES = (
    "/submit",
    "/invite",
    "/runs/r1/acts",
    "/runs/r1/approval",
    "/runs/r1/delete",
    "/archives/r1.run",
    "/done/x",
)
ACTS = ("stop", "resume", "refuse", "approve", "archive", "delete")


@pytest.fixture
def dashboard(bench):
    """A server and the URL of its dashboard."""
    with acting(bench) as found, found.served() as url:
        yield found, url


@pytest.fixture
def demanding(bench):
    """One that demands approval."""
    with acting(bench, approval={"required": True}) as found, found.served() as url:
        yield found, url


def test_what_is_refused_is_the_server_s_own_sentence(dashboard, bench):
    server, url = dashboard
    anna = server.hand(url, "anna")
    assert "run r1: submitted" in anna.submits(bench).text
    assert "exists: give this run another name with --name" in anna.submits(bench).text
    act = bench.submission()
    recipe, roster = act.recipe.encode(), act.roster.encode()
    for files, said in (
        ({"recipe": recipe, "roster": b"\xff{}"}, "the roster is no text in UTF-8: choose another file"),
        ({"recipe": recipe, "roster": b"{}"}, "not a roster: ask the coordinator for it"),
        ({"recipe": b"rounds: [", "roster": roster}, "recipe, line 1"),
        ({"recipe": recipe}, "not a roster"),
        ({}, "a recipe is a YAML mapping"),
    ):
        answer = anna.sends("/submit", {"none": b"", **files}, name="r2")
        assert (answer.status_code, said in answer.text) == (422, True), answer.text
    assert "no name for a run" in anna.sends("/submit", {"recipe": recipe, "roster": roster}, name="../r2").text
    continued = {"name": "r2", "continue_from": "../../etc"}
    assert "no name for a run" in anna.sends("/submit", {"recipe": recipe, "roster": roster}, **continued).text
    assert [run.name for run in server.status().runs] == ["r1"]
    assert "there is no run" in anna.sends("/runs/r9/stop").text
    assert anna.sends("/runs/..%2Fr9/stop").status_code in (403, 404, 405)
    assert anna.sends("/runs/R9/stop").status_code == 404
    assert anna.sends("/runs/r1/explode").status_code == 404


def test_a_run_is_deleted_by_who_types_its_name(dashboard, bench):
    server, url = dashboard
    anna = server.hand(url, "anna")
    anna.submits(bench)
    assert "run r1 was not deleted: another name was given" in anna.sends("/runs/r1/delete", typed="r2").text
    assert "is running: stop it first" in anna.sends("/runs/r1/delete", typed="r1").text
    assert "is running: stop it first" in anna.sends("/runs/r1/archive").text
    anna.sends("/runs/r1/stop")
    assert "run r1: deleted" in anna.sends("/runs/r1/delete", typed="r1").text
    assert server.status().runs == ()


def test_an_archive_is_made_once_and_replaces_none(dashboard, bench, caplog):
    server, url = dashboard
    anna = server.hand(url, "anna")
    anna.submits(bench)
    anna.sends("/runs/r1/stop")
    with caplog.at_level("INFO"):
        assert "run r1, not finished, 0 rounds; signed by" in anna.sends("/runs/r1/archive").text
        assert "exists and is not replaced" in anna.sends("/runs/r1/archive").text
    said = [record.getMessage() for record in caplog.records if "archive of run" in record.getMessage()]
    assert said[0] == "operator anna (at the dashboard): archive of run r1: done"
    assert said[1].startswith("operator anna (at the dashboard): archive of run r1: refused: ")
    for name in ("notes.txt", ".run", "R9.run"):  # somebody's own, beside the archives
        (bench.server.path / "archives" / name).write_text("not to be sent")
    for name in ("r2.run", "..%2Fserver.yaml", "identity.pem", "notes.txt", ".run", "R9.run"):
        assert anna.get(f"/archives/{name}").status_code == 404


def test_invitations_are_made_to_download(bench, caplog, monkeypatch):
    caplog.set_level("INFO")
    with acting(bench, tls={"ca": None}) as server, server.served() as url:
        anna, act = server.hand(url, "anna"), bench.submission()
        files = {"recipe": act.recipe.encode(), "roster": act.roster.encode()}
        reached = {"url": "https://sealora.example.org:9443"}
        one = anna.sends("/invite", files, names="site-1", **reached)
        assert one.headers["content-disposition"] == 'attachment; filename="site-1.invitation.json"'
        (bench.server.path / "one.json").write_bytes(one.content)
        assert Invitation.load(bench.server.path / "one.json").site == "site-1"
        three = anna.sends("/invite", files, names="", **reached)
        with zipfile.ZipFile(io.BytesIO(three.content)) as packed:
            assert sorted(packed.namelist()) == [f"site-{number}.invitation.json" for number in range(3)]
        for fields, said in (
            ({"names": "no/name"}, "no/name"),
            ({"names": "a, " * 101}, "invite 100 at once at most"),
            ({"url": "gopher://x"}, "--url: "),
        ):
            answer = anna.sends("/invite", files, **{**reached, **fields})
            assert (answer.status_code, said in answer.text) == (422, True), answer.text
        monkeypatch.setattr(doing, "_LONGEST_DOWNLOAD", 100)
        answer = anna.sends("/invite", files, names="site-1", **reached)
        assert (answer.status_code, "too large for one download" in answer.text) == (422, True)
    said = [record.getMessage() for record in caplog.records if "invitations: " in record.getMessage()]
    assert said[0] == "operator anna (at the dashboard): invitations: done"
    assert said[-1].startswith("operator anna (at the dashboard): invitations: refused: these invitations are too")


def test_who_does_not_know_the_token_reaches_nothing(dashboard, bench):
    server, url = dashboard
    server.hand(url, "anna").submits(bench)
    nobody = Hand(base_url=url, headers={"Origin": url})
    for path in OPERATORS_PAGES:
        assert nobody.get(path).status_code == 401
    for act in ACTS:
        assert nobody.post(f"/runs/r1/{act}", data={"csrf": "", "form": Forms.new()}).status_code == 401
    assert nobody.post("/submit", files={"recipe": b"x"}).status_code == 401
    assert len(server.asked) == 1


def test_a_reader_is_refused_every_act_and_every_page_of_one(dashboard, bench):
    server, url = dashboard
    server.hand(url, "anna").submits(bench)
    everybody = Hand(base_url=url, headers={"Origin": url}, follow_redirects=True)
    everybody.post("/login", data={"token": READER})
    for reader in (server.hand(url, "cara", Role.READER), everybody):
        for path in ("/", "/runs/r1"):
            shown = reader.get(path).text
            assert "running" in shown
            assert "/submit" not in shown
            assert "/acts" not in shown
        for path in OPERATORS_PAGES:
            assert reader.get(path).status_code == 403
        for act in ACTS:
            assert reader.sends(f"/runs/r1/{act}", digest="0" * 64, typed="r1").status_code == 403
        assert reader.submits(bench, "r2").status_code == 403
        assert reader.sends("/invite", {"recipe": b"x"}).status_code == 403
    assert (server.run().condition, len(server.asked)) == ("running", 1)


def test_an_operator_whose_token_is_taken_away_does_nothing_more(dashboard, bench):
    server, url = dashboard
    anna = server.hand(url, "anna")
    csrf = anna.csrf
    anna.submits(bench)
    server.persons.path(Role.OPERATOR, "anna").unlink()
    assert anna.post("/runs/r1/stop", data={"csrf": csrf, "form": Forms.new()}).status_code == 401
    assert server.run().condition == "running"


FORGED = {
    "no csrf": {"csrf": ""},
    "another's csrf": {"csrf": "0" * 64},
    "csrf that is no text of ours": {"csrf": "ä"},
    "no form": {"form": ""},
    "a form that is a path": {"form": "../../../../../../etc/passwd0000"},
}


@pytest.mark.parametrize("case", FORGED)
def test_a_form_that_no_page_of_the_session_holds_is_refused(dashboard, bench, case):
    server, url = dashboard
    anna = server.hand(url, "anna")
    anna.submits(bench)
    assert anna.sends("/runs/r1/stop", **FORGED[case]).status_code == 403
    assert anna.sends("/submit", {"recipe": b"x"}, **FORGED[case]).status_code == 403
    assert (server.run().condition, len(server.asked)) == ("running", 1)


STRANGERS = {
    "another site's": {"Origin": "https://evil.example.org"},
    "a frame's": {"Origin": "null"},
    "another port's": {"Origin": "http://127.0.0.1:1"},
    "the same by another scheme": {"Origin": "https://{host}"},
    "the same, says it, and a browser says otherwise": {"Origin": "http://{host}", "Sec-Fetch-Site": "cross-site"},
}


@pytest.mark.parametrize("case", STRANGERS)
def test_what_another_origin_s_page_sends_is_refused_even_with_csrf(dashboard, bench, case):
    server, url = dashboard
    anna = server.hand(url, "anna")
    anna.submits(bench)
    csrf = anna.csrf
    headers = {name: value.format(host=url.partition("//")[2]) for name, value in STRANGERS[case].items()}
    answer = anna.post("/runs/r1/stop", data={"csrf": csrf, "form": Forms.new()}, headers=headers)
    assert answer.status_code == 403
    assert server.run().condition == "running"


def test_a_form_that_is_sent_again_tells_what_came_of_it_and_does_nothing(dashboard, bench):
    server, url = dashboard
    anna = server.hand(url, "anna")
    anna.submits(bench)
    form = Forms.new()
    for _ in range(3):
        assert "run r1: stopped" in anna.sends("/runs/r1/stop", form=form).text
    anna.sends("/runs/r1/resume")
    assert "run r1: stopped" in anna.sends("/runs/r1/stop", form=form).text
    assert server.run().condition == "running"


def test_a_form_of_one_session_is_nothing_in_another(dashboard, bench):
    server, url = dashboard
    anna, bert, again = (server.hand(url, name) for name in ("anna", "bert", "anna"))
    anna.submits(bench)
    for other in (bert, again):
        assert other.sends("/runs/r1/stop", csrf=anna.csrf).status_code == 403
    assert server.run().condition == "running"


def test_one_cannot_approve_what_one_submitted_by_hand_either(demanding, bench):
    server, url = demanding
    anna, bert = (server.hand(url, name) for name in ("anna", "bert"))
    anna.submits(bench)
    digest = server.run().approval.digest
    assert "anna asked for it: another person must approve it" in anna.sends("/runs/r1/approve", digest=digest).text
    for wrong in ("", "0" * 64):
        assert bert.sends("/runs/r1/approve", digest=wrong).status_code in (403, 422)
    assert (server.run().condition, bench.processes) == ("unapproved", [])
    assert "run r1: approved" in bert.sends("/runs/r1/approve", digest=digest).text
    assert server.run().condition == "running"


def test_what_was_swapped_after_it_was_looked_at_is_not_approved(demanding, bench):
    server, url = demanding
    anna, bert = (server.hand(url, name) for name in ("anna", "bert"))
    anna.submits(bench)
    looked_at = server.run().approval.digest
    assert looked_at in bert.get("/runs/r1/approval").text
    anna.sends("/runs/r1/stop")
    anna.sends("/runs/r1/delete", typed="r1")
    anna.submits(bench, recipe=RECIPE.model_copy(update={"rounds": 9}))
    answer = bert.sends("/runs/r1/approve", digest=looked_at)
    assert (answer.status_code, "is not what was looked at" in answer.text) == (422, True)
    assert (server.run().condition, bench.processes) == ("unapproved", [])


def test_all_of_what_is_to_be_approved_is_shown(demanding, bench):
    server, url = demanding
    anna, bert = (server.hand(url, name) for name in ("anna", "bert"))
    long = RECIPE.data.model_copy(update={"system_prompt": "Be kind. " * 1000})
    anna.submits(bench, recipe=RECIPE.model_copy(update={"data": long}))
    shown = bert.get("/runs/r1/approval").text
    text = html.unescape(shown.split("<pre>")[1].split("</pre>")[0])
    assert len(text) > 9000
    assert text == (bench.server.runs / "r1" / "recipe.yaml").read_text()


def test_all_sites_of_what_is_to_be_approved_are_shown():
    names = [f"hospital-number-{number}" for number in range(1000)]
    shown = Pages("sealora_server.dashboard", "test").text(
        "approval.html.j2",
        session=Session(Role.OPERATOR, "bert"),
        run=SimpleNamespace(name="r1"),
        approval=SimpleNamespace(asked_by="anna", asked_at="2030-01-01T00:00:00Z", digest="0" * 64),
        recipe=RECIPE,
        text="",
        roster=SimpleNamespace(names=names, consortium="c", sequence=1, fingerprint="f"),
        may_approve=True,
        new_form=Forms.new,
    )
    assert ", ".join(names) in shown


def test_what_is_shown_is_what_is_approved(demanding, bench):
    server, url = demanding
    anna, bert = (server.hand(url, name) for name in ("anna", "bert"))
    anna.submits(bench)
    harmless = bench.submission(recipe=RECIPE.model_copy(update={"rounds": 9})).recipe
    path = bench.server.runs / "r1" / "recipe.yaml"
    was = path.read_text()
    path.write_text(harmless)  # as by a deletion and another submission between two looks
    answer = bert.get("/runs/r1/approval")
    assert (answer.status_code, "is not what waits for approval" in answer.text) == (422, True)
    path.write_text(was)
    assert bert.get("/runs/r1/approval").status_code == 200


def test_of_several_who_approve_at_once_one_does(demanding, bench):
    server, url = demanding
    server.hand(url, "anna").submits(bench)
    digest = server.run().approval.digest
    hands = [server.hand(url, name) for name in ("bert", "dora", "emil")]
    said = []
    threads = [
        threading.Thread(target=lambda hand=hand: said.append(hand.sends("/runs/r1/approve", digest=digest).text))
        for hand in hands
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("run r1: approved" in text for text in said) == 1
    assert sum("nothing of it waits for approval" in text for text in said) == 2
    assert len(bench.processes) == 1


def test_a_huge_upload_is_taken_of_nobody_and_of_an_operator_up_to_a_bound(dashboard):
    server, url = dashboard
    anna, cara = server.hand(url, "anna"), server.hand(url, "cara", Role.READER)
    huge = {"recipe": b"x" * (300 * 2**10)}
    nobody = Hand(base_url=url, headers={"Origin": url})
    assert nobody.post("/submit", files=huge).status_code == 413
    assert cara.sends("/submit", huge).status_code == 413
    assert anna.sends("/submit", huge).status_code == 422
    assert anna.sends("/runs/r1/stop", huge).status_code == 413
    assert anna.sends("/submit", {"recipe": b"x" * LONGEST_UPLOAD}).status_code == 413


def test_a_cookie_that_somebody_else_chose_is_never_a_session(dashboard):
    server, url = dashboard
    chosen = "chosen-by-a-stranger"
    victim = Hand(base_url=url, headers={"Origin": url}, cookies={"sealora-test": chosen})
    answer = victim.post("/login", data={"token": server.token("anna")})
    assert answer.status_code == 303
    assert chosen not in answer.headers["set-cookie"]
    stranger = Hand(base_url=url, headers={"Origin": url}, cookies={"sealora-test": chosen})
    assert stranger.get("/").status_code == 401


def test_who_guesses_tokens_is_slowed_down_and_bounded(dashboard):
    server, url = dashboard
    said = []

    def guess() -> None:
        hand = Hand(base_url=url, headers={"Origin": url}, timeout=30)
        said.append(hand.post("/login", data={"token": "0" * 64}).status_code)

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(said) == {403, 429}
    assert said.count(403) <= 8
    assert server.hand(url, "anna").get("/submit").status_code == 200


def test_an_open_page_of_a_run_that_is_deleted_says_so(dashboard, bench, monkeypatch):
    monkeypatch.setattr("sealora_server.dashboard.watched._LOOK_SECONDS", 0.0)
    server, url = dashboard
    anna, bert = (server.hand(url, name) for name in ("anna", "bert"))
    anna.submits(bench)
    with bert.stream("GET", "/runs/r1/events") as stream:
        told = (json.loads(line.removeprefix("data: ")) for line in stream.iter_lines() if line.startswith("data: {"))
        assert "running" in next(told)["now"]
        anna.sends("/runs/r1/stop")
        anna.sends("/runs/r1/delete", typed="r1")
        gone = next(parts for parts in told if "it was deleted" in parts.get("now", ""))
        assert gone["sites"] == ""
