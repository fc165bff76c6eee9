"""Every reader of what others wrote: whatever it is given, it reads it or says in one safe sentence why not."""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostile_input import NASTY_TEXT, mutated
from quick_cases import quick_cases
from sealora_client.data.records import read_records
from sealora_client.data.source.description import read_description
from sealora_client.fleet.connection import _code
from sealora_client.fleet.node_key import load_node_key
from sealora_client.ledger.export import read_export
from sealora_client.ledger.head import Head, read_head
from sealora_client.round.confirmed import ConfirmedRounds
from sealora_client.round.outbox import Kept, Outbox
from sealora_client.site.careful_policy import careful_policy
from sealora_client.site.config import SiteConfig
from sealora_client.site.initial_files import begin_policy_file, begin_site_file
from sealora_client.site.policy import SitePolicy
from sealora_client.site.seen_rosters import SEEN, read_seen
from sealora_common.config import json_value, yaml_value
from sealora_common.errors import SealoraError
from sealora_common.identity import Identity, key_from_text, read_public_key, write_public_key
from sealora_common.identity.card import SiteCard, create_node_key
from sealora_common.invitation import Invitation
from sealora_common.receipts.file import ReceiptFile
from sealora_common.receipts.receipt import Receipt, chain_from_bytes, chain_to_bytes
from sealora_common.recipe import load_recipe, parse_recipe
from sealora_common.recipe.sections.data import DataSection
from sealora_common.records.completions import read_completions
from sealora_common.records.event_log import read_events
from sealora_common.records.events import SiteFailed
from sealora_common.records.site_rounds import SiteRound
from sealora_common.roster import Cosignature, Roster, SeenRosters
from sealora_common.roster.book import rosters_from_bytes, rosters_to_bytes
from sealora_common.round.hello import Hello
from sealora_common.round.order import RoundOrder
from sealora_server.deployment.config import ServerConfig
from sealora_server.deployment.nodes import NodeList
from sealora_server.deployment.operator.messages import Submit, parse_request
from sealora_server.deployment.runs.submission import Operation
from sealora_server.deployment.tls.certificates import load_certificates
from sealora_server.run.store import RunStore
from sealora_server.view.histories import read_histories
from sealora_server.view.report import _read_recipe

from quorum import RUN, Consortium

RECIPES = Path(__file__).parents[1] / "configs"
CONSORTIUM = Consortium()
ORDER = CONSORTIUM.order()
CHAIN = CONSORTIUM.chain(2)
SITE = CONSORTIUM.identities["site-0"]


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        file: what its file is called, in the directory it is given.
        valid: what it reads, or what comes near to it.
        read: reads from a directory and the content that lies there as `file`.
    """

    file: str
    valid: bytes
    read: Callable[[Path, bytes], object]


class Answered:
    """An HTTP answer with an error, as far as it is looked at."""

    def __init__(self, content: bytes) -> None:
        self.response = self
        self.text = content.decode(errors="replace")


def dumped(model: object) -> bytes:
    return model.model_dump_json(exclude_none=True).encode()


def begun(begin: Callable[..., Path], *arguments: object) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        return begin(Path(directory), *arguments).read_bytes()


def card() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        return dumped(SiteCard.create(SITE, create_node_key(Path(directory) / "node.key")))


def invitation() -> bytes:
    text = RECIPE.decode().partition("sites:")[0]
    return dumped(
        Invitation.create(
            "site-0",
            server="https://localhost:9443",
            ca=None,
            coordinator=key_from_text(CONSORTIUM.roster.coordinator),
            recipe=text,
            recipe_hash=parse_recipe(text).hash,
            roster=CONSORTIUM.roster,
            signer=SITE,
        )
    )


def public_key() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        write_public_key(Path(directory) / "key", SITE.public_key)
        return (Path(directory) / "key").read_bytes()


def kept() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        Outbox(Path(directory), RUN).keep(
            Kept(
                purpose="train",
                round_number=1,
                recipe_hash="1" * 64,
                adapter_digest="2" * 64,
                clip_norm=1.0,
                weight=1.0,
                figures=SiteRound(round=1, kind="train"),
                values=np.ones(4, dtype=np.float32),
            )
        )
        return (Path(directory) / "outbox" / RUN).read_bytes()


HISTORY = b'{"round": 1, "kind": "train", "heldout_loss": 2.5, "epsilon": 1.0, "seconds": 3.5}\n' * 3
RECORDS = b'{"prompt": "a", "response": "b", "split": "train"}\n{"prompt": "c", "response": "d", "split": "heldout"}\n'
LIST = b"[" + RECORDS.strip().replace(b"\n", b",\n") + b"]"
TABLE = b'prompt,response,split\n"a ""b""",c,train\nd,"e\nf",heldout\n'
DESCRIPTION = b"files: [a.jsonl, {path: b.csv, delimiter: ';'}]\nfields: {prompt: question}\nconstants: {task: 1}\n"
RECIPE = (RECIPES / "demo-icd10.yaml").read_bytes()
PIN = CONSORTIUM.roster.coordinator_pin
HEAD = kept()
HELLO = Hello(site="a", recipe_hash="1" * 64, roster_hash="2" * 64, layout=[("w", [2, 3])])
SUBMIT = Submit(name="run", recipe=RECIPE.decode(), roster=CONSORTIUM.roster.model_dump_json())
EVENT = {"time": 1.5, "event": "site_failed", **SiteFailed(round=1, stage="train", site="a", reason="b").model_dump()}
CONFIRMATION = b'{"round_number":1,"attempt":1,"transcript":"' + b"1" * 64 + b'","survivors":["a","b","c"]}\n'
COSIGNATURE = Cosignature.create(SITE, 1, CONSORTIUM.roster.hash)

PEM = b"-----BEGIN %s-----\nMC4=\n-----END %s-----\n"
RUN_FILE = b'{"run_id": "%s", "recipe_hash": "%s", "server_key": "k"}' % (b"1" * 32, b"1" * 64)
COMPLETIONS = b'[{"site": "a", "prompt": "b", "reference": "c", "before": "d", "after": "e"}]'
EXPORT = (
    b'{"entry": {"kind": "begun", "number": 1}, "hash": "%s", "signature": ""}\n' % (b"1" * 64)
    + b'{"export": {}, "signature": ""}\n'
)
SITE_FILE = begun(begin_site_file, "a", Path("d"), "0" * 64, "https://a.example")
PERSONS = RECORDS.replace(b'"split"', b'"who": 7, "split"', 1).replace(b'"d", ', b'"d", "who": "b", ')


def of_file(file: str, valid: bytes, load: Callable[[Path], object]) -> Reader:
    return Reader(file, valid, lambda directory, _: load(directory / file))


def of_directory(file: str, valid: bytes, load: Callable[[Path], object]) -> Reader:
    return Reader(file, valid, lambda directory, _: load(directory))


def of_bytes(valid: bytes, parse: Callable[[bytes], object]) -> Reader:
    return Reader("x", valid, lambda _, content: parse(content))


READERS = {
    "YAML": of_bytes(RECIPE, yaml_value),
    "JSON": of_bytes(dumped(CONSORTIUM.roster), json_value),
    "recipe": of_file("recipe.yaml", RECIPE, load_recipe),
    "recipe of a report": of_file("recipe.yaml", RECIPE, _read_recipe),
    "override": of_bytes(b"privacy.epsilon=4", lambda text: parse_recipe(RECIPE, overrides=[text.decode("latin-1")])),
    "policy": of_file("policy.yaml", begun(begin_policy_file, careful_policy(None), "as it is"), SitePolicy.load),
    "site": of_file("site.yaml", SITE_FILE, SiteConfig.load),
    "server": of_file("server.yaml", b"listen: 0.0.0.0:9443\nhosts: [a.example]\nlog: json\n", ServerConfig.load),
    "roster": of_file("roster.json", dumped(CONSORTIUM.roster), lambda path: Roster.load(path, draft=True)),
    "rosters of a peer": of_bytes(
        rosters_to_bytes([CONSORTIUM.roster]), lambda content: rosters_from_bytes(content, coordinator=PIN)
    ),
    "invitation": of_file("a.invitation.json", invitation(), Invitation.load),
    "card": of_file("a.card.json", card(), SiteCard.load),
    "co-signature": of_file("a.json", dumped(COSIGNATURE), Cosignature.load),
    "public key": of_file("key.pub", public_key(), read_public_key),
    "private key": of_file("a.pem", PEM % ((b"PRIVATE KEY",) * 2), lambda path: Identity.load("a", path)),
    "node key": of_file("node.key", PEM % ((b"OPENSSH PRIVATE KEY",) * 2), load_node_key),
    "certificate": of_file("a.crt", PEM % ((b"CERTIFICATE",) * 2), load_certificates),
    "order": of_bytes(ORDER.to_bytes(), RoundOrder.parse),
    "receipt": of_bytes(CHAIN[0].to_line(), Receipt.from_line),
    "receipts of a peer": of_bytes(chain_to_bytes(CHAIN), chain_from_bytes),
    "receipts": of_file("r.jsonl", chain_to_bytes(CHAIN), lambda path: ReceiptFile(path).read()),
    "greeting": of_bytes(HELLO.to_bytes(), lambda content: Hello.parse(content).adapter_layout),
    "request": of_bytes(dumped(SUBMIT), parse_request),
    "operation": of_directory("operation.json", b'{"condition": "running", "said": ""}', Operation.load),
    "nodes": of_file("nodes.json", b'{"nodes": {"a": "ecdsa-sha2-nistp384 AAAA"}}', NodeList.load),
    "run": of_directory("run.json", RUN_FILE, RunStore.open),
    "events": of_file("events.jsonl", json.dumps(EVENT).encode() + b"\n", read_events),
    "history": of_directory("sites/a/history.jsonl", HISTORY, read_histories),
    "completions": of_directory("completions.json", COMPLETIONS, read_completions),
    "records": of_file("d.jsonl", RECORDS, lambda path: read_records(path, DataSection())),
    "records of persons": of_file("d.jsonl", PERSONS, lambda path: read_records(path, DataSection(person_field="who"))),
    "records in a list": of_file("d.json", LIST, lambda path: read_records(path, DataSection())),
    "records in a table": of_file("d.csv", TABLE, lambda path: read_records(path, DataSection())),
    "description of data": of_file("d.yaml", DESCRIPTION, read_description),
    "seen rosters": of_directory(SEEN, dumped(SeenRosters().after(CONSORTIUM.roster)), read_seen),
    "ledger's head": of_directory(
        "ledger.head", dumped(Head.of(1, b"1" * 32, SITE)), lambda directory: read_head(directory / "ledger.sqlite")
    ),
    "ledger's export": of_file("e.jsonl", EXPORT, read_export),
    "outbox": of_directory(f"outbox/{RUN}", HEAD, lambda directory: Outbox(directory, RUN).find(ORDER)),
    "confirmed": of_directory(
        f"{RUN}.confirmed.jsonl", CONFIRMATION, lambda directory: ConfirmedRounds(directory, RUN).check([])
    ),
    "HTTP answer": of_bytes(b'{"code": 401, "detail": "no", "extra": {}}', lambda content: _code(Answered(content))),
}


def read(reader: Reader, directory: Path, content: bytes) -> SealoraError | None:
    """What the reader says to this content; any error but the project's own is the test's failure."""
    path = directory / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)
    try:
        reader.read(directory, content)
    except SealoraError as error:
        said = str(error)
        assert said.isprintable()
        assert 0 < len(said) <= 4000
        return error
    return None


def spoil(reader: Reader, directory: Path, inputs: int, seed: str) -> None:
    chance = random.Random(hashlib.sha256(seed.encode()).digest())
    for number in range(inputs):
        content = mutated(reader.valid, chance)
        started = time.process_time()
        try:
            read(reader, directory, content)
        except Exception as error:
            raise AssertionError(f"input {number}: {type(error).__name__} for {content[:2000]!r}") from error
        assert time.process_time() - started < 10, content[:2000]


@pytest.mark.parametrize("name", READERS)
def test_a_spoilt_file_is_read_or_refused_in_one_safe_sentence(name, tmp_path):
    spoil(READERS[name], tmp_path, 300, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_hundred_thousand_spoilt_files_are_read_or_refused(name, tmp_path):
    spoil(READERS[name], tmp_path, 100_000, f"many of {name}")


@pytest.mark.parametrize("name", READERS)
def test_each_of_the_nasty_texts_alone_is_read_or_refused(name, tmp_path):
    for text in NASTY_TEXT:
        read(READERS[name], tmp_path, text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")))
def test_what_nobody_listed_is_read_or_refused(name, tmp_path, content):
    read(READERS[name], tmp_path, content)


BOMBS: dict[str, Callable[[], bytes]] = {
    "aliases": lambda: (
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(
            b"%c: &%c [%s]\n" % (mark + 1, mark + 1, b",".join([b"*%c" % mark] * 9))
            for mark in range(ord("a"), ord("y"))
        )
    ),
    "brackets": lambda: b"[" * 2**20,
    "braces": lambda: b'{"a":' * 200_000,
    "dashes": lambda: b"- " * 100_000,
    "many values": lambda: b"[" + b"0," * 2**22 + b"0]",
    "many objects": lambda: b"[" + b"{}," * 2**20 + b"{}]",
    "digits": lambda: b'{"version": ' + b"9" * 2**20 + b"}",
    "a long text": lambda: b'{"consortium": "' + b"a" * (50 * 2**20) + b'"}',
    "quotes": lambda: b'"' + b'\\"' * 2**20,
    "half a text": lambda: b'{"a": "' + b"\\" * (2**21 + 1),
    "keys": lambda: b"{" + b",".join(b'"%d": 0' % number for number in range(150_000)) + b', "7": 1}',
    "lines": lambda: b"\n" * 2**20,
    "nothing but escapes": lambda: b"\x1b[2J" * 2**18,
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize(
    "name",
    quick_cases(
        ["YAML", "JSON", "recipe", "policy", "roster", "card", "order", "request", "records", "records in a list"],
        *("YAML", "JSON", "recipe", "policy", "roster", "card", "order", "request", "records"),
    ),
)
def test_a_bomb_costs_little_time_and_memory(name, bomb, tmp_path):
    content = BOMBS[bomb]()
    tracemalloc.start()
    started = time.process_time()
    try:
        read(READERS[name], tmp_path, content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300 * 2**20
    assert time.process_time() - started < 60


@pytest.mark.parametrize("name", READERS)
def test_the_valid_file_is_the_one_that_is_meant(name, tmp_path):
    """So that what is spoilt above gets as far as the reader's own checks."""
    unfinished = {"private key", "node key", "certificate", "run", "ledger's export"}
    error = read(READERS[name], tmp_path, READERS[name].valid)
    assert error is None or name in unfinished, error
