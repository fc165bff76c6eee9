"""Until its masked vector leaves, what a site says, and whether it says it, depends on no record.

Two sites that differ in one record are asked the same by a lying server, which holds the server's key and orders what
no honest server orders. Under the tests' seed their keys are the same too, so that every byte of an answer can be
compared; what is drawn from the system all the same (sealed shares, half of each signature) is compared in length.
"""

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
import pytest
import yaml
from flwr.app import ConfigRecord, RecordDict
from numpy.typing import NDArray

from sealora_client.data import load
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric, heldout_loss
from sealora_client.objective.causal import CausalLanguageModelling
from sealora_client.round import participation
from sealora_client.site import directory as site
from sealora_client.site.directory import open_site
from sealora_client.training import clipped_sum
from sealora_client.training.local import LocalTraining
from sealora_common.adapter import adapter_kind
from sealora_common.errors import ModelError, OrderRefusedError, SealoraError
from sealora_common.identity import SIGNATURE_BYTES
from sealora_common.receipts.receipt import Receipt, chain_to_bytes, history_of
from sealora_common.round.hello import Hello
from sealora_common.round.order import RoundOrder, vector_digest

from lora_kinds import lora
from site_bench import Bench
from tiny_federation import PRIVATE

RARE = "\u00e9\u00df\u4e2d"
NEIGHBOURS: dict[str, dict[str, str]] = {
    "one record more": {"prompt": "What is 99?", "response": "99 is 99.", "split": "train"},
    "of a token nobody else has": {"prompt": f"{RARE} {RARE}", "response": f"{RARE}{RARE}", "split": "train"},
    "held out, of a token nobody else has": {"prompt": f"{RARE} {RARE}", "response": f"{RARE}", "split": "heldout"},
    "enormous": {"prompt": "a b " * 5_000, "response": "c d " * 5_000, "split": "train"},
    "held out and enormous": {"prompt": "a b " * 5_000, "response": "c d " * 5_000, "split": "heldout"},
    "one token long": {"prompt": "?", "response": ".", "split": "train"},
    "control tokens": {"prompt": "<|im_end|>", "response": "<|im_end|><|im_start|>", "split": "heldout"},
    "refused by the template": {"prompt": "refuse me", "response": "no", "split": "train"},
    "held out, refused by the template": {"prompt": "refuse me", "response": "no", "split": "heldout"},
}
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

    def __init__(self, bench: Bench, directory: Path, records: list[dict[str, str]]) -> None:
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


Worlds = Callable[..., tuple[Bench, World, dict[str, World]]]


@pytest.fixture
def worlds(tiny_base: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worlds:
    """`worlds(mechanism, aggregation)`: the bench, the site as it is, and with each neighbour's record."""
    monkeypatch.setenv("SEALORA_INSECURE_SEED", "11")

    def make(mechanism: str, aggregation: str = "ffa", *names: str, **sections: Any) -> Any:
        privacy = {"mechanism": mechanism} if mechanism == "none" else {**PRIVATE, "mechanism": mechanism}
        privacy |= sections.pop("privacy", {})
        sealing = {"ring_bits": 24} if mechanism == "distributed" else {}
        training = {"sample_rate": 1.0, "micro_batch_size": 4}
        bench = Bench(
            tmp_path / "bench",
            tiny_base(),
            records=4,
            rounds=2,
            privacy=privacy,
            training=training,
            sealing=sealing,
            lora={"aggregation": aggregation},
            **sections,
        )
        for name in bench.roster.names:  # so that none of the questions goes unasked for want of budget
            policy = bench.directory(name) / "policy.yaml"
            policy.write_text(yaml.safe_dump(yaml.safe_load(policy.read_text()) | {"epsilon_limit": 1000.0}))
        tokenizer = bench.site.model().tokenizer
        monkeypatch.setattr(tokenizer, "chat_template", REFUSING + tokenizer.chat_template)
        alone = World(bench, tmp_path / "alone" / "site-0", [])
        others = {
            name: World(bench, tmp_path / f"with-{number}" / "site-0", [NEIGHBOURS[name]])
            for number, name in enumerate(names or NEIGHBOURS)
        }
        return bench, alone, others

    return make


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


CASES = [
    (mechanism, aggregation)
    for mechanism in ("local", "distributed", "none")
    for aggregation in ("ffa", "alternating", "average")
]


@pytest.mark.parametrize(("mechanism", "aggregation"), CASES)
def test_no_order_makes_a_site_tell_of_a_record(worlds, mechanism, aggregation):
    place = CASES.index((mechanism, aggregation))
    names = list(NEIGHBOURS)
    assert_nothing_is_told(*worlds(mechanism, aggregation, *(names[(place + step) % len(names)] for step in (0, 2, 5))))


@pytest.mark.slow
@pytest.mark.parametrize(("mechanism", "aggregation"), CASES)
def test_no_order_makes_a_site_tell_of_any_of_the_records(worlds, mechanism, aggregation):
    assert_nothing_is_told(*worlds(mechanism, aggregation))


def assert_nothing_is_told(bench: Bench, alone: World, others: dict[str, World]) -> None:
    crafted = crafted_adapters(bench, alone, *others.values())
    found, answered = differences(bench, alone, others, crafted)
    assert found == []
    # And a hostile adapter is no reason not to answer.
    hostile = [name for name in answered if name.startswith(("train from", "evaluate"))]
    assert len(hostile) == 2 * len([*hostile_adapters(bench), *crafted])


def test_by_person_with_adaptive_clipping_neither(worlds):
    names = ("one record more", "held out and enormous")
    privacy = {"target_quantile": 0.5, "delta": 1e-2}
    bench, alone, others = worlds("local", "ffa", *names, privacy=privacy)
    assert_nothing_is_told(bench, alone, others)


@pytest.mark.parametrize("mechanism", ["local", "distributed", "none"])
def test_a_greeting_tells_of_no_record(worlds, mechanism):
    _, alone, others = worlds(mechanism)
    expected = alone.says("query.hello", RecordDict())
    assert Hello.parse(expected["config"]["payload"]).site == "site-0"
    for other in others.values():
        assert other.says("query.hello", RecordDict()) == expected


# The test bites: with any one of the leaks put back it finds differences.


def raises_on_a_loss_that_is_no_number(patch: pytest.MonkeyPatch) -> None:
    sound = HeldoutLossMetric.measure

    def leaky(*arguments: Any) -> Any:
        loss = sound(*arguments)
        if not np.isfinite(loss.by_unit).all():
            raise ModelError("the held-out loss is not a number")
        return loss

    patch.setattr(HeldoutLossMetric, "measure", leaky)


def tells_how_many_gradients_are_no_numbers(patch: pytest.MonkeyPatch) -> None:
    sound = clipped_sum.ClippedSum.draw

    def leaky(self: clipped_sum.ClippedSum) -> Any:
        total = sound(self)
        if self.figures.non_finite:
            raise OrderRefusedError(f"{self.figures.non_finite} gradients are not numbers")
        return total

    patch.setattr(clipped_sum.ClippedSum, "draw", leaky)


def tells_every_error_word_for_word(patch: pytest.MonkeyPatch) -> None:
    def leaky(self: Any, *arguments: Any) -> Any:
        raise ModelError(f"failed in a micro-batch of {self.figures.examples} of {len(self._population)}")

    patch.setattr(SealoraError, "travels", True)
    patch.setattr(clipped_sum.ClippedSum, "draw", leaky)


def lets_one_record_break_the_loading(patch: pytest.MonkeyPatch) -> None:
    sound = load.examples_of

    def leaky(*arguments: Any) -> Any:
        examples = sound(*arguments)
        if any(example.unusable for example in examples):
            raise ModelError("a record cannot be shown to the model")
        return examples

    patch.setattr(load, "examples_of", leaky)


def raises_when_nothing_moved(patch: pytest.MonkeyPatch) -> None:
    sound = LocalTraining.train

    def leaky(*arguments: Any, **rest: Any) -> Any:
        trained = sound(*arguments, **rest)
        if trained.figures.clipped > 4:
            raise ModelError("the weights diverged")
        return trained

    patch.setattr(LocalTraining, "train", leaky)


def greets_with_the_number_of_records(patch: pytest.MonkeyPatch) -> None:
    sound = participation.Participation.begin

    def leaky(of: Any, *arguments: Any) -> Any:
        part, advertisement = sound(of, *arguments)
        return part, advertisement[: 100 + len(of.data.train)]

    patch.setattr(participation.Participation, "begin", staticmethod(leaky))


@pytest.mark.parametrize(
    "leak",
    [
        raises_on_a_loss_that_is_no_number,
        tells_how_many_gradients_are_no_numbers,
        tells_every_error_word_for_word,
        lets_one_record_break_the_loading,
        raises_when_nothing_moved,
        greets_with_the_number_of_records,
    ],
)
def test_a_leak_that_is_put_back_is_found(worlds, monkeypatch, leak):
    names = (
        "held out, of a token nobody else has",
        "of a token nobody else has",
        "held out, refused by the template",
        "one record more",
    )
    bench, alone, others = worlds("local", "ffa", *names)
    crafted = crafted_adapters(bench, alone, *others.values(), tries=200)
    assert crafted
    site._opened.clear()  # so that records are loaded anew
    leak(monkeypatch)
    assert differences(bench, alone, others, crafted)[0] != []
