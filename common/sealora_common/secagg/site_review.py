"""What a site holds against what it knows before it believes a word of the server's about the other sites."""

from __future__ import annotations

from sealora_common.roster import Roster
from sealora_common.secagg.bodies import CheckStatement, Disclosure, ShareStatement
from sealora_common.secagg.errors import ProtocolError, TooFewSitesError
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.messages import Kind, content_digest, open_signed
from sealora_common.secagg.site_state import SiteState
from sealora_common.secagg.terms import RoundTerms
from sealora_common.secagg.transcript import Shared, keys_digest


class Review:
    """One site's checks of what it is told in a session. Each raises ProtocolError, which ends the session here."""

    def __init__(self, terms: RoundTerms, roster: Roster, index: int, state: SiteState) -> None:
        self._terms = terms
        self._roster = roster
        self._index = index
        self._state = state

    def table(self, table: dict[int, Shared]) -> None:
        state, neighbourhood = self._state, self.neighbourhood
        if not set(table) <= set(state.peers):
            raise ProtocolError("a share comes from a site that takes no part in the round: it was refused")
        if table.get(self._index) != Shared(state.statement, state.neighbours):
            raise ProtocolError("the sites said to have shared are not those of this round: it was refused")
        for one in table.values():
            if len(one.neighbours) != neighbourhood.neighbours or not set(one.neighbours) <= set(state.peers):
                raise ProtocolError("a site shared its secrets among other neighbours than it should: it was refused")

    def statement(self, sender: int, signed: bytes) -> ShareStatement:
        """A peer's statement, if it is the one that the table tells of and was made under the keys this site knows."""
        signer, body = open_signed(signed, Kind.SHARE, self._terms, self._roster)
        table = self._state.transcript.shared
        if signer != sender or content_digest(signed) != table[sender].statement:
            raise ProtocolError("a site's statement is not the one that the server told of: the round is refused")
        statement = ShareStatement.from_bytes(body)
        if statement.neighbours != table[sender].neighbours:
            raise ProtocolError("a site drew other neighbours than the server told: the round is refused")
        if statement.keys_digest != keys_digest(self._state.transcript.keys):
            raise two_stories("keys")
        return statement

    def checked(self, message: bytes) -> tuple[int, CheckStatement]:
        sender, body = open_signed(message, Kind.CHECK, self._terms, self._roster)
        checked = CheckStatement.from_bytes(body)
        if sender not in self._state.transcript.shared:
            raise ProtocolError("a site is said to have checked that shared nothing: the round is refused")
        if checked.transcript != self._state.transcript.shared_digest:
            raise two_stories("keys or shares")
        return sender, checked

    def take_disclosure(self, message: bytes) -> None:
        """Takes what a site disclosed to this one, if it is what that site has committed to."""
        state = self._state
        sender, body = open_signed(message, Kind.DISCLOSE, self._terms, self._roster)
        disclosure = Disclosure.from_bytes(body)
        if sender not in state.accused or self._index not in disclosure.given:
            raise ProtocolError("a site disclosed what this one did not ask for: the round is refused")
        given = disclosure.given[self._index]
        _, committed = self.statement(sender, state.accused[sender]).of(self._index)
        if (
            disclosure.transcript != state.transcript.shared_digest
            or given.commitments(sender, self._index, self._terms.digest) != committed
        ):
            raise ProtocolError("a site disclosed other shares than it committed to: the round is refused")
        state.held[sender] = given

    def require_holders(self, owner: int, present: tuple[int, ...]) -> None:
        """Refuses to go on if too few of an owner's holders are left: the server may be cutting it off."""
        left = len(set(self._state.transcript.holders(owner)) & set(present))
        if left < self.neighbourhood.threshold:
            raise TooFewSitesError(
                f"only {left} holders of site {self._roster.names[owner]!r} are left, "
                f"{self.neighbourhood.threshold} are needed: nothing is opened"
            )

    def require(self, count: int, did: str) -> None:
        """Refuses to go on with fewer sites than the terms ask for."""
        if count < self._terms.needed:
            raise TooFewSitesError(
                f"only {count} of {self._terms.roster_size} sites {did}, {self._terms.needed} are needed: "
                "nothing is opened"
            )

    @property
    def neighbourhood(self) -> Neighbourhood:
        """How many neighbours each site has in this session, and how many shares restore its secrets."""
        return self._terms.neighbourhood(len(self._state.peers))


def two_stories(what: str) -> ProtocolError:
    """The error that says so: a server that does this must be found out."""
    return ProtocolError(
        f"the server told two sites two different sets of {what}: nothing is opened; tell the consortium's coordinator"
    )
