"""A share that the others know nothing of: a corrupted site and the network slip a second statement and an envelope
into what the victim is told.

The victim would mask with a site that does not mask with it, nobody would take that mask off, and the sum would open
to noise. The rules: what each site shared is part of the transcript; each drew the number of neighbours it should.
"""

from __future__ import annotations

import pytest

from sealora_common.errors import FederationError
from sealora_common.secagg import OpenedSum, ProtocolError, ServerSession
from sealora_common.secagg.bodies import CheckRequest, Committed, Envelope, ShareMessage, ShareStatement
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.messages import Kind, content_digest
from sealora_common.secagg.transcript import Shared, Transcript, keys_digest
from secagg_turned import go_on
from secagg_weakened import weaken, weakened

from secagg_attacker import Attacker, plan_draws
from secagg_runs import Federation, Run, clone_site, same

FEDERATION = Federation.of(9, small_graph=Neighbourhood(4, 4))
VICTIM, CORRUPTED = 0, 4
DRAWS = {VICTIM: (1, 2, 3, 5), CORRUPTED: (1, 2, 3, 5)}
SLIPPED = (0, 1, 2, 3)


def with_a_second_statement(monkeypatch: pytest.MonkeyPatch) -> tuple[Run, OpenedSum]:
    """The corrupted site drew four others, and the victim is shown a statement by which it drew the victim."""
    run = Run(FEDERATION)
    run.step("advertise")
    plan_draws(monkeypatch, 9, DRAWS | {CORRUPTED: SLIPPED})
    everyone = run.close("share")
    second = ShareMessage.from_bytes(clone_site(run.sites[CORRUPTED]).share(everyone[CORRUPTED]))
    plan_draws(monkeypatch, 9, DRAWS)

    def on_request(stage: str, index: int, request: bytes) -> bytes:
        if (stage, index) != ("check", VICTIM):
            return request
        told = CheckRequest.from_bytes(request)
        table = told.table | {CORRUPTED: Shared(content_digest(second.signed), SLIPPED)}
        return CheckRequest(table, told.sent | {CORRUPTED: (second.signed, second.envelopes[VICTIM])}).to_bytes()

    run.on_request = on_request
    run.answers["share"] = {index: run.answer("share", index, request) for index, request in everyone.items()}
    for message in run.answers["share"].values():
        run.deliver("share", message)
    go_on(run, "open").step("open", {VICTIM})
    return run, run.server.open()


def test_a_second_statement_spoils_the_sum_where_shares_are_not_agreed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, Transcript, "shared_digest", (" + table_bytes(self.shared)", ""))
    run, opened = with_a_second_statement(monkeypatch)
    assert not same(opened.vector, run.expected(opened.survivors))


def test_a_site_that_was_shown_a_second_statement_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProtocolError, match="checked other keys or shares"):
        with_a_second_statement(monkeypatch)


@pytest.mark.parametrize(
    "false",
    [
        (1, 2, 3, 5),  # not the victim, which has an envelope of it
        (0, 1, 2),  # too few
        (0, 1, 2, 3, 5),  # too many
        tuple(range(9)),  # all, itself too
        (0, 1, 2, CORRUPTED),  # itself
        (0, 1, 2, 9),  # not of this round
        (0, 1, 2, 2**16 - 1),
    ],
)
def test_neighbours_other_than_drawn_are_refused(false: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    plan_draws(monkeypatch, 9, {CORRUPTED: SLIPPED})
    run = Run(FEDERATION).until("check")
    told = CheckRequest.from_bytes(run.close("check")[VICTIM])
    table = told.table | {CORRUPTED: Shared(told.table[CORRUPTED].statement, false)}
    with pytest.raises(ProtocolError, match=r"other neighbours|its own neighbour|withheld, or comes from none"):
        run.answer("check", VICTIM, CheckRequest(table, told.sent).to_bytes())


def test_a_statement_that_names_other_neighbours_than_the_table_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_draws(monkeypatch, 9, {CORRUPTED: SLIPPED})
    run = Run(FEDERATION).until("check")
    told = CheckRequest.from_bytes(run.close("check")[VICTIM])
    table = told.table | {CORRUPTED: Shared(told.table[CORRUPTED].statement, (0, 1, 2, 5))}
    with pytest.raises(ProtocolError, match="other neighbours than the server told"):
        run.answer("check", VICTIM, CheckRequest(table, told.sent).to_bytes())


def test_a_share_of_a_site_without_keys_is_refused() -> None:
    run = Run(Federation.of(7)).until("check", {6: "advertise"})
    told = CheckRequest.from_bytes(run.close("check")[VICTIM])
    table = told.table | {6: Shared(bytes(32), (0, 1, 2, 3, 4))}
    with pytest.raises(ProtocolError, match="takes no part"):
        run.answer("check", VICTIM, CheckRequest(table, told.sent).to_bytes())


def test_a_share_of_a_site_that_drew_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_draws(monkeypatch, 9, DRAWS)
    run = Run(FEDERATION).until("check")
    told = CheckRequest.from_bytes(run.close("check")[VICTIM])
    share = ShareMessage.from_bytes(run.answers["share"][CORRUPTED])
    slipped = told.sent | {CORRUPTED: (share.signed, share.envelopes[1])}
    with pytest.raises(ProtocolError, match="withheld, or comes from none"):
        run.answer("check", VICTIM, CheckRequest(told.table, slipped).to_bytes())


def test_a_share_said_to_come_from_the_site_itself_is_refused() -> None:
    run = Run(Federation.of(4)).until("check")
    told = CheckRequest.from_bytes(run.close("check")[VICTIM])
    slipped = told.sent | {VICTIM: told.sent[1]}
    with pytest.raises(ProtocolError, match="withheld, or comes from none"):
        run.answer("check", VICTIM, CheckRequest(told.table, slipped).to_bytes())


SPARSE = Federation.of(5, small_graph=Neighbourhood(3, 3))


def drawing(run: Run, index: int, recipients: tuple[int, ...]) -> bytes:
    """What a turned site sends that draws whom it likes."""
    digests = {site: advertisement.digest for site, (advertisement, _) in run.server._advertised.items()}
    sealed = Envelope(bytes(64 + 1136), bytes(32 + 1136))
    committed = tuple(Committed(bytes(32), bytes(32), bytes(32)) for _ in recipients)
    envelopes = tuple(sealed.digest for _ in recipients)
    statement = ShareStatement(keys_digest(digests), bytes(32), recipients, envelopes, committed)
    signed = Attacker(run.federation).signs(index, Kind.SHARE, statement.to_bytes())
    return ShareMessage(signed, dict.fromkeys(recipients, sealed)).to_bytes()


@pytest.mark.parametrize("recipients", [(), (1,), (1, 2, 3, 4), (0, 1, 2), (1, 2, 77)])
def test_the_server_leaves_out_a_site_that_shared_with_others_than_it_should(recipients: tuple[int, ...]) -> None:
    run = Run(SPARSE).until("share")
    run.close("share")
    with pytest.raises(ProtocolError, match="as many of the others"):
        run.deliver("share", drawing(run, 0, recipients))


def test_a_site_that_drew_too_many_costs_all_the_round_where_the_server_takes_it() -> None:
    careless = weakened(ServerSession, add_shares=(" or len(drawn) != self._neighbourhood.neighbours", ""))
    run = Run(SPARSE)
    run.server = careless(SPARSE.terms, SPARSE.roster)
    run.step("advertise")
    requests = run.close("share")
    for index in (1, 2, 3, 4):
        run.deliver("share", run.answer("share", index, requests[index]))
    run.deliver("share", drawing(run, 0, (1, 2, 3, 4)))
    for index, request in run.close("check").items():
        if index != 0:
            with pytest.raises(FederationError, match="other neighbours than it should"):
                run.answer("check", index, request)
