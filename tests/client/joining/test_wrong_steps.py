"""The walk done wrong: each mistake is answered by one sentence that leads back, and nothing is written by it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from joining_bench import Joining
from sealora_client.cli import main
from sealora_common.errors import DataError, PolicyError, SealoraError

Mistake = Callable[[Joining], object]


def tree(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def begun(joining: Joining) -> Joining:
    joining.invite("berlin")
    joining.begin("berlin")
    return joining


def signed(joining: Joining) -> Joining:
    joining.until_signed()
    return joining


def _damaged(joining: Joining) -> Joining:
    joining.invitation("berlin").write_bytes(joining.invitation("berlin").read_bytes()[:-300])
    return joining


def _without(joining: Joining, name: str) -> Joining:
    (joining.directory("berlin") / name).unlink()
    return joining


def _signed_with_an_older_card(joining: Joining) -> Joining:
    joining.until_signed()
    shutil.rmtree(joining.directory("berlin"))
    joining.invite("berlin", roster=None, coordinator=joining.key.with_suffix(".pub"))
    joining.begin("berlin")
    joining.invite("berlin")
    return joining


def _signed_without_berlin(joining: Joining) -> Joining:
    joining.invite("berlin", "lyon", "porto")
    for name in joining.names:
        joining.begin(name)
    joining.sign("lyon", "porto")
    joining.invite(*joining.names)
    return joining


def _too_few_on_the_roster(joining: Joining) -> Joining:
    joining.invite("berlin", "lyon")
    for name in ("berlin", "lyon"):
        joining.begin(name)
    joining.sign("berlin", "lyon")
    joining.invite()
    return joining


NARROW = "epsilon_limit: 1\ndelta_limit: 1.0e-5\n"
OTHER = "QQQQQ-QQQQQ-QQQQQ-QQQQQ"

FIRST: dict[str, tuple[Callable[[Joining], object], Mistake, str]] = {
    "no such file": (
        lambda it: it.invite("berlin"),
        lambda it: it.join("berlin", mail=it.path / "berlin.invitaton.json"),
        r"berlin\.invitaton\.json: no such file: name the invitation that the server's operator sent",
    ),
    "another kind of file": (
        lambda it: it.invite("berlin"),
        lambda it: it.join("berlin", mail=it.roster),
        r"roster\.json: an invitation of version 2, from a later Sealora|roster\.json: not an invitation",
    ),
    "cut short by the mail": (
        lambda it: _damaged((it.invite("berlin"), it)[1]),
        lambda it: it.begin("berlin"),
        r"not an invitation \(.*\): ask the server's operator for it again",
    ),
    "no data named": (
        lambda it: it.invite("berlin"),
        lambda it: it.join("berlin"),
        "no site has begun here: name this site's records with --data to begin",
    ),
    "data that is not there": (
        lambda it: it.invite("berlin"),
        lambda it: it.join("berlin", "--data", it.path / "recods.jsonl"),
        r"recods\.jsonl: no such file: name this site's records with --data",
    ),
    "data that the recipe cannot read": (
        lambda it: (it.invite("berlin"), it.records("berlin").write_text('{"text": "a"}\n')),
        lambda it: it.begin("berlin"),
        r"berlin\.jsonl, line 1: ",
    ),
    "another's fingerprint": (
        lambda it: it.invite("berlin"),
        lambda it: it.join("berlin", "--data", it.records("berlin"), "--coordinator-fingerprint", OTHER),
        "the invitation's key is not the one whose fingerprint was typed: do not use this invitation, and tell the",
    ),
    "a slip in the fingerprint": (
        lambda it: it.invite("berlin"),
        lambda it: it.join(
            "berlin", "--data", it.records("berlin"), "--coordinator-fingerprint", f"{it.fingerprint[:-5]}11111"
        ),
        "differs from that of the invitation's key in group 4 of four: have it read out again; if it still differs",
    ),
    "half a fingerprint": (
        lambda it: it.invite("berlin"),
        lambda it: it.join("berlin", "--data", it.records("berlin"), "--coordinator-fingerprint", "ABCDE-ABCDE"),
        "'ABCDE-ABCDE' is no fingerprint: it has four groups of five letters and digits",
    ),
    "nobody there to type it": (
        lambda it: it.invite("berlin"),
        lambda it: it.join("berlin", "--data", it.records("berlin")),
        "no fingerprint of the coordinator's key was typed: have it read out by telephone, and give it with --coord",
    ),
    "the second step first": (
        lambda it: (signed(it), shutil.rmtree(it.directory("berlin"))),
        lambda it: it.begin("berlin"),
        "holds a signed roster already, and .* has no keys of a site yet: name the site's directory with --directo",
    ),
    "a line accepted that is none": (
        lambda it: it.invite("berlin"),
        lambda it: it.begin("berlin", "--accept", "epsilon"),
        "--accept epsilon: not a line in which the recipe asks for more than a careful site gives: this recipe excee",
    ),
    "a delta that no policy could allow": (
        lambda it: (it.write_recipe(privacy={"epsilon": 4.0, "delta": 0.05}), it.invite("berlin")),
        lambda it: it.begin("berlin", "--accept", "delta_limit"),
        "the recipe does not suit this site's data: privacy.delta is 0.05 but must be below 1 / 40",
    ),
}
SECOND: dict[str, tuple[Callable[[Joining], object], Mistake, str]] = {
    "the first invitation again": (begun, lambda it: it.join("berlin", "--accept", "recipe"), "leave the option out"),
    "another site's invitation": (
        signed,
        lambda it: it.join("berlin", mail=it.invitation("lyon")),
        "is for lyon, and .*berlin is berlin's: ask the operator for berlin's invitation, or name lyon's directory",
    ),
    "another site's directory": (
        signed,
        lambda it: it.site("join", it.invitation("berlin"), "--directory", it.directory("porto")),
        "is for berlin, and .*porto is porto's",
    ),
    "a card that is not on the roster": (
        _signed_without_berlin,
        lambda it: it.join("berlin", mail=it.forge("berlin", roster=it.loaded())),
        r"berlin is not on the roster: send .*berlin\.card\.json to the coordinator",
    ),
    "an older card on the roster": (
        _signed_with_an_older_card,
        lambda it: it.join("berlin"),
        r"the roster has another key for berlin than this site's \(.*\): send .*berlin\.card\.json to the",
    ),
    "too few on the roster": (
        _too_few_on_the_roster,
        lambda it: it.join("berlin"),
        r"policy\.yaml: refuses the roster: minimum_sites is 3, but the roster has 2: ask the coordinator, or",
    ),
    "no policy": (
        lambda it: _without(signed(it), "policy.yaml"),
        lambda it: it.join("berlin"),
        r"policy\.yaml: the site has no policy: write one",
    ),
    "no keys": (
        lambda it: _without(signed(it), "identity.pem"),
        lambda it: it.join("berlin"),
        r"has a site\.yaml and no identity\.pem: put the keys back from a backup, or begin in another directory",
    ),
    "no site.yaml": (
        lambda it: _without(signed(it), "site.yaml"),
        lambda it: it.join("berlin"),
        r"has keys and no site\.yaml: put that back from a backup, or begin in another directory",
    ),
    "no node key": (
        lambda it: _without(signed(it), "node.key"),
        lambda it: it.join("berlin"),
        r"node\.key",
    ),
    "another's fingerprint": (
        signed,
        lambda it: it.join("berlin", "--coordinator-fingerprint", OTHER),
        "the invitation's key is not the one whose fingerprint was typed",
    ),
    "a line accepted that stands in the policy": (
        signed,
        lambda it: it.join("berlin", "--accept", "epsilon_limit"),
        r"--accept epsilon_limit: this site has its policy\.yaml, which stays as it is: edit the line there",
    ),
    "other data": (
        signed,
        lambda it: it.join("berlin", "--data", it.records("lyon")),
        r"lyon\.jsonl: .*site\.yaml names .*berlin\.jsonl: correct it there, and leave the option out",
    ),
    "a server that has moved": (
        lambda it: (signed(it), it.invite("berlin", url="https://other.example:9443")),
        lambda it: it.join("berlin"),
        r"the server is at https://other\.example:9443, and .*site\.yaml says https://localhost:9443: ask its operator",
    ),
    "a policy that was narrowed since": (
        lambda it: (signed(it), (it.directory("berlin") / "policy.yaml").write_text(NARROW)),
        lambda it: it.join("berlin"),
        r"policy\.yaml: refuses the recipe: delta_limit is 1e-05, but .*; epsilon_limit is 1, but .*: agree on another",
    ),
}  # fmt: skip
OPERATOR: dict[str, tuple[Callable[[Joining], object], Mistake, str]] = {
    "nobody named": (
        lambda it: None, lambda it: it.invite(), "whom to invite: name the sites, as there is no signed roster"),
    "a name that is none": (lambda it: None, lambda it: it.invite("Berlin"), "'Berlin' is no name for a site"),
    "no federation named": (
        lambda it: None, lambda it: it.invite("berlin", roster=None), "give the coordinator's roster with --roster"),
    "no recipe there": (
        lambda it: None, lambda it: it.invite("berlin", recipe=it.path / "recip.yaml"), r"recip\.yaml: no such recipe"),
    "no roster there": (
        lambda it: None,
        lambda it: it.invite("berlin", roster=it.path / "rooster.json"),
        r"rooster\.json: the roster cannot be read",
    ),
    "a roster that was changed by hand": (
        lambda it: (signed(it), it.roster.write_text(it.roster.read_text().replace("three towns", "four towns"))),
        lambda it: it.invite("berlin"),
        r"roster\.json: the coordinator's signature does not hold: ask the coordinator for it again",
    ),
    "another server's roster": (
        lambda it: (signed(it), it.other_server()),
        lambda it: it.invite(),
        "the roster names another server's key than .*: send the coordinator that file",
    ),
    "no address": (
        lambda it: it.listen_anywhere(),
        lambda it: it.invite("berlin"),
        r"does not say under which name and port sites reach the server: give it with --url",
    ),
    "an address that is none": (
        lambda it: None, lambda it: it.invite("berlin", url="other.example"), "--url: 'other.example' is no address"),
    "no server there": (
        lambda it: (it.path / "server/server.yaml").unlink(),
        lambda it: it.invite("berlin"),
        "no such file: name the server's with --config",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("before", "mistake", "said"), FIRST.values(), ids=FIRST)
def test_a_mistake_at_the_first_step_leads_back_and_makes_no_site(joining, before, mistake, said):
    before(joining)
    with pytest.raises(SealoraError, match=said) as caught:
        mistake(joining)
    assert isinstance(caught.value, (PolicyError, DataError))
    assert str(caught.value).count("\n") == 0
    assert not joining.directory("berlin").exists()


@pytest.mark.parametrize(("before", "mistake", "said"), SECOND.values(), ids=SECOND)
def test_a_mistake_at_the_second_step_leads_back_and_changes_nothing(joining, looked_at, before, mistake, said):
    before(joining)
    found = tree(joining.path / "sites")
    with pytest.raises(SealoraError, match=said):
        mistake(joining)
    assert tree(joining.path / "sites") == found
    assert looked_at == []


@pytest.mark.parametrize(("before", "mistake", "said"), OPERATOR.values(), ids=OPERATOR)
def test_a_mistake_of_the_operator_s_leads_back_and_writes_no_invitation(joining, before, mistake, said):
    before(joining)
    mail = joining.path / "mail"
    found = tree(mail)
    with pytest.raises(SealoraError, match=said):
        mistake(joining)
    assert tree(mail) == found


def test_as_a_command_a_mistake_is_one_line_on_stderr_and_exit_code_1(joining, monkeypatch, capsys):
    joining.invite("berlin")
    words = ["sealora-site", "join", str(joining.invitation("berlin")), "--directory", str(joining.directory("berlin"))]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as left:
        main()
    captured = capsys.readouterr()
    assert (left.value.code, captured.out) == (1, "")
    assert captured.err.startswith("Error: ")
    assert captured.err.count("\n") == 1
