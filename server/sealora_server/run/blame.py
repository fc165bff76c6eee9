"""Sites that broke the sealing protocol in a run: what shows it lies in the run's directory, and they are left out.

Only what a site signed itself and no honest site ever signs counts (see `sealora_common.secagg.faults`); a site that is
merely silent or slow is lost from a round and comes back in the next.
"""

from __future__ import annotations

from pathlib import Path

from sealora_common.errors import FederationError
from sealora_common.records.event_log import EventLog
from sealora_common.records.events import SiteBlamed
from sealora_common.roster import Roster
from sealora_common.secagg import Fault, ProtocolError
from sealora_common.storage.durable import write_atomically

_DIRECTORY = "faults"
_SUFFIX = ".fault"


class Blame:
    """The sites of one run that were shown to have broken the protocol.

    Args:
        directory: the run's.
        events: the run's.
    """

    def __init__(self, directory: Path, events: EventLog) -> None:
        self._directory = directory
        self._events = events

    def note(self, fault: Fault, roster: Roster) -> bool:
        """Keeps the evidence, durably, and tells the operator; of one site the first fault is enough.

        Evidence that would convince nobody else is dropped: an honest server has none, and leaves no site out on it.

        Args:
            fault: what a session found.
            roster: the whole one, also if the session was among a group.

        Returns:
            Whether the site is left out for it from now on.
        """
        site = fault.name(roster)
        if site in self.sites():
            return False
        try:
            fault.prove(roster)
        except ProtocolError:
            return False
        round_number, attempt = fault.terms.round_number, fault.terms.attempt
        file = Path(_DIRECTORY) / f"{site}{_SUFFIX}"
        write_atomically(self._directory / file, fault.to_bytes())
        self._events.write(
            SiteBlamed(round=round_number, attempt=attempt, site=site, reason=fault.sentence, evidence=str(file))
        )
        return True

    def sites(self) -> tuple[str, ...]:
        """Their names. To let one take part again, the operator moves its file away."""
        return tuple(sorted(file.stem for file in (self._directory / _DIRECTORY).glob(f"*{_SUFFIX}")))


def left_out(site: str) -> FederationError:
    """Why a blamed site takes no part."""
    return FederationError(
        f"it broke the sealing protocol in this run, which {_DIRECTORY}/{site}{_SUFFIX} in the run's directory shows: "
        "mend the site, then move that file away to let it take part again"
    )
