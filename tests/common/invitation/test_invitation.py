"""An invitation says what its writer signed, within bounds, and holds nothing but what a site may be told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity
from sealora_common.invitation import Invitation
from sealora_common.recipe import load_recipe, parse_recipe
from sealora_common.roster import Roster
from sealora_server.deployment.inviting import recipe_text
from sealora_server.deployment.tls.certificates import create_authority

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
TEXT = "name: notes\nrounds: 3\nmodel: {base: smollm2-135m-instruct}\n"
SERVER, COORDINATOR, STRANGER, BERLIN, LYON = (
    Identity.create(name, SystemEntropy()) for name in ("server", "coordinator", "stranger", "berlin", "lyon")
)
ROSTER = Roster.create("towns", {"berlin": BERLIN.public_key, "lyon": LYON.public_key}, COORDINATOR, SERVER.public_key)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> str:
    directory = tmp_path_factory.mktemp("authority")
    create_authority(directory / "ca.pem", directory / "ca-key.pem", "localhost")
    return (directory / "ca.pem").read_text()


@pytest.fixture
def written(tmp_path, authority):
    """`written(changes to the JSON, **values)`: the path of an invitation signed with these values, then changed."""

    def write(change: dict | None = None, **values) -> Path:
        given = {
            "server": "https://localhost:9443",
            "ca": authority,
            "coordinator": COORDINATOR.public_key,
            "recipe": TEXT,
            "recipe_hash": parse_recipe(TEXT).hash,
            "roster": ROSTER,
            "signer": SERVER,
        }
        path = tmp_path / "berlin.invitation.json"
        Invitation.create("berlin", **given | values).save(path)
        if change:
            path.write_text(json.dumps(json.loads(path.read_text()) | change))
        return path

    return write


def test_it_reads_as_it_was_written(written, authority):
    invitation = Invitation.load(written())
    assert (invitation.site, invitation.server, invitation.ca) == ("berlin", "https://localhost:9443", authority)
    assert (invitation.roster, invitation.coordinator_pin) == (ROSTER, COORDINATOR.pin)
    assert invitation.coordinator_fingerprint == COORDINATOR.fingerprint
    assert invitation.parsed_recipe == parse_recipe(TEXT)


def test_it_holds_these_fields_and_nothing_secret(written):
    content = json.loads(written().read_text())
    assert set(content) == {
        "version", "sealora", "site", "server", "ca", "server_key", "coordinator", "recipe", "recipe_hash", "roster",
        "signature",
    }  # fmt: skip
    assert "PRIVATE" not in json.dumps(content)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_that_is_shipped_travels_with_its_hash_and_without_files_of_a_simulation(written, config):
    recipe = load_recipe(config).with_model_digest("ab" * 32)
    invitation = Invitation.load(written(recipe=recipe_text(recipe), recipe_hash=recipe.hash))
    assert invitation.parsed_recipe.hash == recipe.hash
    assert ".cache" not in invitation.recipe


CHANGED = {
    "another site": {"site": "lyon"},
    "another address": {"server": "https://stranger.example:9443"},
    "no authority": {"ca": None},
    "another server": {"server_key": STRANGER.public_key_text},
    "another recipe": {"recipe": TEXT.replace("3", "4"), "recipe_hash": parse_recipe(TEXT.replace("3", "4")).hash},
    "no roster": {"roster": None},
    "no signature": {"signature": ""},
    "another coordinator": {"coordinator": STRANGER.public_key_text, "roster": None},
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_what_was_changed_on_the_way_is_seen(written, change):
    with pytest.raises(PolicyError, match="the invitation was changed after it was signed: do not use it"):
        Invitation.load(written(change))


KEY = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
MALFORMED = {
    "unknown field": ({"path": "/etc/passwd"}, r"path: Extra inputs are not permitted"),
    "a name with a path": ({"site": "../berlin"}, r"not an invitation \(site: "),
    "an address with a path": ({"server": "https://localhost:9443/x"}, r"server: .*is no address of a server"),
    "an address in plain": ({"server": "http://stranger.example"}, r"server: .*not encrypted"),
    "an address with a slash": ({"server": "https://localhost:9443/"}, r"server: "),
    "no certificate": ({"ca": "no"}, r"ca: no certificate in PEM form"),
    "a short key": ({"coordinator": "AAAA"}, r"coordinator: "),
    "a hash that is none": ({"recipe_hash": "AB" * 32}, r"recipe_hash: "),
    "a long recipe": ({"recipe": "#" * (256 * 2**10 + 1)}, r"recipe: "),
    "a roster that is none": ({"roster": {}}, r"roster\.consortium: "),
    "another consortium's roster": (
        {"coordinator": STRANGER.public_key_text}, r"the roster is another coordinator's than the one it names"),
    "a later version": ({"version": 2}, "an invitation of version 2, from a later Sealora than this: install that one"),
    "a version that is none": ({"sealora": "1.0\nError"}, r"sealora: "),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_as_it_must_be_is_refused_with_the_field(written, change, said):
    with pytest.raises(PolicyError, match=said) as caught:
        Invitation.load(written(change))
    assert "\n" not in str(caught.value)


def test_a_private_key_beside_the_authority_is_refused(written, authority):
    with pytest.raises(PolicyError, match="ca: something else than certificates"):
        Invitation.load(written({"ca": authority + KEY}))


def test_it_is_read_by_the_version_that_wrote_it(written):
    with pytest.raises(PolicyError, match=r"written by Sealora 9\.1, and this is .*: server and sites must have one"):
        Invitation.load(written({"sealora": "9.1"}))


RECIPES = {
    "another hash": (TEXT, "0" * 64, r"the recipe in it has another hash \(\w{12}\) than it says \(0{12}\)"),
    "no recipe": ("name: [", "0" * 64, r"the recipe in it cannot be used \(recipe, line"),
    "an anchor": ("name: &a notes\n", "0" * 64, "anchor or alias"),
    "an unknown key": (f"{TEXT}script: x\n", "0" * 64, "script: unknown key"),
    "files of a simulation": (
        f"{TEXT}sites: {{simulated: {{a: /etc/passwd}}}}\n", parse_recipe(TEXT).hash, r"names files of a simulation"),
}  # fmt: skip


@pytest.mark.parametrize(("recipe", "recipe_hash", "said"), RECIPES.values(), ids=RECIPES)
def test_a_recipe_that_is_not_the_one_it_says_is_refused_whoever_signed_it(written, recipe, recipe_hash, said):
    with pytest.raises(PolicyError, match=said):
        Invitation.load(written(recipe=recipe, recipe_hash=recipe_hash))


NESTED = '{"version": 1, "roster": ' + "[" * 5000 + "]" * 5000 + "}"
BOMBS = {
    "huge": (b" " * (16 * 2**20 + 1), r"cannot be read \(larger than 16 MiB"),
    "nested": (NESTED.encode(), "in each other more than 32 deep"),
    "many values": (b"[" + b"1," * 300_000 + b"1]", "more than 200000 values"),
    "a key twice": (b'{"version": 1, "version": 1}', "'version' twice in one object"),
    "no text": (b"\xff\xfe", "not UTF-8"),
    "no object": (b"[]", "not an invitation"),
    "nothing": (b"", "not JSON"),
}


@pytest.mark.parametrize(("content", "said"), BOMBS.values(), ids=BOMBS)
def test_what_is_beyond_the_bounds_is_refused_before_it_is_built(tmp_path, content, said):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(PolicyError, match=said):
        Invitation.load(path)


def test_a_recipe_of_many_values_is_refused_by_its_own_bounds(written):
    recipe = yaml.safe_dump({"name": "a", "data": {"fields": [1] * 60_000}}, default_flow_style=True, width=2**20)
    with pytest.raises(PolicyError, match=r"the recipe in it cannot be used .*more than 20000 values"):
        Invitation.load(written(recipe=recipe))
