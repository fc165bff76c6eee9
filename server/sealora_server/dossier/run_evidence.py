"""A run's files as a dossier needs them: copied, and held against one another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealora_common.config import LONGEST_TENSORS, read_file
from sealora_common.dossier.evidence import Evidence, EvidenceFile
from sealora_common.dossier.figure import Figure
from sealora_common.errors import ModelError, PolicyError, StorageError, UnreadableError
from sealora_common.export.peft_directory import CONFIGURATION, WEIGHTS, read_held
from sealora_common.identity import Identity
from sealora_common.receipts.check import RoundProof, check_chain
from sealora_common.receipts.receipt import Receipt, chain_to_bytes
from sealora_common.recipe import Recipe
from sealora_common.recipe.hash import agreed_bytes
from sealora_common.records.names import EVENTS
from sealora_common.records.run_state import RunState
from sealora_common.roster import Roster
from sealora_common.round.order import shared_digest
from sealora_server.run.store import RunStore
from sealora_server.view.summary import read_state

ADAPTER = f"adapter/{WEIGHTS}"
"""What leaves. Too large to copy, so the dossier names it by its SHA-256."""


@dataclass(frozen=True)
class RunEvidence:
    """What is known of a run from its directory.

    Attributes:
        evidence: copies of its files.
        recipe: as it was agreed.
        state: what its log tells.
        identity: the server's key, which signs the dossier.
        roster: the run's newest.
        events: its log.
        agreed: `recipe.json`: what the recipe's hash is the SHA-256 of.
        written: `recipe.yaml`, with every default.
        run: `run.json`.
        rosters: all that the run's receipts are under, and the newest.
        members: `roster.json`.
        chain: its receipts.
        receipts: the same, read.
        proofs: what each receipt proves; empty if the chain does not hold.
        broken: why it does not; empty if it does.
        adapter: the final adapter's weights; None if there are none.
        adapter_doubt: why the weights are not the ones that the receipts tell of; empty if they are.
    """

    evidence: Evidence
    recipe: Recipe
    state: RunState
    identity: Identity
    roster: Roster
    rosters: tuple[Roster, ...]
    events: EvidenceFile
    agreed: EvidenceFile
    written: EvidenceFile
    run: EvidenceFile
    members: EvidenceFile
    chain: EvidenceFile
    receipts: tuple[Receipt, ...]
    proofs: tuple[RoundProof, ...]
    broken: str
    adapter: EvidenceFile | None
    adapter_doubt: str

    @classmethod
    def read(cls, directory: Path) -> RunEvidence:
        """Reads the run in `directory`, as far as it has come.

        Raises:
            StorageError: there is none, or one of its files is missing or damaged.
            PolicyError: its roster is.
        """
        if not (directory / "run.json").exists():
            raise StorageError(f"{directory}: no run is there: give the directory of a run")
        store = RunStore.open(directory)
        state = read_state(directory)
        evidence = Evidence(directory)
        roster = Roster.load(directory / "roster.json")
        receipts = tuple(store.receipts())
        members = _required(evidence, "roster.json")
        newest, digests = roster.hash.hex(), {receipt.roster_hash for receipt in receipts}
        rosters = store.rosters.with_kept({newest: roster}, digests, coordinator=roster.coordinator_pin)
        for digest in rosters:
            if digest != newest:
                evidence.copy(f"rosters/{digest}.json")
        proofs, broken = _checked(receipts, rosters, store)
        adapter, doubt = _adapter(directory, evidence, store.recipe, state, receipts)
        return cls(
            evidence=evidence,
            recipe=store.recipe,
            state=state,
            identity=store.server_identity(),
            roster=roster,
            rosters=tuple(rosters.values()),
            events=_required(evidence, EVENTS),
            agreed=evidence.add("recipe.json", agreed_bytes(store.recipe)),
            written=_required(evidence, "recipe.yaml"),
            run=_required(evidence, "run.json"),
            members=members,
            chain=evidence.add("receipts.jsonl", chain_to_bytes(receipts)),
            receipts=receipts,
            proofs=proofs,
            broken=broken,
            adapter=adapter,
            adapter_doubt=doubt,
        )

    def setting(self, name: str, dotted: str, *, unit: str = "") -> Figure:
        """A field of the recipe: of what the sites confirmed by its hash, or, of a default, of the file as written."""
        pointer = "/" + dotted.replace(".", "/")
        if self.agreed.has(pointer):
            return self.agreed.field(name, pointer, unit=unit)
        return self.written.setting(name, dotted, unit=unit)

    def event_lines(self, *kinds: str) -> list[int]:
        """Numbers of the lines of the log, from 1, that are events of these kinds."""
        return [
            number
            for number, line in enumerate(self.events.lines, start=1)
            if isinstance(line, dict) and line.get("event") in kinds
        ]

    @property
    def run_id(self) -> str:
        """The run's identity, 32 hex digits."""
        return str(self.run.field("run", "/run_id").value)

    @property
    def sites(self) -> tuple[str, ...]:
        """All who are asked for a part: the roster's members, and any whom a receipt names besides."""
        named = {site for receipt in self.receipts for site in receipt.survivors}
        return tuple(sorted({*self.roster.names, *named}))


def _required(evidence: Evidence, name: str) -> EvidenceFile:
    file = evidence.copy(name)
    if file is None:
        raise StorageError(f"{evidence.root / name}: is missing: restore it from a backup")
    return file


def _checked(
    receipts: tuple[Receipt, ...], rosters: dict[str, Roster], store: RunStore
) -> tuple[tuple[RoundProof, ...], str]:
    try:
        return tuple(check_chain(receipts, rosters, run=store.run_id, recipe=store.recipe)), ""
    except PolicyError as error:
        return (), str(error)


def _adapter(
    directory: Path, evidence: Evidence, recipe: Recipe, state: RunState, receipts: tuple[Receipt, ...]
) -> tuple[EvidenceFile | None, str]:
    """The weights, and whether they are those that the log and the receipt of the round that was kept tell of."""
    evidence.copy(f"adapter/{CONFIGURATION}")
    try:
        weights = EvidenceFile(ADAPTER, read_file(directory / ADAPTER, LONGEST_TENSORS))
    except (OSError, UnreadableError):
        return None, "there is no adapter in this run's directory"
    if weights.sha256 != state.adapter_sha256:
        return weights, "the weights in the directory are not those that the run's log names"
    kept = state.final_round
    if not 1 <= kept <= len(receipts):
        return weights, "no receipt tells of the round whose adapter was kept"
    try:
        tensors = read_held(directory / "adapter", recipe)
        digest = shared_digest(tensors, recipe)
    except ModelError:
        return weights, "the weights in the directory cannot be read as this recipe's adapter"
    if digest != receipts[kept - 1].adapter_digest:
        return weights, "the weights in the directory are not those that the receipt of their round names"
    return weights, ""
