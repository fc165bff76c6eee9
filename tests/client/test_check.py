"""`sealora-site check`: a site in order passes, and whatever is wrong is said in one line with what to do."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from enrolled_site import EnrolledSite
from fleet_server import FleetServer
from typer.testing import CliRunner

from certificates import Authority
from handshakes import needs_hybrid
from sealora_client.check import dry_run as dry_run_module
from sealora_client.check import machine as machine_module
from sealora_client.check.dry_run import DryRun
from sealora_client.check.workload import Workload
from sealora_client.cli import cli
from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.fleet import connection as connection_module
from sealora_client.fleet.node_key import load_node_key
from sealora_client.ledger import Ledger
from sealora_client.model.adapted import adapted_model
from sealora_client.site.directory import Site
from sealora_client.site.seen_rosters import SEEN, remember_roster
from sealora_client.training.gradients import batch_invariance
from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity
from sealora_common.identity.card import create_node_key
from sealora_common.privacy.accounting import PrivacyEvent

from pure_sites import pure_recipe

Finding = dict[str, str]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[FleetServer]:
    with FleetServer(keyed=True, tls=authority.issue()) as running:
        yield running


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Callable[..., Path], server: FleetServer, authority: Authority
) -> EnrolledSite:
    site = EnrolledSite(tmp_path_factory.mktemp("site"), tiny_base(), server.address)
    site.configure(ca=str(authority.ca))
    server.register(load_node_key(site.directory / "node.key"))
    return site


@pytest.fixture
def site(template: EnrolledSite, tmp_path: Path) -> Iterator[EnrolledSite]:
    """A copy that a test may spoil."""
    original = template.directory
    template.directory = tmp_path / "site"
    shutil.copytree(original, template.directory)
    yield template
    template.directory = original


def check(site: EnrolledSite, *options: str) -> tuple[int, list[Finding]]:
    result = CliRunner().invoke(cli, ["check", "--config", str(site.config), "--json", *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    told = json.loads(result.stdout)
    assert told["ok"] == (result.exit_code == 0)
    assert all(set(finding) == {"check", "status", "said"} for finding in told["checks"])
    assert all("\n" not in finding["said"] for finding in told["checks"])
    return result.exit_code, told["checks"]


def not_passed(site: EnrolledSite, *options: str) -> list[tuple[str, str, str]]:
    code, findings = check(site, *options)
    left = [(each["status"], each["check"], each["said"]) for each in findings if each["status"] != "pass"]
    assert code == any(status == "fail" for status, _, _ in left)
    return left


def test_a_site_in_order_passes_every_check(site: EnrolledSite, server: FleetServer) -> None:
    code, findings = check(site)
    assert [finding for finding in findings if finding["status"] != "pass"] == []
    assert code == 0
    assert [finding["check"] for finding in findings] == [
        "site.yaml", "recipe", "roster", "policy", "disk", "server", "certificate", "tls", "clock", "node key",
        "privacy", "privacy", "privacy", "base model", "device", "memory", "records", "memory", "time",
    ]  # fmt: skip
    said = {finding["check"]: finding["said"] for finding in findings}
    assert said["privacy"].endswith(": one run in this data's lifetime")
    assert site.roster.fingerprint in said["roster"]
    assert re.match(r"TLSv1\.3, TLS_\w+, key exchange X25519", said["tls"])
    assert said["records"].startswith("24 to train on, 4 held out, 0 (0.0%) cut")
    assert re.match(r"a round takes about [\d.]+ s here, all 2 about [\d.]+ s", said["time"])


def test_it_says_the_same_to_a_person(site: EnrolledSite) -> None:
    result = CliRunner().invoke(cli, ["check", "--config", str(site.config), "--quick"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "pass  site.yaml    site site-0"
    assert result.stdout.splitlines()[-1] == "This site can take part."
    site.configure(server=None)
    result = CliRunner().invoke(cli, ["check", "--config", str(site.config), "--quick"])
    assert result.exit_code == 1
    assert "fail  server       site.yaml names none: add `server: https://host:port`" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 of 12 checks failed."


def test_it_charges_nothing_and_opens_no_session(site: EnrolledSite, server: FleetServer) -> None:
    check(site)
    with Ledger(site.directory / "ledger.sqlite") as ledger:
        assert ledger.charges() == []
    node = server.node_of(load_node_key(site.directory / "node.key"))
    assert node is not None
    assert server.status_of(node) == "registered"


def test_a_site_that_is_at_work_is_not_disturbed(site: EnrolledSite, server: FleetServer) -> None:
    node = server.node_of(load_node_key(site.directory / "node.key"))
    assert node is not None
    server.state.activate_node(node, 30)
    try:
        assert not_passed(site, "--quick") == []
        assert server.status_of(node) == "online"
    finally:
        server.state.deactivate_node(node)


# The site's own files


def remove(name: str) -> Callable[[EnrolledSite], None]:
    return lambda site: (site.directory / name).unlink()


def spoil(name: str, content: bytes = b"\xff{") -> Callable[[EnrolledSite], None]:
    def spoiled(site: EnrolledSite) -> None:
        (site.directory / name).write_bytes(content)

    return spoiled


def expose(name: str) -> Callable[[EnrolledSite], None]:
    return lambda site: (site.directory / name).chmod(0o644)


def another_identity(site: EnrolledSite) -> None:
    Identity.create("site-0", SystemEntropy()).save(site.directory / "identity.pem")


def another_node_key(site: EnrolledSite) -> None:
    create_node_key(site.directory / "node.key")


def another_coordinator(site: EnrolledSite) -> None:
    site.configure(coordinator="ab" * 32)


def struck_off(site: EnrolledSite) -> None:
    roster = site.roster
    site.sign(roster.model_copy(update={"members": roster.members[1:]}))


def no_server_key(site: EnrolledSite) -> None:
    site.sign(site.roster.model_copy(update={"server": None}))


def forged(site: EnrolledSite) -> None:
    path = site.directory / "roster.json"
    path.write_text(path.read_text().replace("simulation of tiny", "simulation of tony"))


def expired(site: EnrolledSite) -> None:
    roster = site.roster.draft().signed(site.coordinator, at=datetime(2020, 1, 1, tzinfo=UTC))
    roster.save(site.directory / "roster.json")


def two_faces(site: EnrolledSite) -> None:
    used = site.roster.model_copy(update={"consortium": "another"}).signed(site.coordinator)
    remember_roster(site.directory, used)


def older(site: EnrolledSite) -> None:
    remember_roster(site.directory, site.roster.draft().signed(site.coordinator))


def of_before(site: EnrolledSite) -> None:
    value = json.loads((site.directory / "roster.json").read_text())
    del value["version"]
    (site.directory / "roster.json").write_text(json.dumps(value))


AGREEMENT = {
    "an expired roster": (expired, "roster", r"the roster expired 2020-12-31T00:00:00Z: have the coordinator sign"),
    "another roster of the number used": (two_faces, "roster", r"two faces: this roster is number"),
    "a roster older than the one used": (older, "roster", r"number \d, and number \d has been used here: it is out of"),
    "a roster of an earlier version": (
        of_before,
        "roster",
        r"a roster of version 1, from an earlier Sealora",
    ),
    "no identity": (remove("identity.pem"), "identity", r"the private key is missing: restore it"),
    "an identity that others read": (expose("identity.pem"), "identity", r"others can read .*: chmod 600"),
    "another identity": (another_identity, "roster", r"the signing key it lists .* is another: send the coordinator"),
    "no node key": (remove("node.key"), "node key", r"the node key is missing: restore it"),
    "another node key": (another_node_key, "roster", r"the node key it lists .* is another: send the coordinator"),
    "no recipe": (remove("recipe.yaml"), "recipe", r"no such recipe"),
    "a damaged recipe": (spoil("recipe.yaml"), "recipe", r"cannot be read"),
    "no roster": (remove("roster.json"), "roster", r"cannot be read .*: ask the coordinator for it"),
    "a damaged roster": (spoil("roster.json"), "roster", r"not a roster .*: ask the coordinator for it"),
    "a forged roster": (forged, "roster", r"signature does not hold: do not use this roster"),
    "another coordinator": (another_coordinator, "roster", r"signed by another coordinator than the one pinned here"),
    "a roster without this site": (
        struck_off,
        "roster",
        r"'site-0' is not on it: send the coordinator this site's card",
    ),
    "a roster without the server's key": (no_server_key, "roster", r"names no server key, .*: have the coordinator"),
    "no policy": (remove("policy.yaml"), "policy", r"the site has no policy: write one"),
    "a damaged policy": (
        spoil("policy.yaml", b"epsilon_limit: 1\n"),
        "policy",
        r"delta_limit: missing: add it",
    ),
}


@pytest.mark.parametrize("case", AGREEMENT)
def test_what_is_wrong_with_the_site_s_files_is_said(site: EnrolledSite, case: str) -> None:
    change, name, said = AGREEMENT[case]
    change(site)
    failures = [(check, text) for status, check, text in not_passed(site, "--quick") if status == "fail"]
    assert any(check == name and re.search(said, text) for check, text in failures), failures


@pytest.mark.parametrize("content", [None, b"", b"name: x\n", b"- 1\n", b"\xff"])
def test_without_a_configuration_there_is_one_line(site: EnrolledSite, content: bytes | None) -> None:
    site.config.unlink()
    if content is not None:
        site.config.write_bytes(content)
    ((status, name, said),) = not_passed(site)
    assert (status, name) == ("fail", "site.yaml")
    assert str(site.config) in said


def test_a_policy_that_refuses_the_recipe_says_each_line(site: EnrolledSite) -> None:
    site.decide(minimum_sites=5, rank=[4, 8])
    said = [text for status, name, text in not_passed(site, "--quick") if (status, name) == ("fail", "policy")]
    assert said == [
        "minimum_sites is 5, but the roster has 3: agree on another recipe, or change that line of policy.yaml",
        "rank is 4 to 8, but the recipe's lora.rank is 2: agree on another recipe, or change that line of policy.yaml",
    ]


def test_hours_are_shown(site: EnrolledSite) -> None:
    site.decide(hours=["20:00-06:00"])
    _, findings = check(site, "--quick")
    assert any(finding["said"].endswith("orders are taken 20:00-06:00 (UTC)") for finding in findings)


def test_a_recipe_that_names_no_base_model_is_warned_of(site: EnrolledSite) -> None:
    site.agree("model", digest=None)
    assert any(name == "recipe" and "names no model.digest" in said for _, name, said in not_passed(site, "--quick"))


@pytest.mark.parametrize(("days", "warned"), [(29, True), (31, False)])
def test_a_roster_that_expires_soon_is_warned_of(site: EnrolledSite, days: int, warned: bool) -> None:
    following = site.roster.draft().signed(site.coordinator, term=timedelta(days=days))
    following.save(site.directory / "roster.json")
    found = [said for status, name, said in not_passed(site, "--quick") if (status, name) == ("warn", "roster")]
    assert len(found) == warned
    assert all("have the coordinator sign it anew before" in said for said in found)


def test_a_check_notes_no_roster_as_used(site: EnrolledSite) -> None:
    check(site, "--quick")
    assert not (site.directory / SEEN).exists()


def test_a_roster_without_a_node_key_is_warned_of(site: EnrolledSite) -> None:
    site.list_as(node_key=None)
    assert [entry[:2] for entry in not_passed(site, "--quick")] == [("warn", "roster")]


# The server


def server_findings(site: EnrolledSite) -> list[tuple[str, str, str]]:
    names = ("server", "certificate", "clock", "node key")
    return [entry for entry in not_passed(site, "--quick") if entry[1] in names]


@needs_hybrid
def test_a_key_exchange_that_withstands_a_later_quantum_computer_is_said(site: EnrolledSite) -> None:
    _, findings = check(site, "--quick")
    (said,) = [finding["said"] for finding in findings if finding["check"] == "tls"]
    assert said.endswith("X25519MLKEM768: recorded traffic is protected against a later quantum computer")


def test_a_server_without_tls_has_no_line_on_it(site: EnrolledSite) -> None:
    with FleetServer() as plain:
        site.configure(server=plain.address)
        _, findings = check(site, "--quick")
    assert "tls" not in [finding["check"] for finding in findings]


def test_a_server_that_is_not_there_is_said(site: EnrolledSite) -> None:
    site.configure(server="https://127.0.0.1:1")
    ((status, name, said),) = server_findings(site)
    assert (status, name) == ("fail", "server")
    assert "cannot be reached" in said
    assert "check the address in site.yaml" in said


def test_a_certificate_of_another_authority_is_said(site: EnrolledSite, tmp_path: Path) -> None:
    site.configure(ca=str(Authority(tmp_path, "other").ca))
    ((status, name, said),) = server_findings(site)
    assert (status, name) == ("fail", "certificate")
    assert "the server's does not hold" in said


def test_a_ca_that_is_not_there_is_said(site: EnrolledSite) -> None:
    site.configure(ca="nowhere.pem")
    ((status, name, said),) = server_findings(site)
    assert (status, name) == ("fail", "certificate")
    assert "nowhere.pem: the server's CA cannot be used" in said


@pytest.mark.parametrize(("days", "status"), [(-1, "fail"), (5, "warn"), (29, "warn"), (31, None)])
def test_the_end_of_a_certificate_is_warned_of_early(
    site: EnrolledSite, server: FleetServer, authority: Authority, days: int, status: str | None
) -> None:
    server.stop()
    server.tls = authority.issue(days=days)
    server.start()
    try:
        site.configure(server=server.address)
        found = [entry[0] for entry in server_findings(site) if entry[1] == "certificate"]
    finally:
        server.stop()
        server.tls = authority.issue()
        server.start()
    assert found == ([status] if status else [])


def test_the_end_of_the_authority_is_warned_of_early(
    site: EnrolledSite, tmp_path: Path, tiny_base: Callable[..., Path]
) -> None:
    ending = Authority(tmp_path, "ending", days=10)
    with FleetServer(keyed=True, tls=ending.issue()) as server:
        server.register(load_node_key(site.directory / "node.key"))
        site.configure(server=server.address, ca=str(ending.ca))
        ((status, name, said),) = server_findings(site)
    assert (status, name) == ("warn", "certificate")
    assert "the CA certificate ending.pem ends on" in said


# Two seconds from either limit: the server's date counts whole ones.
@pytest.mark.parametrize(("seconds", "status"), [(-400, "fail"), (60, "fail"), (-100, "warn"), (3, "warn"), (0, None)])
def test_a_clock_that_is_off_is_said(
    site: EnrolledSite, monkeypatch: pytest.MonkeyPatch, seconds: int, status: str | None
) -> None:
    now = time.time
    monkeypatch.setattr(connection_module, "time", SimpleNamespace(time=lambda: now() + seconds))
    wanted = [status] if status else []
    for _ in range(5):  # an answer that takes longer than the clock is off tells nothing: it is asked again
        found = [entry[0] for entry in server_findings(site) if entry[1] == "clock"]
        if found == wanted:
            break
    assert found == wanted


def test_a_key_that_the_server_does_not_know_is_said(site: EnrolledSite) -> None:
    another_node_key(site)
    found = [entry for entry in server_findings(site) if entry[1] == "node key"]
    assert [(status, "have the coordinator add this site's card" in said) for status, _, said in found] == [
        ("fail", True)
    ]


# The machine, the model, the records


def test_a_full_disk_is_said(site: EnrolledSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk(free: int) -> list[tuple[str, str]]:
        monkeypatch.setattr(machine_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
        return [entry[:2] for entry in not_passed(site, "--quick")]

    assert disk(50 << 20) == [("fail", "disk")]
    assert disk(500 << 20) == [("warn", "disk")]
    assert disk(50 << 30) == []


def test_a_base_model_that_does_not_fit_is_said_and_not_tried(
    site: EnrolledSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_module, "free_memory", lambda: 1000)
    found = not_passed(site)
    assert [entry[:2] for entry in found] == [("fail", "memory"), ("warn", "training")]
    assert "agree on a smaller model or on nf4" in found[0][2]


def test_training_that_does_not_fit_is_said(site: EnrolledSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(self: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(dry_run_module.ClippedSum, "draw", draw)
    ((status, name, said),) = not_passed(site)
    assert (status, name) == ("fail", "memory")
    assert "agree on a smaller training.micro_batch_size" in said


def test_a_model_in_which_examples_meet_is_said_before_there_is_a_round(site: EnrolledSite) -> None:
    model = adapted_model(Site(site.directory).recipe)
    hooks = [
        module.register_forward_hook(lambda _, inputs, output: output - output.mean(dim=0, keepdim=True))
        for name, module in model.model.named_modules()
        if name.endswith("up_proj")
    ]
    batch_invariance._passed.pop(model, None)  # as in the new process that a person's `check` is
    try:
        ((status, name, said),) = not_passed(site)
    finally:
        for hook in hooks:
            hook.remove()
    assert (status, name) == ("fail", "training")
    assert "mixes the examples of a batch" in said


def test_another_base_model_is_said(site: EnrolledSite) -> None:
    site.agree("model", digest="ab" * 32)
    found = not_passed(site)
    assert ("fail", "base model") in [entry[:2] for entry in found]
    assert any("but the recipe's model.digest is abababababab" in said for _, _, said in found)


def test_a_base_model_that_is_not_here_is_not_fetched(site: EnrolledSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEALORA_CACHE", str(site.directory / "cache"))
    site.agree("model", base="smollm2-135m-instruct")
    found = not_passed(site)
    assert any("is not here: run `sealora-site model fetch smollm2-135m-instruct`" in said for _, _, said in found)
    assert not (site.directory / "cache").exists()


def test_a_round_that_takes_too_long_is_said(site: EnrolledSite) -> None:
    site.agree("sites", training_timeout=1e-4)
    assert [entry[:2] for entry in not_passed(site)] == [("fail", "time")]


def test_a_round_s_time_is_estimated_from_its_parts() -> None:
    """4 steps of 12 records in micro-batches of 8, each with its noise, and 9 held-out records in 2 micro-batches."""
    recipe = pure_recipe(training={"steps_per_round": 4, "sample_rate": 0.5, "micro_batch_size": 8})
    example = Example(np.zeros(5, dtype=np.int32), prompt_length=2)
    workload = Workload(Population.of([example] * 24), Population.of([example] * 9))
    trial = DryRun(batch=2.0, forward=1.0, noise=0.5)
    # Of the last micro-batch of each length 3.5 rows are dummies on average.
    assert trial.round_seconds(recipe, workload) == 4 * ((12 + 3.5) / 8 * 2.0 + 0.5) + 2 * 1.0
    longer = Example(np.zeros(60, dtype=np.int32), prompt_length=2)
    workload = Workload(Population.of([example] * 20 + [longer] * 4), Population.of([example] * 9 + [longer]))
    assert trial.round_seconds(recipe, workload) == 4 * ((10 + 3.5 + 2 + 3.5) / 8 * 2.0 + 0.5) + 3 * 1.0


def test_of_a_person_with_many_records_the_estimate_counts_those_that_are_used() -> None:
    recipe = pure_recipe(
        training={"steps_per_round": 1, "sample_rate": 1.0, "micro_batch_size": 1},
        data={"person_field": "patient"},
        privacy={"records_per_person": 3},
    )
    example = Example(np.zeros(5, dtype=np.int32), prompt_length=2)
    workload = Workload(Population.of([example] * 12, ["a"] * 10 + ["b"] * 2), Population.of([example]))
    assert DryRun(batch=1.0, forward=0.0, noise=0.0).round_seconds(recipe, workload) == 3 + 2


def test_both_parts_are_counted_in_persons_where_a_person_is_the_unit() -> None:
    recipe = pure_recipe(data={"person_field": "patient"})
    example = Example(np.arange(4, dtype=np.int32), 1)
    workload = Workload(Population([[example] * 3] * 20), Population([[example] * 2] * 5))
    said = next(finding.said for finding in workload.check(recipe))
    assert said.startswith("60 of 20 persons to train on, 10 of 5 persons held out, ")


def records(site: EnrolledSite, lines: list[str]) -> None:
    (site.directory / "own.jsonl").write_text("".join(line + "\n" for line in lines))
    site.configure(data="own.jsonl")


def record(number: int, part: str, words: int = 1) -> str:
    return json.dumps({"prompt": f"What is {number}?", "response": "yes " * words, "split": part})


def test_records_that_are_cut_are_warned_of(site: EnrolledSite) -> None:
    long = [record(number, "train", 200 if number < 5 else 1) for number in range(24)]
    records(site, [*long, *(record(number, "heldout") for number in range(100, 104))])
    found = [entry for entry in not_passed(site) if entry[1] == "records"]
    assert [(status, "5 (18%) are cut to data.max_tokens 64" in said) for status, _, said in found] == [("warn", True)]


@pytest.mark.parametrize(("bad", "status"), [(2, "warn"), (3, "fail")])
def test_records_that_cannot_be_shown_to_the_model_are_said(
    site: EnrolledSite, monkeypatch: pytest.MonkeyPatch, bad: int, status: str
) -> None:
    template = adapted_model(Site(site.directory).recipe).tokenizer
    refusing = (
        "{% for m in messages %}{% if 'refuse' in m['content'] %}{{ raise_exception('no') }}{% endif %}{% endfor %}"
    )
    monkeypatch.setattr(template, "chat_template", refusing + template.chat_template)
    train = [record(number, "train") for number in range(24 - bad)]
    refused = [record(number, "train").replace("yes", "refuse") for number in range(24 - bad, 24)]
    records(site, [*train, *refused, *(record(number, "heldout") for number in range(100, 104))])
    ((told, check, said),) = [entry for entry in not_passed(site) if entry[1] == "records"]
    assert (told, check) == (status, "records")
    assert f"{bad} of 28 records" in said
    assert f"the chat template fails on them (lines {', '.join(map(str, range(25 - bad, 25)))})" in said


def test_too_few_records_for_the_recipe_are_said(site: EnrolledSite) -> None:
    site.agree("training", sample_rate=0.01)
    assert any("a step draws 0.24 of them on average" in said for _, _, said in not_passed(site))
    site.agree("privacy", delta=0.1)  # below 1 / 4, which is enough for the 4 held out, but not for the 24
    site.decide(delta_limit=0.9)
    told = [(status, check) for status, check, said in not_passed(site) if "must be below 1 / 24" in said]
    assert told == [("fail", "privacy"), ("fail", "records")]


BAD_RECORDS = {
    "none": ([], "has no records"),
    "no JSON": (["hello"], "line 1: not JSON"),
    "a field too few": ([json.dumps({"prompt": "x"})], 'the field "response" is missing'),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_records_that_cannot_be_used_are_said(site: EnrolledSite, case: str) -> None:
    lines, said = BAD_RECORDS[case]
    records(site, lines)
    found = not_passed(site)
    ((status, check),) = [(status, check) for status, check, text in found if said in text]
    assert (status, check) == ("fail", "records")
    assert ("warn", "training", "not tried, because the records cannot be read: put that right first") in found


def test_a_budget_without_room_is_said(site: EnrolledSite) -> None:
    opened = Site(site.directory)
    with opened.ledger() as ledger:
        made = ledger.charge(
            dataset=opened.data.train_set,
            run="cd" * 16,
            round_number=1,
            event=PrivacyEvent(1.0, 0.5, 1),
            delta=1e-3,
            epsilon_limit=8.0,
        )
        ledger.mark_released(made.id)
    found = [entry for entry in not_passed(site, "--quick") if entry[1] == "privacy"]
    assert [status for status, _, _ in found] == ["fail"]
    assert "the train data would reach epsilon" in found[0][2]
    assert "see `sealora-site budget`" in found[0][2]


def test_a_locked_key_without_its_passphrase_is_said(site: EnrolledSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEALORA_PASSPHRASE_FILE", raising=False)
    create_node_key(site.directory / "node.key", b"secret")
    found = [entry for entry in not_passed(site, "--quick") if entry[1] == "node key"]
    assert [(status, "SEALORA_PASSPHRASE_FILE" in said) for status, _, said in found] == [("fail", True)]
