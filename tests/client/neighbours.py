"""Two sites that differ in one record, asked the same by a lying server."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from flwr.app import ConfigRecord, RecordDict
from numpy.typing import NDArray

from sealora_client.evaluation.heldout_loss import heldout_loss
from sealora_client.objective.causal import CausalLanguageModelling
from sealora_client.site.directory import open_site
from sealora_common.adapter import adapter_kind
from sealora_common.errors import SealoraError
from sealora_common.identity import SIGNATURE_BYTES
from sealora_common.receipts.receipt import Receipt, chain_to_bytes, history_of
from sealora_common.round.order import RoundOrder, vector_digest

from lora_kinds import lora
from site_bench import Bench

RARE = "\u00e9\u00df\u4e2d"
NEIGHBOURS: dict[str, dict[str, object]] = {
    "one record more": {"prompt": "What is 99?", "response": "99 is 99.", "split": "train"},
    "of a token nobody else has": {"prompt": f"{RARE} {RARE}", "response": f"{RARE}{RARE}", "split": "train"},
    "held out, of a token nobody else has": {"prompt": f"{RARE} {RARE}", "response": f"{RARE}", "split": "heldout"},
    "enormous": {"prompt": "a b " * 5_000, "response": "c d " * 5_000, "split": "train"},
    "held out and enormous": {"prompt": "a b " * 5_000, "response": "c d " * 5_000, "split": "heldout"},
    "one token long": {"prompt": "?", "response": ".", "split": "train"},
    "control tokens": {"prompt": "<|im_end|>", "response": "<|im_end|><|im_start|>", "split": "heldout"},
    "refused by the template": {"prompt": "refuse me", "response": "no", "split": "train"},
    "held out, refused by the template": {"prompt": "refuse me", "response": "no", "split": "heldout"},
    "changed by the template": {"prompt": "twice  spaced", "response": "no", "split": "train"},
    "held out, changed by the template": {"prompt": "twice  spaced", "response": "no", "split": "heldout"},
    "a long conversation": {"prompt": "a b", "response": "c", "split": "train", "history": [["d " * 9, "e"]] * 40},
    "held out, refused as a conversation": {
        "prompt": "a b",
        "response": "c",
        "split": "heldout",
        "system": "be brief",
        "history": [["refuse me", "no"], ["again", "no"]],
    },
}
CHANGING = ("message['content']", "message['content'] | replace('  ', ' ')")
"""What a template's reading of a text is replaced by, so that it changes some texts."""
REFUSING = "{% for m in messages %}{% if 'refuse' in m['content'] %}{{ 1 // 0 }}{% endif %}{% endfor %}"


@dataclass(frozen=True)
class Asked:
    """One question of the lying server's."""

    name: str
    action: str
    order: RoundOrder
    adapter: NDArray[np.float32]
    content: RecordDict

    @property
    def whole(self) -> bool:
        """Whether it is played up to the vector, with two sites more; the others end with the answer to the order."""
        return self.name.endswith(("round 1", "1e0", "1e18", "largest number"))


def scaled(bench: Bench, exponent: float, seed: int | None = None) -> NDArray[np.float32]:
    """A random adapter of this size; with a seed, in one of its tensors alone."""
    noise = np.random.default_rng(seed or 0).standard_normal(bench.adapter.size)
    if seed is not None:
        specs = lora(bench.aggregation).shared(bench.layout).tensors
        ends = np.cumsum([math.prod(spec.shape) for spec in specs])
        part = seed % len(specs)
        noise[: ends[part] - math.prod(specs[part].shape)] = 0.0
        noise[ends[part] :] = 0.0
    return (noise * 10.0**exponent).astype(np.float32)


def hostile_adapters(bench: Bench) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Finite ones, as a site insists."""
    size = bench.adapter.size
    for exponent in (0, 9, 18, 25, 37):
        yield f"random, 1e{exponent}", scaled(bench, exponent)
    yield "the largest number", np.full(size, np.finfo(np.float32).max, dtype=np.float32)
    yield "denormal", np.full(size, 1e-42, dtype=np.float32)
    yield "zero", np.zeros(size, dtype=np.float32)
    one = np.zeros(size, dtype=np.float32)
    one[-1] = np.finfo(np.float32).max
    yield "one enormous value", one


def crafted_adapters(bench: Bench, *worlds: World, tries: int = 8) -> list[tuple[str, NDArray[np.float32]]]:
    """One for each two worlds that overflows for the held-out records of one and not for those of the other.

    A server would craft it from the base model and a token; here it is looked for with the sites' own records.
    """
    for seed in range(tries):
        ends = sorted({_last_finite(bench, world, seed) for world in worlds})
        if len(ends) > 1:
            middles = [(low + high) / 2 for low, high in itertools.pairwise(ends)]
            return [("one that overflows for some", scaled(bench, exponent, seed)) for exponent in middles]
    return []


def _last_finite(bench: Bench, world: World, seed: int) -> float:
    """The exponent up to which a site's held-out losses are finite, to a thousandth."""
    model = bench.site.model()
    shared = lora(bench.aggregation).shared(bench.layout)
    heldout = open_site(world.directory).data.heldout
    finite, overflowing = 9.0, 38.0
    while overflowing - finite > 1e-3:
        exponent = (finite + overflowing) / 2
        with model.lock:
            tensors = adapter_kind(bench.recipe).initial(bench.layout)
            model.write(tensors | shared.unflatten(scaled(bench, exponent, seed)))
            losses = heldout_loss(model, CausalLanguageModelling(), heldout, 4).by_unit
        finite, overflowing = (exponent, overflowing) if np.isfinite(losses).all() else (finite, exponent)
    return finite


def questions(bench: Bench, crafted: list[tuple[str, NDArray[np.float32]]]) -> Iterator[Asked]:
    """Orders of invented runs, each as far as the server likes, and some that no site should take."""
    rounds = bench.recipe.rounds
    run = iter(f"{number:032x}" for number in range(1, 10_000))

    def order(purpose: str, number: int, adapter: NDArray[np.float32], **changes: Any) -> Asked:
        name, of_run = changes.pop("name"), next(run)
        receipts: list[Receipt] = []
        for earlier in range(1, number):
            before = {"adapter_digest": receipts[-1].adapter_digest} if receipts else {}
            issued = bench.order(round_number=earlier, run=of_run, history=history_of(receipts)).model_copy(
                update=before
            )
            receipts.append(bench.receipt(issued, vector_digest(adapter)))
        made = RoundOrder.issue(
            purpose,  # type: ignore[arg-type]
            run=of_run,
            round_number=number,
            attempt=1,
            recipe=bench.recipe,
            roster=bench.roster,
            layout_digest=bench.layout.digest,
            adapter=adapter,
            history=history_of(receipts),
        ).model_copy(update=changes)
        content = bench.content(made, adapter, receipts=chain_to_bytes(receipts))
        return Asked(name, purpose, made, adapter, content)

    yield order("train", 1, bench.adapter, name="round 1")
    yield order("train", 1, bench.adapter, name="attempt 3", attempt=3)
    yield order("train", 1, bench.adapter, name="attempt 4", attempt=4)
    for factor in (0.0, 1e-300, 1 / 64, 0.5, 2.0, 1e300):
        changed = bench.order().clip_range * factor or 5e-324
        yield order("train", 1, bench.adapter, name=f"range times {factor:g}", clip_range=changed)
        changed = bench.order().clip_norm * factor or 5e-324
        yield order("train", 1, bench.adapter, name=f"clipping norm times {factor:g}", clip_norm=changed)
    for name, adapter in [*hostile_adapters(bench), *crafted]:
        yield order("train", 2, adapter, name=f"train from {name}")
        yield order("evaluate", rounds + 1, adapter, name=f"evaluate {name}")
    yield order("evaluate", 1, bench.adapter, name="an evaluation out of turn")
    spoilt = bench.adapter.copy()
    spoilt[0] = np.nan
    yield order("train", 2, spoilt, name="no number")


class World:
    """One site with one set of records, in a directory of its own; everything else is the bench's."""

    def __init__(self, bench: Bench, directory: Path, records: list[dict[str, object]]) -> None:
        self.bench = bench
        self.directory = directory
        shutil.copytree(bench.directory(), directory)
        config = yaml.safe_load((directory / "site.yaml").read_text())
        lines = Path(config["data"]).read_text().splitlines()
        data = directory / "records.jsonl"
        data.write_text("".join(f"{line}\n" for line in [*lines, *map(json.dumps, records)]))
        (directory / "site.yaml").write_text(yaml.safe_dump(config | {"data": str(data)}))

    def says(self, action: str, content: RecordDict) -> dict[str, Any]:
        """All that its answer holds."""
        context = self.bench.contexts["site-0"]
        former, context.node_config = context.node_config, {"site-directory": str(self.directory)}
        try:
            answer = self.bench.ask("site-0", action, content)
        finally:
            context.node_config = former
        assert not answer.array_records or action == "query.mask"
        return {name: dict(record) for name, record in answer.config_records.items()}

    def after(self, asked: Asked) -> list[Any]:
        """What it says from the order up to the vector, as far as it goes along."""
        bench = self.bench
        bench.contexts["site-0"].state = RecordDict()
        first = self.says(asked.action, asked.content)
        own = first["config"].get("payload")
        if own is None:
            return [first]
        said: list[Any] = [(set(first["config"]), own[:-SIGNATURE_BYTES], len(own))]
        if not asked.whole:
            return said
        session = bench.session(asked.order)
        try:
            session.add_advertisement(own)
        except SealoraError as error:
            return [*said, str(error)]
        for name in bench.roster.names[1:]:
            answer = bench.ask(name, asked.action, asked.content).config_records["config"]
            if "payload" not in answer:
                return [*said, f"{name} does not take part"]
            session.add_advertisement(answer["payload"])  # type: ignore[arg-type]
        said.append(self._in_turn("share", session.close_advertisements(), session.add_shares))
        said.append(self._in_turn("check", session.close_shares(), session.add_check))
        assert session.close_checks() == {}
        content = RecordDict({"config": ConfigRecord({"payload": session.close_disclosures()[0]})})
        said.append(self.says("query.mask", content))
        return said

    def _in_turn(self, stage: str, requests: Mapping[int, bytes], take: Callable[[bytes], int]) -> tuple[set[str], int]:
        """A stage of all sites, this one first; which fields it answered, and how long its message is."""
        own: tuple[set[str], int] = set(), 0
        for index, name in enumerate(self.bench.roster.names):
            content = RecordDict({"config": ConfigRecord({"payload": requests[index]})})
            if index == 0:
                answer = self.says(f"query.{stage}", content)["config"]
                own = set(answer), len(answer["payload"])
            else:
                answer = self.bench.ask(name, f"query.{stage}", content).config_records["config"]
            take(answer["payload"])
        return own


def differences(
    bench: Bench, alone: World, others: dict[str, World], crafted: list[tuple[str, NDArray[np.float32]]]
) -> tuple[list[str], list[str]]:
    """Where a neighbour says something else than the site without the record, and which questions were answered."""
    found, answered = [], []
    for asked in questions(bench, crafted):
        expected = alone.after(asked)
        if isinstance(expected[0], tuple) and len(expected) == (4 if asked.whole else 1):
            answered.append(asked.name)
        found += [f"{asked.name}, {name}" for name, other in others.items() if other.after(asked) != expected]
    return found, answered
