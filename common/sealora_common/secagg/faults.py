"""Who broke the protocol, shown by what it signed itself: evidence that anybody with the roster can check.

A fault is only what an honest site never does, whatever the server and the corrupted sites do together. So nobody can
be framed: each piece of evidence is bound to one session by a transcript, in which the keys are fresh, and an honest
site signs a complaint, a disclosure or an opening only under the transcript in which its own part is as it sent it.
What cannot be shown to others (a site that fell silent, a vector that does not match its signed digest, for the vector
itself is not signed) is no fault here; such a site is merely left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from sealora_common.roster import Roster
from sealora_common.secagg import keys, shares
from sealora_common.secagg.bodies import (
    ENVELOPE_BYTES,
    Advertisement,
    CheckStatement,
    Disclosure,
    Envelope,
    Given,
    Opening,
    ShareKind,
    ShareStatement,
)
from sealora_common.secagg.errors import ProtocolError
from sealora_common.secagg.messages import Kind, content_digest, open_signed
from sealora_common.secagg.terms import RoundTerms, most_corrupted
from sealora_common.secagg.transcript import Transcript, keys_digest
from sealora_common.secagg.wire import Reader, Writer

_MAGIC = b"SLRF"
_LIMIT = 1 << 26


class FaultKind(IntEnum):
    """What a site did."""

    COMPLAINTS = 1
    DISCLOSURE = 2
    SHARE = 3
    SEED = 4
    SECRET = 5
    CONTRIBUTION = 6


_SENTENCES = {
    FaultKind.COMPLAINTS: "more sites than can be corrupted could not use what it sent them",
    FaultKind.DISCLOSURE: "it disclosed other shares than it had committed to",
    FaultKind.SHARE: "it opened another share than the one it had been given and had accepted",
    FaultKind.SEED: "it opened another self-mask than the one it had committed to",
    FaultKind.SECRET: "the shares it handed out do not restore the secret it had committed to",
    FaultKind.CONTRIBUTION: "its contribution to a mask does not open",
}


@dataclass(frozen=True)
class Fault:
    """A site's fault, and what shows it.

    Attributes:
        site: index of the site among those of the session.
        kind: what it did.
        terms: of the session.
        transcript: of the session.
        messages: signed messages, in an order that depends on the kind.
        extra: what is not signed by itself but by its digest: an envelope, a restored seed, an advertisement.
        members: of a session among a group, the indices of its members on the whole roster; empty without groups.
    """

    site: int
    kind: FaultKind
    terms: RoundTerms
    transcript: Transcript
    messages: tuple[bytes, ...] = ()
    extra: tuple[bytes, ...] = field(default=())
    members: tuple[int, ...] = ()

    @property
    def sentence(self) -> str:
        """What the site did."""
        return _SENTENCES[self.kind]

    def to_bytes(self) -> bytes:
        """The evidence as a file: what `from_bytes` reads."""
        writer = Writer().fixed(_MAGIC, 4).unsigned(self.site, 2).unsigned(self.kind, 1).indices(self.members)
        writer.variable(self.terms.to_bytes()).variable(self.transcript.to_bytes())
        for parts in (self.messages, self.extra):
            writer.unsigned(len(parts), 2)
            for part in parts:
                writer.variable(part)
        return writer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Fault:
        """Reads evidence; it proves nothing before `prove`.

        Raises:
            ProtocolError: it is no evidence of this version.
        """
        reader = Reader(content)
        if reader.fixed(4) != _MAGIC:
            raise ProtocolError("this is no evidence of a fault in a sealed round")
        site, kind = reader.unsigned(2), reader.unsigned(1)
        if kind not in _SENTENCES:
            raise ProtocolError("the evidence is of a kind this version does not know")
        members = reader.indices()
        terms = RoundTerms.from_bytes(reader.variable(_LIMIT))
        transcript = Transcript.from_bytes(reader.variable(_LIMIT))
        messages, extra = (tuple(reader.variable(_LIMIT) for _ in range(reader.unsigned(2))) for _ in range(2))
        reader.finish()
        return cls(site, FaultKind(kind), terms, transcript, messages, extra, members)

    def name(self, roster: Roster) -> str:
        """The site's name.

        Args:
            roster: the whole one.

        Raises:
            ProtocolError: it has no such site.
        """
        names = self._among(roster).names
        if self.site >= len(names):
            raise ProtocolError("the evidence names a site that is not on the roster")
        return names[self.site]

    def prove(self, roster: Roster) -> None:
        """Checks that the evidence shows the fault, with nothing but the roster.

        Args:
            roster: the whole one, also where sites are sealed in groups.

        Raises:
            ProtocolError: it does not.
        """
        among = self._among(roster)
        if self.terms.roster_hash != among.hash or self.terms.roster_size != len(among):
            raise ProtocolError("the evidence is of a session under another roster")
        if any(site >= len(among) for site in (self.site, *self.transcript.keys)):
            raise ProtocolError("the evidence is of a session with sites that are not on the roster")
        proof = _Proof(self, among, most_corrupted(len(roster)))
        proofs = {
            FaultKind.COMPLAINTS: proof.complaints,
            FaultKind.DISCLOSURE: proof.disclosure,
            FaultKind.SHARE: proof.share,
            FaultKind.SEED: proof.seed,
            FaultKind.SECRET: proof.secret,
            FaultKind.CONTRIBUTION: proof.contribution,
        }
        try:
            shown = proofs[self.kind]()
        except (IndexError, KeyError, ValueError):
            raise ProtocolError("the evidence lacks what it must show") from None
        if not shown:
            raise ProtocolError("the evidence does not show the fault")

    def _among(self, roster: Roster) -> Roster:
        """The sites of the session: all of the roster, or a group of it."""
        if not self.members:
            return roster
        if self.members[-1] >= len(roster):
            raise ProtocolError("the evidence is of a session with sites that are not on the roster")
        return roster.subset(roster.names[index] for index in self.members)


class _Proof:
    """The checks of one fault's evidence. Each says whether the fault is shown; what is missing raises."""

    def __init__(self, fault: Fault, roster: Roster, corrupted: int) -> None:
        self._fault = fault
        self._roster = roster
        self._corrupted = corrupted
        self._digest = fault.terms.digest

    def complaints(self) -> bool:
        """`messages`: signed checks. Complainers may be corrupted themselves, so it takes more than can be."""
        complainers = set()
        for message in self._fault.messages:
            sender, body = self._signed(message, Kind.CHECK)
            checked = CheckStatement.from_bytes(body)
            if checked.transcript != self._fault.transcript.shared_digest or self._fault.site not in checked.complaints:
                return False
            complainers.add(sender)
        return len(complainers) > max(1, self._corrupted)

    def disclosure(self) -> bool:
        """`messages`: the site's statement and its disclosure."""
        statement = self._statement(self._fault.messages[0], self._fault.site)
        sender, body = self._signed(self._fault.messages[1], Kind.DISCLOSE)
        disclosure = Disclosure.from_bytes(body)
        if sender != self._fault.site or disclosure.transcript != self._fault.transcript.shared_digest:
            return False
        return any(
            holder not in statement.neighbours or not self._fits(given, statement, holder)
            for holder, given in disclosure.given.items()
        )

    def share(self) -> bool:
        """`messages`: an owner's statement, and the opening of the site that holds a share of it."""
        opening = self._opening(self._fault.messages[1], self._fault.site)
        owner, statement = self._any_statement(self._fault.messages[0])
        if self._fault.site not in self._fault.transcript.checked or owner not in self._fault.transcript.checked:
            return False
        kind, share = opening.shares[owner]
        return not self._share_fits(statement, owner, self._fault.site, kind, share)

    def seed(self) -> bool:
        """`messages`: the site's statement and its opening."""
        statement = self._statement(self._fault.messages[0], self._fault.site)
        opening = self._opening(self._fault.messages[1], self._fault.site)
        return not self._seed_fits(statement, opening.self_mask)

    def secret(self) -> bool:
        """`messages`: the site's statement, then openings of its holders; `extra`: its advertisement."""
        site, transcript = self._fault.site, self._fault.transcript
        statement = self._statement(self._fault.messages[0], site)
        advertisement = self._advertisement(self._fault.extra[0], site)
        held: dict[int, bytes] = {}
        kinds = set()
        for message in self._fault.messages[1:]:
            holder, body = self._signed(message, Kind.OPEN)
            opening = Opening.from_bytes(body)
            kind, share = opening.shares[site]
            if opening.transcript != transcript.digest or not self._share_fits(statement, site, holder, kind, share):
                return False
            kinds.add(kind)
            held[transcript.point(site, holder)] = share
        threshold = self._fault.terms.neighbourhood(len(transcript.keys)).threshold
        if len(kinds) != 1 or len(held) < threshold:
            return False
        secret = shares.combine(held, threshold)
        if kinds == {ShareKind.SELF_MASK}:
            return not self._seed_fits(statement, secret)
        if keys.KeyPair(secret).public != advertisement.mask_public:
            return True
        return not contributions_fit(statement, site, secret, self._digest)

    def contribution(self) -> bool:
        """`messages`: the site's statement; `extra`: its envelope for a peer, that peer's advertised keys, its seed."""
        statement = self._statement(self._fault.messages[0], self._fault.site)
        content, advertised, seed = self._fault.extra
        reader = Reader(content)
        envelope = Envelope.read(reader)
        reader.finish()
        (holder,) = (
            site for site in statement.neighbours if self._fault.transcript.keys[site] == _digest_of(advertised)
        )
        pair = keys.KeyPair(seed)
        if pair.public != self._advertisement(advertised, holder).mask_public:
            return False
        digest, _ = statement.of(holder)
        if len(content) != ENVELOPE_BYTES or envelope.digest != digest:
            return False
        try:
            opened = envelope.unseal_contribution(pair, self._fault.site, holder, self._digest)
        except ProtocolError:
            return True
        return not contribution_fits(statement, self._fault.site, holder, opened, self._digest)

    def _signed(self, message: bytes, kind: Kind) -> tuple[int, bytes]:
        return open_signed(message, kind, self._fault.terms, self._roster)

    def _statement(self, message: bytes, site: int) -> ShareStatement:
        owner, statement = self._any_statement(message)
        if owner != site:
            raise ProtocolError("the evidence shows another site's statement")
        return statement

    def _any_statement(self, message: bytes) -> tuple[int, ShareStatement]:
        """A statement that is part of the transcript and was made under its keys."""
        owner, body = self._signed(message, Kind.SHARE)
        statement = ShareStatement.from_bytes(body)
        transcript = self._fault.transcript
        entry = transcript.shared[owner]
        if (
            entry.statement != content_digest(message)
            or entry.neighbours != statement.neighbours
            or statement.keys_digest != keys_digest(transcript.keys)
        ):
            raise ProtocolError("the evidence shows a statement of another session")
        return owner, statement

    def _opening(self, message: bytes, site: int) -> Opening:
        sender, body = self._signed(message, Kind.OPEN)
        opening = Opening.from_bytes(body)
        if sender != site or opening.transcript != self._fault.transcript.digest:
            raise ProtocolError("the evidence shows an opening of another session")
        return opening

    def _advertisement(self, body: bytes, site: int) -> Advertisement:
        if _digest_of(body) != self._fault.transcript.keys[site]:
            raise ProtocolError("the evidence shows keys of another session")
        return Advertisement.from_bytes(body)

    def _fits(self, given: Given, statement: ShareStatement, holder: int) -> bool:
        return given.commitments(self._fault.site, holder, self._digest) == statement.of(holder)[1]

    def _share_fits(self, statement: ShareStatement, owner: int, holder: int, kind: ShareKind, share: bytes) -> bool:
        return share_fits(statement, owner, holder, kind, share, self._digest)

    def _seed_fits(self, statement: ShareStatement, seed: bytes) -> bool:
        return seed_fits(statement, self._fault.site, seed, self._digest)


def share_fits(
    statement: ShareStatement, owner: int, holder: int, kind: ShareKind, share: bytes, terms_digest: bytes
) -> bool:
    """Whether a share of `owner` that `holder` opened is the one that `owner` committed to."""
    _, committed = statement.of(holder)
    if kind is ShareKind.SELF_MASK:
        return keys.commitment(b"self mask", owner, holder, share, terms_digest) == committed.self_mask
    return keys.commitment(b"mask seed", owner, holder, share, terms_digest) == committed.mask_seed


def seed_fits(statement: ShareStatement, owner: int, seed: bytes, terms_digest: bytes) -> bool:
    """Whether this is the self-mask seed that `owner` committed to."""
    return keys.commitment(b"seed", owner, owner, seed, terms_digest) == statement.self_mask


def contribution_fits(
    statement: ShareStatement, owner: int, holder: int, contribution: bytes, terms_digest: bytes
) -> bool:
    """Whether this is what `owner` committed to contribute to its mask with `holder`."""
    _, committed = statement.of(holder)
    return keys.commitment(b"contribution", owner, holder, contribution, terms_digest) == committed.contribution


def contributions_fit(statement: ShareStatement, owner: int, mask_seed: bytes, terms_digest: bytes) -> bool:
    """Whether all that `owner` committed to contribute follows from its mask seed."""
    return all(
        contribution_fits(
            statement, owner, holder, keys.contribution(mask_seed, owner, holder, terms_digest), terms_digest
        )
        for holder in statement.neighbours
    )


def _digest_of(advertised: bytes) -> bytes:
    return Advertisement.from_bytes(advertised).digest
