#!/usr/bin/env python3
"""Checks a dossier, or one site's part of one, offline: python verify_dossier.py DIR --key FINGERPRINT

Needs Python 3.11 and the package cryptography, and nothing of Sealora: it stands alone and repeats a few constants.
Take a copy that you trust, not the one in the directory, and fingerprints that their owners read out to you.
Exit status: 0, all of it is as it was signed; 1, it is not, and the sentence says what.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import json
import re
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
except ImportError:  # an older cryptography: the Ed25519 half alone is checked, which is said
    MLDSA65PublicKey = None  # type: ignore[assignment,misc]

LABEL = b"sealora composite signature v1: Ed25519 and ML-DSA-65\n"
SIGNATURE_BYTES = 3373
_bytes = base64.urlsafe_b64decode
PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
STAYS_AWAY = "adapter/adapter_model.safetensors"  # too large for a copy: --adapter compares it


class WrongError(Exception):
    """What is wrong."""


def _require(holds: object, sentence: str) -> None:
    if not holds:
        raise WrongError(sentence)


def _say(text: str) -> None:
    print("".join(mark if mark.isprintable() else "?" for mark in text))  # noqa: T201


def _content(path: Path) -> bytes:
    _require(path.is_file() and not path.is_symlink(), f"{path} is missing, or is no plain file")
    with path.open("rb") as file:
        return file.read()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _fingerprint(key: bytes) -> str:
    text = base64.b32encode(hashlib.sha256(b"sealora public key v1\n" + key).digest()).decode()
    return "-".join(text[start : start + 5] for start in range(0, 20, 5))


def _is_signed(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key[:32]).verify(signature[:64], LABEL + message)
        if MLDSA65PublicKey is not None:
            MLDSA65PublicKey.from_public_bytes(key[32:]).verify(signature[64:], LABEL + message, LABEL)
    except (InvalidSignature, ValueError):
        return False
    return True


def _check_part(directory: Path, kind: str) -> tuple[dict[str, Any], bytes]:
    """Signature, and every byte of every file. Returns the manifest and the key that signed it."""
    content, line = _content(directory / "manifest.json"), _content(directory / "manifest.sig")
    manifest = json.loads(content.decode())
    _require((manifest["kind"], manifest["version"]) == (kind, 1), f"{directory} is no {kind}'s part")
    key, signature = base64.b64decode(manifest["public_key"]), base64.b64decode(line)
    _require(base64.b64encode(signature) + b"\n" == line, f"{directory}/manifest.sig is not as it was written")
    signed = _is_signed(key, signature, b"sealora dossier manifest v1\n" + content)
    _require(signed, f"{directory}: the manifest's signature does not hold")
    paths = [file["path"] for file in manifest["files"]]
    _require(paths == sorted(set(paths)) and all(map(PATH.fullmatch, paths)), f"{directory}: a path leads out")
    own = {*paths, "manifest.json", "manifest.sig"}
    folders = {parent.as_posix() for path in own for parent in Path(path).parents}
    for path in directory.rglob("*"):
        name = path.relative_to(directory)
        if kind == "server" and name.parts[0] == "sites" and (directory / "sites").is_dir():
            continue  # each site's part has a manifest of its own
        known = folders if path.is_dir() and not path.is_symlink() else own
        _require(name.as_posix() in known, f"{path} is in no manifest")
    for file in manifest["files"]:
        path = directory / file["path"]
        _require(_sha256(_content(path)) == file["sha256"], f"{path} was changed after it was signed")
    agreed = _sha256(_content(directory / "evidence" / "recipe.json")) == manifest["recipe_hash"]
    _require(agreed, f"{directory}/evidence/recipe.json is not the recipe whose hash the manifest and receipts name")
    return manifest, key


def _figures(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value] if "source" in value else _figures(list(value.values()))
    return [each for inner in value for each in _figures(inner)] if isinstance(value, list) else []


def _check_figures(directory: Path, name: str, manifest: dict[str, Any]) -> str:
    """Reads every figure again from the field of the file that it names."""
    known, left = {file["path"]: file["sha256"] for file in manifest["files"]}, []
    figures = _figures(json.loads(_content(directory / name)))
    for figure in figures:
        source, what = figure["source"], f"the figure {figure['name']!r} of {directory / name}"
        here = known.get(source["file"]) == source["sha256"] or source["file"] == STAYS_AWAY
        _require(here, f"{what} names a file that is not here, or another")
        found = re.fullmatch(r"(?:(\d+):)?(/.*)", source["field"], re.DOTALL)
        if found is None:
            left.append(figure["name"])
            continue
        content = _content(directory / source["file"])
        value = json.loads(content.split(b"\n")[int(found[1]) - 1] if found[1] else content)
        for part in found[2].split("/")[1:]:
            value = value[int(part)] if isinstance(value, list) else value[part.replace("~1", "/").replace("~0", "~")]
        same = value == figure["value"] and type(value) is type(figure["value"])
        _require(same, f"{what} is not what {source['file']} says at {source['field']}")
    return f"{len(figures) - len(left)} figures were read again, and {len(left)} were not: {', '.join(left)}"


def _rosters(evidence: Path, coordinator: str | None) -> dict[str, dict[str, Any]]:
    """The rosters by their hashes, all signed by one coordinator."""
    found, keys = {}, set()
    for path in [evidence / "roster.json", *sorted((evidence / "rosters").glob("*.json"))]:
        roster = {"server": None, "expires": None, **json.loads(_content(path))}
        roster["members"] = [{"node_key": None, **member} for member in roster["members"]]
        signature, key = base64.b64decode(roster.pop("signature")), base64.b64decode(roster["coordinator"])
        roster.pop("cosignatures", None)
        signed = _is_signed(key, signature, b"sealora roster v2\n" + _canonical(roster))
        _require(signed, f"{path}: the coordinator's signature does not hold")
        keys.add(_fingerprint(key))
        found[_sha256(_canonical(roster))] = roster
    _require(keys == {coordinator or min(keys)}, f"the roster is signed by {', '.join(keys)}, not by whom you name")
    return found


def _check_receipts(path: Path, manifest: dict[str, Any], rosters: dict[str, dict[str, Any]], server: bytes) -> int:
    """The server's signatures, the link to the receipt before, and, unless in groups, who confirmed."""
    history, adapter, lines = "0" * 64, None, _content(path).split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        receipt, what = json.loads(line), f"{path}, line {number}"
        order, roster = receipt["order"], rosters[receipt["order"]["roster_hash"]]
        place = [order[name] for name in ("round_number", "run", "recipe_hash", "history", "adapter_digest")]
        expected = [number, manifest["run"], manifest["recipe_hash"], history, adapter or order["adapter_digest"]]
        _require(place == expected, f"{what}: does not follow as the next round of this run")
        signature, ordered = _bytes(receipt.pop("signature")), _bytes(receipt["order_signature"])
        signed = _is_signed(server, signature, b"sealora receipt v2\n" + _canonical(receipt))
        signed &= _is_signed(server, ordered, b"sealora order v1\n" + _canonical(order))
        _require(signed and base64.b64decode(roster["server"]) == server, f"{what}: is not signed by the server")
        if order["groups"] == 1:
            _check_quorum(receipt, roster["members"], what)
        history, adapter = _sha256(_canonical(receipt)), receipt["adapter_digest"]
    return len(lines)


def _check_quorum(receipt: dict[str, Any], members: list[dict[str, str]], what: str) -> None:
    (opening,) = receipt["openings"]
    terms = _bytes(opening["terms"])
    digest = hashlib.sha256(b"sealora secagg terms" + terms).digest()
    size, threshold, fewest = (int.from_bytes(terms[at : at + 2], "big") for at in (121, 123, 125))
    sound = terms[89:121].hex() == _sha256(_canonical(receipt["order"])) and size == len(members) < 2 * threshold
    _require(sound, f"{what}: its terms are of another order, or ask for too few confirmations")
    senders, bodies = set(), set()
    for message in map(_bytes, opening["confirmations"]):
        framed, sender = message[:-SIGNATURE_BYTES], int.from_bytes(message[38:40], "big")
        key = base64.b64decode(members[sender]["public_key"])
        signed = _is_signed(key, message[-SIGNATURE_BYTES:], b"sealora secagg message v2\n" + framed)
        _require(signed and framed[:38] == b"SLRA\x02\x06" + digest, f"{what}: a confirmation does not hold")
        senders.add(sender)
        bodies.add(framed[40:])
    _require(len(bodies) == 1 and len(senders) >= max(threshold, fewest), f"{what}: too few sites confirmed one thing")
    named = [members[int.from_bytes(framed[at : at + 2], "big")]["name"] for at in range(74, len(framed), 2)]
    _require(sorted(named) == receipt["survivors"], f"{what}: names other sites than those that its sites confirmed")


def _check_site(where: Path, part: dict[str, str], server: dict[str, Any], rosters: dict[str, dict[str, Any]]) -> None:
    same = _sha256(_content(where / "manifest.json")) == part["manifest_sha256"]
    _require(same, f"{where} is another part than the one that the server signed for")
    manifest, _ = _check_part(where, "site")
    of_this = [manifest[name] for name in ("name", "run", "recipe_hash")]
    _require(of_this == [part["site"], server["run"], server["recipe_hash"]], f"{where} is of another site or run")
    keys = {each["public_key"] for one in rosters.values() for each in one["members"] if each["name"] == part["site"]}
    _require(manifest["public_key"] in keys, f"{where} is signed by a key that the roster does not have for it")
    _say(f"{where}: signed by the site; {_check_figures(where, 'part.json', manifest)}")


def _check(given: argparse.Namespace) -> None:
    directory, names = given.directory, {"server": "dossier.json", "site": "part.json"}
    kind = json.loads(_content(directory / "manifest.json"))["kind"]
    name, (manifest, key) = names[kind], _check_part(directory, kind)
    _require(_fingerprint(key) == given.key, f"signed by {_fingerprint(key)}, and not by the key that you name")
    _say(f"{len(manifest['files'])} files are as {given.key} signed them; {_check_figures(directory, name, manifest)}")
    if kind == "server":
        rosters = _rosters(directory / "evidence", given.coordinator)
        rounds = _check_receipts(directory / "evidence" / "receipts.jsonl", manifest, rosters, key)
        _say(f"{rounds} receipts, each signed by the server, confirmed by sites and following from the one before")
        parts = [part for part in manifest["parts"] if part["site"] not in given.left_out]
        there = {each.name for each in directory.glob("sites/*")}
        _require(there <= {part["site"] for part in parts}, "sites/ holds what no manifest knows, or what you left out")
        for part in parts:
            _require("/" not in part["site"] and PATH.fullmatch(part["site"]), "a site's name leads out")
            _check_site(directory / "sites" / part["site"], part, manifest, rosters)
    told = json.loads(_content(directory / name))
    if given.adapter is not None:
        sums = {each["source"]["sha256"] for each in _figures(told) if each["source"]["file"] == STAYS_AWAY}
        _require(sums == {_sha256(_content(given.adapter))}, f"{given.adapter} is not the adapter of this dossier")
    first, page = told["clearance"]["first_line"], (directory / name).with_suffix(".html")
    _require(first in html.unescape(_content(page).decode()), f"{page} does not say: {first}")
    _say(first)


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description="Checks a dossier offline.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--key", required=True, help="fingerprint of the server's key, or a site's for its part alone")
    parser.add_argument("--coordinator", help="fingerprint of the key that signed the roster, which has all keys")
    parser.add_argument("--adapter", type=Path, help="the file that is to leave: is it the one in the dossier?")
    parser.add_argument("--left-out", action="append", default=[], help="a site whose part you were not given")
    given = parser.parse_args()
    try:
        _check(given)
    except WrongError as error:
        _say(f"WRONG: {error}")
        return 1
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        _say(f"WRONG: it is malformed ({type(error).__name__}: {error})")
        return 1
    if MLDSA65PublicKey is None:
        _say("Only the Ed25519 halves of the signatures were checked: this cryptography has no ML-DSA")
    if given.coordinator is None:
        _say("The sites' keys are those of the roster in here: name its coordinator with --coordinator")
    _say("Not checked: figures that are not read again, whether the page shows all, what the server's log alone says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
