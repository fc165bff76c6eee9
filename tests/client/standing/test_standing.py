"""`sealora-site status`: what a site's operator reads at one glance, of a site at rest, at work, and at fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from joining_bench import Joining
from sealora_client.cli import cli
from sealora_client.prometheus import SiteMetrics
from sealora_client.site.process_lock import LOCK, only_process
from sealora_common.errors import PolicyError
from sealora_common.health.http_server import HealthServer
from sealora_common.health.status import Health
from sealora_common.storage.lock import is_locked, locked


@pytest.fixture(scope="module")
def joined(tmp_path_factory) -> Path:
    """The directory of a site that has joined and never run."""
    from sealora_client.joining.in_place import put_in_place
    from sealora_common.invitation import Invitation

    joining = Joining(tmp_path_factory.mktemp("joined"))
    joining.until_signed()
    invitation = Invitation.load(joining.invitation("berlin"))
    assert invitation.roster is not None
    put_in_place(joining.directory("berlin"), invitation, invitation.roster)
    return joining.directory("berlin")


@pytest.fixture
def site(joined, tmp_path) -> Path:
    """A copy of it, whose probes are at no port of anybody's."""
    directory = tmp_path / "berlin"
    directory.mkdir(mode=0o700)
    for file in joined.iterdir():
        (directory / file.name).write_bytes(file.read_bytes())
    return directory


def told(directory: Path) -> tuple[int, dict[str, list[str]]]:
    """Exit code, and the sentences by their word."""
    result = CliRunner().invoke(cli, ["status", str(directory)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    words: dict[str, list[str]] = {}
    for line in result.output.splitlines():
        words.setdefault(line[:11].strip(), []).append(line[12:])
    return result.exit_code, words


def test_a_site_that_has_joined_and_does_not_run_is_told_to(site):
    code, words = told(site)
    assert (code, words["site"], words["run"]) == (1, ["berlin, not running"], ["none yet"])
    assert words["to do"] == [f"the site does not run: `sealora-site run --config {site / 'site.yaml'}`"]
    assert words["spent"] == ["epsilon 0.00 of 4 at delta 0.0001"]
    assert words["left"] == ["epsilon 4.00; by data set and charge: `sealora-site budget`"]


def test_looking_writes_nothing(site):
    before = {path.name: path.read_bytes() for path in site.iterdir()}
    told(site)
    assert {path.name: path.read_bytes() for path in site.iterdir()} == before


@pytest.fixture
def at_work(site):
    """The site with a process, its lock and its probes; `say(part, ok, said)` changes what it tells."""
    health = Health("server", "site")
    with only_process(site), HealthServer("127.0.0.1:0", health, SiteMetrics("berlin").registry) as server:
        text = (site / "site.yaml").read_text().replace("127.0.0.1:9181", f"127.0.0.1:{server.address[1]}")
        (site / "site.yaml").write_text(text)
        yield health.report


def test_a_site_at_work_tells_of_itself_and_leaves_nothing_to_do(site, at_work):
    at_work("server", True, "connected to https://localhost:9443")
    at_work("site", True, "model and records are loaded")
    code, words = told(site)
    assert (code, words["site"], words["to do"]) == (0, ["berlin, running"], ["nothing"])
    assert words["server"] == ["well: connected to https://localhost:9443"]
    assert words["model, data"] == ["well: model and records are loaded"]


def test_what_is_not_well_is_to_do(site, at_work):
    at_work("site", True, "model and records are loaded")
    at_work("server", False, "https://localhost:9443 cannot be reached: check the network")
    code, words = told(site)
    assert code == 1
    assert words["server"] == ["NOT WELL: https://localhost:9443 cannot be reached: check the network"]
    assert words["to do"] == ["server: https://localhost:9443 cannot be reached: check the network"]


def test_another_site_s_probes_are_not_taken_for_this_one_s(site):
    health = Health("server")
    health.report("server", True, "connected")
    with only_process(site), HealthServer("127.0.0.1:0", health, SiteMetrics("lyon").registry) as server:
        text = (site / "site.yaml").read_text().replace("127.0.0.1:9181", f"127.0.0.1:{server.address[1]}")
        (site / "site.yaml").write_text(text)
        _, words = told(site)
    assert words["server"] == ["not known: the site's probes (`health` in site.yaml) do not answer here"]


FAULTS = {
    "no roster": (lambda d: (d / "roster.json").unlink(), r"roster.json: the roster cannot be read"),
    "no recipe": (lambda d: (d / "recipe.yaml").unlink(), r"recipe.yaml: no such recipe"),
    "no policy": (lambda d: (d / "policy.yaml").unlink(), r"policy.yaml: the site has no policy"),
    "a policy that refuses": (
        lambda d: (d / "policy.yaml").write_text("epsilon_limit: 9\ndelta_limit: 1.0e-9\n"),
        "policy.yaml: delta_limit is 1e-09, but the recipe's privacy.delta is 0.0001: agree on another recipe",
    ),
    "a ledger that is none": (lambda d: (d / "ledger.sqlite").write_text("no"), "ledger.sqlite"),
}


@pytest.mark.parametrize(("fault", "said"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_with_a_file_is_to_do_and_the_rest_is_told(site, fault, said):
    fault(site)
    code, words = told(site)
    assert code == 1
    assert any(said in line for line in words["to do"]), words["to do"]
    assert words["site"] == ["berlin, not running"]


def test_where_there_is_no_site_it_says_so(tmp_path):
    with pytest.raises(PolicyError, match=r"site\.yaml: no such file: is this a site's directory"):
        told(tmp_path)


def test_as_json_it_is_one_object(site):
    result = CliRunner().invoke(cli, ["status", str(site), "--json"])
    found = json.loads(result.output)
    assert (found["site"], found["running"], found["run"], found["epsilon_limit"]) == ("berlin", False, None, 4.0)


def test_a_lock_is_seen_and_neither_made_nor_kept(tmp_path):
    path = tmp_path / LOCK
    assert not is_locked(path)
    assert not path.exists()
    with locked(path):
        assert is_locked(path)
    assert not is_locked(path)
    with locked(path):
        pass
