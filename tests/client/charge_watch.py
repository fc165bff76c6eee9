"""A site whose ledger and vectors are watched while a round is disturbed."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import RecordDict

from sealora_client.ledger import ChargeRow, Ledger
from sealora_common.round.order import RoundOrder
from sealora_common.secagg import ProtocolError
from sealora_common.secagg.errors import TooFewSitesError

from site_bench import Bench, payload_of, refusal_of

STAGES = ("share", "check", "disclose", "mask", "confirm", "open")
VICTIM, LIAR = "site-0", "site-2"


class Watch:
    """The victim's ledger, and the vectors that it let go."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.vectors = 0

    def charges(self) -> list[ChargeRow]:
        """Those of the training records, but for voided ones."""
        with Ledger(self.bench.directory(VICTIM) / "ledger.sqlite") as ledger:
            return ledger.charges(self.bench.site.data.train_set)

    def paid(self) -> int:
        """Rounds of epsilon that are gone for good."""
        return sum(not row.is_unused for row in self.charges())

    def ask(self, name: str, stage: str, payload: bytes) -> bytes | None:
        """A stage of one site; None if it refuses."""
        content = self.bench.stage(name, stage, payload)
        if name == VICTIM and stage == "mask" and content.array_records:
            self.vectors += 1
        if "error" in content.config_records.get("config", {}):
            refusal_of(content)
            return None
        return payload_of(content)

    def play(self, order: RoundOrder, disturb: Callable[[Watch, str, str, bytes], bytes | None] | None = None) -> bool:
        """A round; `disturb` may answer in a site's place, or let it say nothing. Whether the sum could be opened."""
        bench = self.bench
        session = bench.session(order)
        for name in bench.roster.names:
            bench.contexts[name].state = RecordDict()
            session.add_advertisement(payload_of(bench.begin(name, order)))
        steps = (
            (session.close_advertisements, session.add_shares),
            (session.close_shares, session.add_check),
            (session.close_checks, session.add_disclosure),
            (session.close_disclosures, session.add_masked),
            (session.close_masked, session.add_confirmation),
            (session.close_confirmations, session.add_opening),
        )
        try:
            for stage, (close, take) in zip(STAGES, steps, strict=True):
                requests = {bench.roster.names[index]: payload for index, payload in close().items()}
                for name, payload in requests.items():
                    answer = (disturb or Watch.ask)(self, name, stage, payload)
                    if answer is not None:
                        take(answer)
            session.open()
        except (ProtocolError, TooFewSitesError):
            return False
        return True


def stalls(at: str) -> Callable[[Watch, str, str, bytes], bytes | None]:
    """From this stage on the server asks nobody any more."""
    return lambda watch, name, stage, payload: (
        None if STAGES.index(stage) >= STAGES.index(at) else watch.ask(name, stage, payload)
    )
