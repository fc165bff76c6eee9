"""`sealora-site receipts`: what a chain of receipts proves, offline, and whether two sites were told the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_client.round.history import receipts_file
from sealora_client.site.seen_rosters import read_seen
from sealora_common.config import LARGE, read_file, why_not
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.receipts.check import RoundProof, check_chain
from sealora_common.receipts.receipt import Receipt, chain_from_bytes, first_difference
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.roster import Roster
from sealora_common.roster.book import RosterBook
from sealora_common.show.say import say

receipts_cli = typer.Typer(no_args_is_help=True, help="The receipts of the runs this site took part in.")

Rosters = Annotated[
    list[Path] | None,
    typer.Option(
        "--roster",
        help="The roster; once more for each that the run was under. [default: roster.json in the directory]",
    ),
]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="The run's recipe: its threshold and smallest sum are then held to.")
]


@receipts_cli.command()
def verify(
    receipts: Annotated[Path, typer.Argument(help="A receipts file (.jsonl), or a site's or a run's directory.")],
    roster: Rosters = None,
    recipe: RecipeFile = None,
    site: Annotated[
        Path | None,
        typer.Option(help="A site's directory: the rosters it has used are held against the receipts'."),
    ] = None,
) -> None:
    """Check a chain of receipts offline, round by round, and say what it proves."""
    agreed = None if recipe is None else load_recipe(recipe)
    chain, file = _read(receipts)
    given = _given(receipts, roster)
    _require_no_two_faces(chain, file, site or receipts, given[0])
    proofs = _proofs(chain, file, given, agreed)
    if not chain:
        raise PolicyError(f"{file}: holds no receipts: nothing is proven")
    newest = given[0].hash.hex()
    for proof in proofs:
        say(_line(proof, newest))
    say(f"run {chain[0].run}, recipe {chain[0].recipe_hash[:12]}, {len(chain)} rounds")
    say(f"roster of {given[0].consortium}, fingerprint {given[0].fingerprint}: compare it with the coordinator's")
    say(
        "proven: the roster's server ordered each of these rounds, and the sites above signed its one session and "
        "survivors; each order followed from the receipt before, on the adapter that it names"
    )
    say(
        "not proven: that an adapter was made from the opened sum, that no round followed, or that another site was "
        "told the same (`sealora-site receipts compare`)"
    )
    if agreed is None:
        say("without --recipe, no more sites are asked for than a server that follows the protocol needs")


@receipts_cli.command()
def compare(
    ours: Annotated[Path, typer.Argument(help="A site's receipts (.jsonl), or its directory.")],
    theirs: Annotated[Path, typer.Argument(help="Another site's receipts of the same run.")],
    roster: Rosters = None,
    recipe: RecipeFile = None,
) -> None:
    """Compare two sites' chains, and name the first round in which the server told them different things.

    Both chains are checked first, so that nobody can accuse the server with a forged one.
    """
    agreed = None if recipe is None else load_recipe(recipe)
    (our_chain, our_file), (their_chain, their_file) = _read(ours), _read(theirs)
    if our_chain and their_chain and our_chain[0].run != their_chain[0].run:
        raise PolicyError("the two chains are of different runs: compare receipts of one run")
    given = _given(ours, roster)
    _require_no_two_faces(their_chain, their_file, ours, given[0])
    for chain, file in ((our_chain, our_file), (their_chain, their_file)):
        _proofs(chain, file, given, agreed)
    differs = first_difference(our_chain, their_chain)
    if differs is not None:
        raise PolicyError(
            f"the chains differ from round {differs} on: the server told the two sites different things; "
            "stop taking part and tell the consortium's coordinator"
        )
    common = min(len(our_chain), len(their_chain))
    say(f"the chains agree on rounds 1 to {common}" if common else "no round is in both chains yet")


def _read(path: Path) -> tuple[list[Receipt], Path]:
    file = receipts_file(path)
    try:
        return chain_from_bytes(read_file(file, LARGE.longest)), file
    except (OSError, UnreadableError) as error:
        raise PolicyError(
            f"{file}: cannot be read ({why_not(error)}): give a receipts file or a site's directory"
        ) from None
    except PolicyError as error:
        raise PolicyError(f"{file}: {error}") from None


def _given(path: Path, named: list[Path] | None) -> list[Roster]:
    """The rosters that are named, or the directory's; the first one's coordinator must have signed them all."""
    files = named or [path / "roster.json"]
    if not named and not files[0].exists():
        raise PolicyError(f"{path}: no roster.json there: give the roster with --roster")
    first = Roster.load(files[0])
    return [first, *(Roster.load(file, coordinator=first.coordinator_pin) for file in files[1:])]


def _require_no_two_faces(chain: list[Receipt], file: Path, site: Path, roster: Roster) -> None:
    """Refuses receipts under another roster of a number than the site has used; a file alone knows of none."""
    if not site.is_dir():
        return
    seen = read_seen(site)
    for receipt in chain:
        number, digest = receipt.order.roster_sequence, receipt.roster_hash
        if seen.contradicts(roster.coordinator_pin, number, digest):
            raise PolicyError(
                f"{file}: two faces: round {receipt.round_number} was under a roster number {number} ({digest[:12]}), "
                f"and {site} has used another of that number: stop taking part and compare fingerprints with the others"
            )


def _proofs(chain: list[Receipt], file: Path, given: list[Roster], recipe: Recipe | None) -> list[RoundProof]:
    book, digests = RosterBook(file.parent / "rosters"), {receipt.roster_hash for receipt in chain}
    known = book.with_kept(
        {roster.hash.hex(): roster for roster in given}, digests, coordinator=given[0].coordinator_pin
    )
    try:
        return check_chain(chain, known, recipe=recipe)
    except PolicyError as error:
        raise PolicyError(f"{file}: {error}") from None


def _line(proof: RoundProof, newest: str) -> str:
    receipt = proof.receipt
    earlier = "" if receipt.roster_hash == newest else f"; under roster {receipt.roster_hash[:12]}, not the one given"
    return (
        f"round {receipt.round_number}, attempt {receipt.order.attempt}: {len(receipt.survivors)} survivors "
        f"({', '.join(receipt.survivors)}); {len(proof.confirmed)} confirmations, {proof.needed} needed "
        f"({', '.join(proof.confirmed)}){earlier}"
    )
