"""What operators do at the dashboard, in a real browser, on a server's real operations."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from acting import acting, served

from sealora_common.invitation import Invitation
from sealora_common.web.sessions import Role
from sealora_server.upkeep.archived_run import verified

from browser import assert_fits, axe
from run_host import RECIPE


@pytest.fixture
def dashboard(bench):
    """A server and the URL of its dashboard."""
    with acting(bench) as found, served(found.app()) as url:
        yield found, url


@pytest.fixture
def files(bench, tmp_path):
    """Recipe and roster as an operator has them."""
    recipe, roster = tmp_path / "my-recipe.yaml", tmp_path / "my-roster.json"
    recipe.write_text(yaml.safe_dump(RECIPE.model_dump(mode="json")))
    bench.federation.roster.save(roster)
    return recipe, roster


def log_in(visitor, url, token):
    page = visitor.open(f"{url}/login")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{url}/")
    return page


def submit(page, url, files, name="r1"):
    page.goto(f"{url}/submit")
    page.get_by_label("Recipe (YAML)").set_input_files(files[0])
    page.get_by_label("Roster").set_input_files(files[1])
    page.get_by_label("The run's name").fill(name)
    page.get_by_role("button", name="Submit").click()
    return page.locator("main").inner_text()


def test_an_operator_submits_stops_resumes_archives_and_deletes(visitor, dashboard, files, bench, tmp_path):
    server, url = dashboard
    page = log_in(visitor, url, server.token("anna"))
    assert f"run r1: submitted. Its recipe hash, which every site must have: {RECIPE.hash}" in submit(page, url, files)
    assert server.run().condition == "running"
    page.get_by_role("link", name="Go on").click()
    page.get_by_role("link", name="Stop, resume").click()
    page.get_by_role("button", name="Stop").click()
    assert page.get_by_role("status").inner_text() == "run r1: stopped"
    assert server.run().condition == "stopped"
    axe(page)
    page.reload()  # which sends nothing again
    assert page.get_by_role("status").inner_text() == "run r1: stopped"
    page.goto(f"{url}/runs/r1/acts")
    page.get_by_role("button", name="Resume").click()
    assert server.run().condition == "running"
    page.goto(f"{url}/runs/r1/acts")
    page.get_by_role("button", name="Stop").click()
    page.goto(f"{url}/runs/r1/acts")
    page.get_by_role("button", name="Archive").click()
    archived = bench.server.path / "archives" / "r1.run"
    assert page.get_by_role("status").inner_text().startswith(f"{archived}: run r1, not finished, 0 rounds; signed by")
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download it").click()
    downloading.value.save_as(tmp_path / "kept.run")
    assert verified(tmp_path / "kept.run").name == "r1"
    page.goto(f"{url}/runs/r1/acts")
    page.get_by_role("link", name="Delete").click()
    axe(page)
    page.get_by_label("The run's name, to delete it").fill("r2")
    visitor.expects("422")
    page.get_by_role("button", name="Delete").click()
    assert page.get_by_role("alert").inner_text() == "run r1 was not deleted: another name was given"
    page.goto(f"{url}/runs/r1/delete")
    page.get_by_label("The run's name, to delete it").fill("r1")
    page.get_by_role("button", name="Delete").click()
    assert page.get_by_role("status").inner_text() == "run r1: deleted"
    assert server.status().runs == ()
    assert {person.name for _, person in server.asked} == {"anna"}


def test_what_is_refused_is_the_server_s_own_sentence(visitor, dashboard, files, tmp_path):
    server, url = dashboard
    page = log_in(visitor, url, server.token("anna"))
    submit(page, url, files)
    visitor.expects("422")
    assert "exists: give this run another name with --name" in submit(page, url, files)
    wrong = tmp_path / "wrong.json"
    wrong.write_bytes(b"\xff{}")
    assert "the roster is no text in UTF-8: choose another file" in submit(page, url, (files[0], wrong), "r2")
    wrong.write_text("{}")
    assert "not a roster: ask the coordinator for it" in submit(page, url, (files[0], wrong), "r2")
    wrong.write_text("rounds: [")
    assert "recipe, line 1" in submit(page, url, (wrong, files[1]), "r2")
    assert [run.name for run in server.status().runs] == ["r1"]


def test_a_second_person_approves_what_one_submits(visitor, bench, files):
    with acting(bench, approval={"required": True}) as server, served(server.app()) as url:
        anna, bert = (log_in(visitor, url, server.token(name)) for name in ("anna", "bert"))
        submit(anna, url, files)
        anna.goto(f"{url}/runs/r1")
        assert "It waits for another person's approval" in anna.locator("main").inner_text()
        anna.goto(f"{url}/runs/r1/acts")
        anna.get_by_role("link", name="Look at what waits for approval").click()
        assert "You asked for it, so another person must approve it." in anna.locator("main").inner_text()
        assert anna.get_by_role("button", name="Approve").count() == 0
        bert.goto(f"{url}/runs/r1/approval")
        shown = bert.locator("main").inner_text()
        assert "anna asked for it" in shown
        assert RECIPE.hash in shown
        assert bench.federation.roster.fingerprint in shown
        assert "rounds: " in shown
        axe(bert)
        assert_fits(bert)
        assert bench.processes == []
        bert.get_by_role("button", name="Approve").click()
        assert bert.get_by_role("status").inner_text() == "run r1: approved; it begins when its turn has come"
        told = server.run()
        assert (told.condition, told.approval.asked_by, told.approval.approved_by) == ("running", "anna", "bert")


def test_what_another_refuses_does_not_run(visitor, bench, files):
    with acting(bench, approval={"required": True}) as server, served(server.app()) as url:
        anna, bert = (log_in(visitor, url, server.token(name)) for name in ("anna", "bert"))
        submit(anna, url, files)
        bert.goto(f"{url}/runs/r1/approval")
        bert.get_by_role("button", name="Refuse").click()
        assert server.run().said == "bert refused to approve it"
        assert bench.processes == []


def test_what_was_looked_at_is_what_is_approved(visitor, bench, files):
    with acting(bench, approval={"required": True}) as server, served(server.app()) as url:
        anna, bert = (log_in(visitor, url, server.token(name)) for name in ("anna", "bert"))
        submit(anna, url, files)
        bert.goto(f"{url}/runs/r1/approval")
        anna.goto(f"{url}/runs/r1/acts")
        anna.get_by_role("button", name="Take back").click()
        anna.goto(f"{url}/runs/r1/delete")
        anna.get_by_label("The run's name, to delete it").fill("r1")
        anna.get_by_role("button", name="Delete").click()
        files[0].write_text(yaml.safe_dump(RECIPE.model_copy(update={"rounds": 9}).model_dump(mode="json")))
        submit(anna, url, files)
        visitor.expects("422")
        bert.get_by_role("button", name="Approve").click()
        assert "is not what was looked at" in bert.get_by_role("alert").inner_text()
        assert server.run().condition == "unapproved"


def test_a_double_click_submits_once_and_shows_what_came_of_it(visitor, dashboard, files):
    server, url = dashboard
    page = log_in(visitor, url, server.token("anna"))
    page.goto(f"{url}/submit")
    page.get_by_label("Recipe (YAML)").set_input_files(files[0])
    page.get_by_label("Roster").set_input_files(files[1])
    page.get_by_role("button", name="Submit").dblclick()
    page.wait_for_url(f"{url}/done/*")
    assert "submitted. Its recipe hash" in page.get_by_role("status").inner_text()
    assert [type(act).__name__ for act, _ in server.asked] == ["Submit"]
    sent = page.url.rpartition("/")[2]
    csrf = page.locator("input[name=csrf]").first.get_attribute("value")
    again = """([csrf, form]) => {
        const body = new FormData();
        for (const [name, value] of Object.entries({csrf, form, name: "r2"})) { body.append(name, value); }
        return fetch("/submit", {method: "POST", body}).then(answer => answer.url);
    }"""
    assert page.evaluate(again, [csrf, sent]) == page.url
    assert [type(act).__name__ for act, _ in server.asked] == ["Submit"]


def test_an_operator_makes_invitations_to_download(visitor, dashboard, files, bench, tmp_path):
    server, url = dashboard
    page = log_in(visitor, url, server.token("anna"))

    def invite(names):
        page.goto(f"{url}/invite")
        page.get_by_label("Recipe (YAML)").set_input_files(files[0])
        page.get_by_label("The coordinator's roster").set_input_files(files[1])
        page.get_by_label("Sites, if not all").fill(names)
        page.get_by_label("Where sites reach the server").fill("https://sealora.example.org:9443")

    invite("site-1")
    (bench.server.path / "tls").mkdir()
    with contextlib.ExitStack() as stack:
        bench.server.config_file.write_text(bench.server.config_file.read_text() + "tls: {ca: null}\n")
        bench.server.__dict__.pop("config", None)
        downloading = stack.enter_context(page.expect_download())
        page.get_by_role("button", name="Make the invitations").click()
    downloading.value.save_as(tmp_path / "one.json")
    assert downloading.value.suggested_filename == "site-1.invitation.json"
    assert Invitation.load(tmp_path / "one.json").site == "site-1"
    invite("")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Make the invitations").click()
    assert downloading.value.suggested_filename == "invitations.zip"
    visitor.expects("422")
    invite("no/name")
    page.get_by_role("button", name="Make the invitations").click()
    assert page.get_by_role("alert").is_visible()


def test_a_reader_sees_no_button_and_is_refused_what_it_sends_by_hand(visitor, dashboard, files, bench):
    server, url = dashboard
    submit(log_in(visitor, url, server.token("anna")), url, files)
    page = log_in(visitor, url, server.token("cara", Role.READER))
    for path in ("/", "/runs/r1"):
        page.goto(f"{url}{path}")
        assert "running" in page.locator("main").inner_text()
        assert page.locator("main form, main a.button").count() == 0
    csrf = page.locator("input[name=csrf]").first.get_attribute("value")
    visitor.expects("403")
    for path in ("/submit", "/invite", "/runs/r1/acts", "/runs/r1/delete", "/runs/r1/approval", "/archives/r1.run"):
        assert page.evaluate("path => fetch(path).then(answer => answer.status)", path) == 403
    posted = """([path, csrf]) => fetch(path, {method: "POST", body: new URLSearchParams(
        {csrf, form: "0".repeat(32), digest: "0".repeat(64), typed: "r1"})}).then(answer => answer.status)"""
    acts = ("stop", "resume", "refuse", "approve", "archive", "delete")
    for path in (*(f"/runs/r1/{act}" for act in acts), "/submit", "/invite"):
        assert page.evaluate(posted, [path, csrf]) == 403
    assert server.run().condition == "running"
    assert len(server.asked) == 1


def test_a_form_of_another_site_s_page_is_refused_whatever_it_knows(visitor, dashboard, files):
    server, url = dashboard
    page = log_in(visitor, url, server.token("anna"))
    submit(page, url, files)
    csrf = page.locator("input[name=csrf]").first.get_attribute("value")
    fields = f'<input name="csrf" value="{csrf}"><input name="form" value="{"0" * 32}">'
    html = f'<!doctype html><form method="post" action="{url}/runs/r1/stop">{fields}<button>Win</button></form>'
    visitor.expects("40")
    with stranger(html) as elsewhere:
        other = visitor.open(elsewhere, context=page.context)
        other.get_by_role("button", name="Win").click()
        other.wait_for_url(f"{url}/runs/r1/stop")
        assert "This was not sent by a page of this server" in other.locator("body").inner_text()
    assert server.run().condition == "running"


FORGED = {
    "no csrf": {"csrf": ""},
    "another's csrf": {"csrf": "0" * 64},
    "no form": {"form": ""},
    "a form that is a path": {"form": "../../../../../../etc/passwd0000"},
}


def test_a_form_that_no_page_of_the_session_holds_is_refused(visitor, dashboard, files):
    server, url = dashboard
    page = log_in(visitor, url, server.token("anna"))
    submit(page, url, files)
    csrf = page.locator("input[name=csrf]").first.get_attribute("value")
    visitor.expects("403")
    posted = "fields => fetch('/runs/r1/stop', {method: 'POST', body: new URLSearchParams(fields)}).then(a => a.status)"
    for changes in FORGED.values():
        assert page.evaluate(posted, {"csrf": csrf, "form": "0" * 32, **changes}) == 403
    assert server.run().condition == "running"


@contextlib.contextmanager
def stranger(html):
    """The URL of a page of somebody else's, on another site as browsers tell sites apart."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
