"""What operators do at the dashboard, in a real browser, on a server's real operations."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from acting import acting

from sealora_common.web.sessions import Role
from sealora_server.upkeep.archived_run import verified

from browser import assert_fits, axe
from run_host import RECIPE


@pytest.fixture
def dashboard(bench):
    """A server and the URL of its dashboard."""
    with acting(bench) as found, found.served() as url:
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


def fill(page, url, files, name="r1"):
    page.goto(f"{url}/submit")
    page.get_by_label("Recipe (YAML)").set_input_files(files[0])
    page.get_by_label("Roster").set_input_files(files[1])
    page.get_by_label("The run's name").fill(name)


def test_an_operator_submits_stops_resumes_archives_and_deletes(visitor, dashboard, files, bench, tmp_path):
    server, url = dashboard
    page = log_in(visitor, url, server.token("anna"))
    page.get_by_role("link", name="Submit a run").click()
    axe(page)
    fill(page, url, files)
    page.get_by_role("button", name="Submit").dblclick()
    page.wait_for_url(f"{url}/done/*")
    said = f"run r1: submitted. Its recipe hash, which every site must have: {RECIPE.hash}"
    assert page.get_by_role("status").inner_text() == said
    assert [type(act).__name__ for act, _ in server.asked] == ["Submit"]  # a double click did it once
    page.get_by_role("link", name="Go on").click()
    page.get_by_role("link", name="Stop, resume").click()
    axe(page)
    page.get_by_role("button", name="Stop").click()
    assert page.get_by_role("status").inner_text() == "run r1: stopped"
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
    page.goto(f"{url}/runs/r1/delete")
    axe(page)
    page.get_by_label("The run's name, to delete it").fill("r1")
    page.get_by_role("button", name="Delete").click()
    assert page.get_by_role("status").inner_text() == "run r1: deleted"
    assert server.status().runs == ()
    assert {person.name for _, person in server.asked} == {"anna"}


def test_a_second_person_approves_what_one_submits(visitor, bench, files):
    with acting(bench, approval={"required": True}) as server, server.served() as url:
        anna = log_in(visitor, url, server.token("anna"))
        fill(anna, url, files)
        anna.get_by_role("button", name="Submit").click()
        anna.goto(f"{url}/runs/r1")
        assert "It waits for another person's approval" in anna.locator("main").inner_text()
        anna.goto(f"{url}/runs/r1/approval")
        assert "You asked for it, so another person must approve it." in anna.locator("main").inner_text()
        assert anna.get_by_role("button", name="Approve").count() == 0
        bert = log_in(visitor, url, server.token("bert"))
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


@pytest.mark.slow
def test_a_reader_sees_no_button(visitor, dashboard, bench):
    server, url = dashboard
    server.hand(url, "anna").submits(bench)
    page = log_in(visitor, url, server.token("cara", Role.READER))
    for path in ("/", "/runs/r1"):
        page.goto(f"{url}{path}")
        assert "running" in page.locator("main").inner_text()
        assert page.locator("main form, main a.button").count() == 0


@pytest.mark.slow
def test_an_operator_makes_an_invitation_to_download(visitor, bench, files, tmp_path):
    with acting(bench, tls={"ca": None}) as server, server.served() as url:
        page = log_in(visitor, url, server.token("anna"))
        page.get_by_role("link", name="Invite sites").click()
        axe(page)
        page.get_by_label("Recipe (YAML)").set_input_files(files[0])
        page.get_by_label("The coordinator's roster").set_input_files(files[1])
        page.get_by_label("Sites, if not all").fill("site-1")
        with page.expect_download() as downloading:
            page.get_by_role("button", name="Make the invitations").click()
        assert downloading.value.suggested_filename == "site-1.invitation.json"


@pytest.mark.slow
def test_a_form_of_another_site_s_page_is_refused_whatever_it_knows(visitor, dashboard, bench):
    server, url = dashboard
    server.hand(url, "anna").submits(bench)
    page = log_in(visitor, url, server.token("anna"))
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
