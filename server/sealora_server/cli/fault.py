"""`sealora fault`: whether a file shows that a site broke the sealing protocol, for anybody with the roster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_common.config import LARGE, read_file, why_not
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.roster import Roster
from sealora_common.secagg import Fault, ProtocolError
from sealora_common.show.say import say


def fault(
    evidence: Annotated[Path, typer.Argument(help="A file from a run's faults/.")],
    roster: Annotated[Path, typer.Option(help="The roster that the run was under.")],
) -> None:
    """Check what shows that a site broke the sealing protocol. It takes the roster and nobody's word.

    Exit code 1: the file does not show it.
    """
    members = Roster.load(roster)
    try:
        found = Fault.from_bytes(read_file(evidence, LARGE.longest))
    except (OSError, UnreadableError) as error:
        raise PolicyError(f"{evidence}: cannot be read ({why_not(error)}): give a file from a run's faults/") from None
    except ProtocolError as error:
        raise PolicyError(
            f"{evidence}: {error}; nobody is to blame on this: give a whole file from a run's faults/, of this version"
        ) from None
    try:
        found.prove(members)
    except ProtocolError as error:
        raise PolicyError(
            f"{evidence}: {error}; nobody is to blame on this: {roster} must be the run's roster"
        ) from None
    site = found.name(members)
    where = f"run {found.terms.run.hex()}, round {found.terms.round_number}, attempt {found.terms.attempt}"
    say(f"{site} broke the sealing protocol in {where}: {found.sentence}")
