"""A site joins in two steps, and a third says that nothing is left to do."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from joining_bench import Joining
from sealora_client.site.config import SiteConfig
from sealora_client.site.directory import Site
from sealora_client.site.policy import SitePolicy
from sealora_common.errors import PolicyError
from sealora_common.identity.card import SiteCard
from sealora_common.recipe import load_recipe
from sealora_common.roster import Roster


def contents(directory: Path) -> dict[str, bytes]:
    """All but what the last check found, which is written at each."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.name != "checks"}


def test_the_first_step_makes_a_card_and_says_what_is_agreed_to_and_what_to_do_next(joining):
    joining.invite("berlin")
    said = joining.begin("berlin")
    directory = joining.directory("berlin")
    assert sorted(contents(directory)) == [
        "agreed-recipe.yaml", "berlin.card.json", "identity.pem", "node.key", "policy.yaml", "site.yaml",
    ]  # fmt: skip
    card = SiteCard.load(directory / "berlin.card.json")
    card_file = directory / "berlin.card.json"
    assert f"send {card_file} to the coordinator, and read this out by telephone: {card.fingerprint}\n" in said
    lines = dict(line.strip().split(maxsplit=1) for line in said.splitlines() if line.startswith("  "))
    assert lines["recipe"].startswith("notes, known by its hash ")
    assert lines["budget"].startswith("epsilon 4 at delta 0.0001 for every record over the whole run, of 4 that")
    assert lines["rounds"].startswith(
        "3, each of 4 steps on a random 0.05 of this site's 40 training records: 0.6 times"
    )
    assert lines["trained"] == "an adapter of the kind lora (rank 8; all-linear; section lora); objective: causal"
    assert "3 sites or more" in lines["who"]
    assert lines["leaves"].startswith("each round one sealed vector (the noised change of the adapter, ")
    assert {"stays", "server"} < lines.keys()


def test_the_site_it_begins_pins_what_the_coordinator_read_out_and_no_more_than_the_recipe_needs(joining):
    joining.invite("berlin")
    joining.begin("berlin")
    config = SiteConfig.load(joining.directory("berlin") / "site.yaml")
    assert config.coordinator == Roster.load(joining.roster, draft=True).coordinator_pin
    assert (config.server, config.ca, config.data) == (
        "https://localhost:9443",
        Path("ca.pem"),
        joining.records("berlin"),
    )
    policy = SitePolicy.load(joining.directory("berlin") / "policy.yaml")
    assert policy == SitePolicy(
        epsilon_limit=4.0, delta_limit=1e-4, base_models=("ab" * 32,), objectives=("causal",), mechanisms=("local",)
    )


def test_the_second_step_makes_a_site_that_can_take_part_and_looks_whether_it_is_ready(joining, looked_at):
    joining.until_signed()
    said = joining.join("berlin")
    directory = joining.directory("berlin")
    site = Site(directory)
    assert site.recipe.hash == load_recipe(joining.path / "recipe.yaml").hash
    assert site.roster.names == joining.names
    assert (directory / "ca.pem").read_bytes() == (joining.path / "server/tls/ca.pem").read_bytes()
    assert looked_at == [(directory / "site.yaml", False)]
    assert f"Compare the roster's fingerprint with the coordinator's by telephone: {site.roster.fingerprint}\n" in said
    for name in joining.names:
        assert SiteCard.load(joining.directory(name) / f"{name}.card.json").fingerprint in said
    assert f"Next: `sealora-site run --config {directory / 'site.yaml'}`" in said


def test_a_third_time_there_is_nothing_to_do_but_run_and_nothing_is_touched(joining, looked_at):
    joining.until_signed()
    joining.join("berlin")
    before = contents(joining.directory("berlin"))
    said = joining.join("berlin")
    run = f"`sealora-site run --config {joining.directory('berlin') / 'site.yaml'}`"
    assert (
        said
        == f"{joining.directory('berlin')}: all of this invitation is in place, and nothing is left to do but {run}\n"
    )
    assert contents(joining.directory("berlin")) == before
    assert len(looked_at) == 1


def test_the_first_step_twice_makes_no_other_keys(joining):
    joining.invite("berlin")
    joining.begin("berlin")
    before = contents(joining.directory("berlin"))
    said = joining.begin("berlin")
    assert "has no roster yet, and berlin has begun" in said
    assert SiteCard.load(joining.directory("berlin") / "berlin.card.json").fingerprint in said
    assert contents(joining.directory("berlin")) == before


def test_a_second_step_that_was_cut_short_is_finished_by_the_same_command(joining):
    joining.until_signed()
    joining.join("berlin")
    for name in ("roster.json", "ca.pem"):
        (joining.directory("berlin") / name).unlink()
    assert "are in place. On the roster, number 1" in joining.join("berlin")
    Site(joining.directory("berlin"))


def test_a_new_roster_comes_the_same_way_and_an_old_one_no_more(joining):
    joining.until_signed()
    joining.join("berlin")
    older = joining.path / "older.json"
    older.write_bytes(joining.invitation("berlin").read_bytes())
    joining.sealora("roster", "sign", joining.roster, "--key", joining.key)
    joining.invite()
    assert "number 2" in joining.join("berlin")
    before = contents(joining.directory("berlin"))
    with pytest.raises(
        PolicyError, match="this roster is number 1, and number 2 has been used here: it is out of date"
    ):
        joining.join("berlin", mail=older)
    assert contents(joining.directory("berlin")) == before


def test_private_keys_are_the_owner_s_alone_and_in_nothing_that_travels(joining):
    joining.until_signed()
    joining.join("berlin")
    for name in ("identity.pem", "node.key"):
        path = joining.directory("berlin") / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for travels in (joining.invitation("berlin"), joining.directory("berlin") / "berlin.card.json"):
        assert b"PRIVATE" not in travels.read_bytes()


def test_the_fingerprint_is_asked_for_and_taken_in_any_spelling(joining):
    joining.invite("berlin")
    spoken = joining.fingerprint.lower().replace("-", " ")
    said = joining.join("berlin", "--data", joining.records("berlin"), typed=f"{spoken}\n")
    assert "Call the coordinator, at a number not from this mail. The fingerprint they read out" in said
    assert joining.fingerprint not in said.split("Call the coordinator")[1]
    assert (joining.directory("berlin") / "berlin.card.json").exists()


def test_a_site_that_began_by_init_joins_with_the_signed_roster_and_is_shown_what_it_agrees_to(joining):
    pin = Roster.load(joining.roster, draft=True).coordinator_pin
    joining.invite("lyon", "porto")
    for name in ("lyon", "porto"):
        joining.begin(name)
    joining.site("init", "berlin", "--directory", joining.directory("berlin"), "--data", joining.records("berlin"),
                 "--server", "https://localhost:9443", "--coordinator", pin)  # fmt: skip
    joining.sign()
    joining.invite()
    said = joining.join("berlin")
    assert "berlin agrees to this:" in said
    assert Site(joining.directory("berlin")).name == "berlin"


def test_ten_sites_join_with_two_files_to_each_and_one_from_it(tmp_path):
    names = tuple(f"site-{number}" for number in range(10))
    joining = Joining(tmp_path, names)
    to_site: dict[str, list[Path]] = {name: [] for name in names}
    from_site: dict[str, list[Path]] = {name: [] for name in names}

    def mail_to_all() -> None:
        for name in names:  # what the operator wrote is all that a site is sent
            to_site[name].append(joining.invitation(name).rename(tmp_path / f"{name}.{len(to_site[name])}"))

    joining.invite(*names)
    mail_to_all()
    for name in names:
        joining.join(name, "--data", joining.records(name), "--coordinator-fingerprint", joining.fingerprint,
                     mail=to_site[name][0])  # fmt: skip
        from_site[name] += joining.directory(name).glob("*.card.json")
    joining.sign()
    joining.invite()
    mail_to_all()
    for name in names:
        joining.join(name, mail=to_site[name][1])
        assert Site(joining.directory(name)).roster.names == names
    assert {len(files) for files in to_site.values()} == {2}
    assert {len(files) for files in from_site.values()} == {1}
    assert max(path.stat().st_size for files in to_site.values() for path in files) < 150_000


# What the recipe asks for beyond a careful policy

LOOSE = {
    "epsilon_limit": {"privacy": {"epsilon": 20.0, "delta": 1e-4}},
    "delta_limit": {"privacy": {"epsilon": 4.0, "delta": 1e-3}},
    "minimum_survivors": {"sealing": {"min_survivors": 2}},
    "adversary": {"sealing": {"adversary": "curious"}},
    "adapters": {"adapter": "bias"},
    "allow_without_privacy": {"privacy": {"mechanism": "none"}},
}


@pytest.mark.parametrize("line", LOOSE)
def test_what_exceeds_a_careful_policy_is_named_and_given_only_if_it_is_accepted(joining, line):
    recipe = load_recipe(joining.write_recipe(**LOOSE[line]))
    joining.invite("berlin")
    with pytest.raises(
        PolicyError, match="the recipe exceeds this site's policy in 1 line, told above, and nothing was"
    ):
        joining.begin("berlin")
    assert not joining.directory("berlin").exists()
    joining.begin("berlin", "--accept", line)
    policy = SitePolicy.load(joining.directory("berlin") / "policy.yaml")
    assert all(verdict.allowed for verdict in (*policy.verdicts(recipe, None), *policy.verdicts_over_the_run(recipe)))
    careful = SitePolicy(epsilon_limit=8, delta_limit=1e-4)
    loosened = {name for name in SitePolicy.model_fields if _is_looser(policy, careful, name)}
    assert loosened == {line}


def _is_looser(policy: SitePolicy, careful: SitePolicy, name: str) -> bool:
    own, other = getattr(policy, name), getattr(careful, name)
    if name in ("base_models", "objectives", "mechanisms") or own == other:
        return False
    return own < other if name == "minimum_survivors" else not (isinstance(own, float) and own < other)


def test_each_line_that_is_exceeded_is_told_in_one_sentence_with_what_to_type(joining, capsys):
    joining.write_recipe(privacy={"epsilon": 20.0, "delta": 1e-3}, sealing={"adversary": "curious"})
    joining.invite("berlin")
    from typer.testing import CliRunner

    from sealora_client.cli import cli

    words = ["join", joining.invitation("berlin"), "--data", joining.records("berlin"), "--accept", "adversary"]
    result = CliRunner().invoke(cli, [*map(str, words), "--directory", str(joining.directory("berlin"))])
    assert [line for line in result.output.splitlines() if "--accept" in line] == [
        "notes exceeds a careful policy: delta_limit is 0.0001, but the recipe's privacy.delta is 0.001: --accept "
        "delta_limit if this site agrees to it",
        "notes exceeds a careful policy: epsilon_limit is 8, but the recipe's privacy.epsilon is 20 over all its "
        "rounds: --accept epsilon_limit if this site agrees to it",
    ]
    assert "in 2 lines" in str(result.exception)


def test_a_policy_that_is_there_is_kept_and_judged_and_no_option_loosens_it(joining):
    joining.write_recipe(privacy={"epsilon": 6.0, "delta": 1e-4})
    joining.invite("berlin")
    joining.directory("berlin").mkdir(parents=True)
    own = joining.directory("berlin") / "policy.yaml"
    own.write_text("epsilon_limit: 5\ndelta_limit: 1.0e-4\n")
    with pytest.raises(PolicyError, match="exceeds this site's policy in 1 line"):
        joining.begin("berlin")
    with pytest.raises(PolicyError, match=r"policy\.yaml: is this site's own, so --accept changes nothing in it"):
        joining.begin("berlin", "--accept", "epsilon_limit")
    own.write_text("epsilon_limit: 6\ndelta_limit: 1.0e-4\n")
    joining.begin("berlin")
    assert own.read_text() == "epsilon_limit: 6\ndelta_limit: 1.0e-4\n"


def test_a_recipe_that_was_changed_in_between_is_shown_field_by_field_and_must_be_accepted(joining):
    joining.until_signed()
    joining.write_recipe(rounds=2)
    joining.invite()
    with pytest.raises(
        PolicyError, match=r"another than the one that this site agreed to \(rounds 3 -> 2\): --accept recipe"
    ):
        joining.join("berlin")
    assert not (joining.directory("berlin") / "roster.json").exists()
    joining.join("berlin", "--accept", "recipe")
    assert yaml.safe_load((joining.directory("berlin") / "recipe.yaml").read_text())["rounds"] == 2
    with pytest.raises(PolicyError, match="the recipe is the one that this site agreed to: leave the option out"):
        joining.join("berlin", "--accept", "recipe")
