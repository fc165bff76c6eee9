"""Sites that break the protocol: what they send instead, signed with their own keys.

`Culprits` puts such messages in the place of honest ones as a round goes on. What a culprit sends fits its own session
otherwise, so that only the rule that is meant to find it can.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sealora_common.secagg import keys
from sealora_common.secagg.bodies import (
    CheckStatement,
    Committed,
    Disclosure,
    Envelope,
    Given,
    Opening,
    ShareMessage,
    ShareStatement,
)
from sealora_common.secagg.messages import Kind, content_digest, open_signed, sign

from secagg_runs import Federation, Run

Trick = Callable[[Run, int, bytes], bytes]
"""What a site sends instead of its message: of the round, its index and the message."""


@dataclass
class Culprits:
    """A hook on the answers of a round: `tricks` by stage and site."""

    tricks: Mapping[tuple[str, int], Trick]

    def join(self, run: Run) -> Run:
        """Makes the round's answers go through the culprits."""
        run.on_answer = lambda stage, index, message: self.answer(run, stage, index, message)
        return run

    def answer(self, run: Run, stage: str, index: int, message: bytes) -> bytes:
        trick = self.tricks.get((stage, index))
        return trick(run, index, message) if trick else message


def signed(federation: Federation, index: int, kind: Kind, body: bytes) -> bytes:
    """A message of the round, signed by the site itself."""
    return sign(kind, body, federation.terms, federation.identity(index), index)


def body_of(federation: Federation, message: bytes, kind: Kind) -> bytes:
    return open_signed(message, kind, federation.terms, federation.roster)[1]


def made_up() -> Given:
    """What nobody's secrets come of."""
    return Given(os.urandom(32), os.urandom(32), os.urandom(32))


def shares_with(
    *,
    committed: Mapping[int, Callable[[Given], Given]] | None = None,
    sealed: Mapping[int, Callable[[Given], Given]] | None = None,
    seed: bytes | None = None,
) -> Trick:
    """A site that commits to, and then seals, something else than it should.

    Args:
        committed: by holder, what it commits to and seals, of what it should.
        sealed: by holder, what it seals, of what it has committed to.
        seed: what it commits to as its self-mask seed.
    """

    def trick(run: Run, index: int, message: bytes) -> bytes:
        federation, state = run.federation, run.sites[index]._state
        digest = federation.terms.digest
        share = ShareMessage.from_bytes(message)
        statement = ShareStatement.from_bytes(body_of(federation, share.signed, Kind.SHARE))
        for holder, change in (committed or {}).items():
            state.given[holder] = change(state.given[holder])
        envelopes = dict(share.envelopes)
        for holder in {*(committed or {}), *(sealed or {})}:
            change = (sealed or {}).get(holder, lambda given: given)
            given = change(state.given[holder])
            envelopes[holder] = Envelope.seal(given, state.peers[holder], index, holder, digest)
        of_seed = statement.self_mask if seed is None else keys.commitment(b"seed", index, index, seed, digest)
        made: list[Committed] = [state.given[holder].commitments(index, holder, digest) for holder in state.neighbours]
        statement = replace(
            statement,
            self_mask=of_seed,
            envelopes=tuple(envelopes[holder].digest for holder in state.neighbours),
            committed=tuple(made),
        )
        message = signed(federation, index, Kind.SHARE, statement.to_bytes())
        state.statement = content_digest(message)
        return ShareMessage(message, envelopes).to_bytes()

    return trick


def unusable_for(*holders: int) -> Trick:
    """A site whose envelopes for these holders hold something else than it has committed to."""
    return shares_with(sealed=dict.fromkeys(holders, lambda _: made_up()))


def complains_of(*sites: int) -> Trick:
    """A site that complains of these, rightly or not, and of no others."""

    def trick(run: Run, index: int, message: bytes) -> bytes:
        checked = CheckStatement.from_bytes(body_of(run.federation, message, Kind.CHECK))
        run.sites[index]._state.accused = {site: run.server._shared[site].signed for site in sites}
        return signed(run.federation, index, Kind.CHECK, CheckStatement(checked.transcript, sites).to_bytes())

    return trick


def discloses(change: Callable[[Mapping[int, Given]], dict[int, Given]]) -> Trick:
    """A site that discloses something else than it should, of what it should."""

    def trick(run: Run, index: int, message: bytes) -> bytes:
        disclosure = Disclosure.from_bytes(body_of(run.federation, message, Kind.DISCLOSE))
        body = Disclosure(disclosure.transcript, change(disclosure.given)).to_bytes()
        return signed(run.federation, index, Kind.DISCLOSE, body)

    return trick


def opens(change: Callable[[Opening], Opening]) -> Trick:
    """A site that opens something else than it should, of what it should."""

    def trick(run: Run, index: int, message: bytes) -> bytes:
        opening = Opening.from_bytes(body_of(run.federation, message, Kind.OPEN))
        return signed(run.federation, index, Kind.OPEN, change(opening).to_bytes())

    return trick


def opens_false_shares_of(*owners: int) -> Trick:
    """A site whose shares of these owners' secrets are made up."""

    def change(opening: Opening) -> Opening:
        false = {owner: (opening.shares[owner][0], os.urandom(32)) for owner in owners}
        return replace(opening, shares=opening.shares | false)

    return opens(change)


def opens_another_seed() -> Trick:
    """A site whose own self-mask seed is made up."""
    return opens(lambda opening: replace(opening, self_mask=os.urandom(32)))
