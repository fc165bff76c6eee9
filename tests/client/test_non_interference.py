"""Until its masked vector leaves, what a site says, and whether it says it, depends on no record.

Two sites that differ in one record are asked the same by a lying server, which holds the server's key and orders what
no honest server orders. Under the tests' seed their keys are the same too, so that every byte of an answer can be
compared; what is drawn from the system all the same (sealed shares, half of each signature) is compared in length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from flwr.app import RecordDict

from quick_cases import quick_cases
from sealora_client import simulated
from sealora_client.data import load
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.round import participation
from sealora_client.site import directory as site
from sealora_client.site.directory import open_site
from sealora_client.training import clipped_sum
from sealora_client.training.local import LocalTraining
from sealora_common.errors import ModelError, OrderRefusedError, SealoraError
from sealora_common.round.hello import Hello

from neighbours import CHANGING, NEIGHBOURS, REFUSING, World, crafted_adapters, differences, hostile_adapters
from site_bench import Bench
from tiny_federation import PRIVATE

Worlds = Callable[..., tuple[Bench, World, dict[str, World]]]


@pytest.fixture(autouse=True, scope="module")
def receipts_prove_nothing():
    """The server here invents receipts with all sites' keys; a site that finds its own vector in them, of which its
    ledger does not know, would refuse before it does what is asked about here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(participation, "require_paid", lambda site, run, receipts, recipe: None)
        yield


@pytest.fixture
def worlds(tiny_base: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worlds:
    """`worlds(mechanism, aggregation)`: the bench, the site as it is, and with each neighbour's record."""
    monkeypatch.setenv("SEALORA_INSECURE_SEED", "11")
    # The bench's sites stand for real ones, who take part though none of their records teaches anything.
    monkeypatch.setattr(simulated, "load_data", lambda *of: replace(load.load_data(*of), teaches=True))

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
        monkeypatch.setattr(tokenizer, "chat_template", REFUSING + tokenizer.chat_template.replace(*CHANGING))
        alone = World(bench, tmp_path / "alone" / "site-0", [])
        others = {
            name: World(bench, tmp_path / f"with-{number}" / "site-0", [NEIGHBOURS[name]])
            for number, name in enumerate(names or NEIGHBOURS)
        }
        return bench, alone, others

    return make


CASES = [
    (mechanism, aggregation)
    for mechanism in ("local", "distributed", "none")
    for aggregation in ("ffa", "alternating", "average")
]


# Each mechanism and each aggregation once.
@pytest.mark.parametrize(("mechanism", "aggregation"), quick_cases(CASES[::4], ("local", "ffa")))
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


@pytest.mark.slow
def test_by_person_with_adaptive_clipping_neither(worlds):
    names = ("one record more", "held out and enormous")
    privacy = {"target_quantile": 0.5, "delta": 1e-2}
    bench, alone, others = worlds("local", "ffa", *names, privacy=privacy)
    assert_nothing_is_told(bench, alone, others)


RECORDS = {"prompt": "prompt", "chosen": "response", "rejected": "split"}
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dpo": ({"layout": "preference", "fields": RECORDS}, {"objective": {"kind": "dpo", "beta": 5.0}}),
    "orpo": ({"layout": "preference", "fields": RECORDS}, {"objective": {"kind": "orpo"}}),
    "classification": (
        {
            "layout": "labelled",
            "fields": {"text": "prompt", "label": "split"},
            "labels": {"train": "yes", "heldout": "no"},
        },
        {"objective": {"kind": "classification"}, "evaluation": {"metric": "accuracy"}},
    ),
    "texts in pieces": ({"layout": "text", "fields": {"text": "response"}, "long_texts": "split"}, {}),
    "conversations": ({"layout": "instruction", "fields": {"instruction": "prompt", "output": "response"}}, {}),
    "a template": ({"prompt_template": "Say of {{ prompt }}", "response_field": "response"}, {}),
    "tasks": ({"task_field": "split"}, {"objective": {"task_weights": {"train": 1e308, "heldout": 1e-308}}}),
    "answers": ({}, {"evaluation": {"metric": "bleu", "max_new_tokens": 4}}),
    "answers by chrF": ({}, {"evaluation": {"metric": "chrf", "max_new_tokens": 3}}),
    "answers by ROUGE-L": ({}, {"evaluation": {"metric": "rouge_l", "max_new_tokens": 3}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_whatever_is_learned_of_records_and_however_they_are_read(worlds, way):
    place = list(WAYS).index(way)
    names = list(NEIGHBOURS)
    data, sections = WAYS[way]
    neighbours = [names[(place + step) % len(names)] for step in (0, 3, 7, 8)]
    mechanism = ("local", "distributed")[place % 2]
    assert_nothing_is_told(*worlds(mechanism, "ffa", *neighbours, data={"max_tokens": 64, **data}, **sections))


SINGLING = "{% if '99' in prompt %}{{ nothing }}{% endif %}{{ prompt }}"
PROBES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a template": ({"prompt_template": SINGLING}, {}),
    "labels": (
        {
            "layout": "labelled",
            "fields": {"text": "prompt", "label": "response"},
            "labels": {f"{number} times 2 is {number * 2}.": f"a{number}" for number in range(50)},
        },
        {},
    ),
    "tasks": (
        {"task_field": "response"},
        {"objective": {"task_weights": {f"{number} times 2 is {number * 2}.": 1.0 for number in range(50)}}},
    ),
}


def shown_of(world: World) -> int:
    """Number of training records that the recipe leaves something of."""
    units = open_site(world.directory).data.train.units
    return [example.unusable for unit in units for example in unit].count(None)


@pytest.mark.slow
@pytest.mark.parametrize("probe", PROBES)
def test_a_recipe_that_singles_a_record_out_learns_nothing_of_it(worlds, probe):
    """Its rules leave nothing of that record, and were the site refused for it, that would tell of it."""
    data, sections = PROBES[probe]
    bench, alone, others = worlds("local", "ffa", "one record more", data={"max_tokens": 64, **data}, **sections)
    assert shown_of(others["one record more"]) == shown_of(alone) == 4
    assert_nothing_is_told(bench, alone, others)


@pytest.mark.slow
def test_nor_does_a_recipe_that_leaves_nothing_but_that_record(worlds):
    only = "{% if '99' in prompt %}{{ prompt }}{% endif %}"
    data = {"max_tokens": 64, "prompt_template": only}
    bench, alone, others = worlds("local", "ffa", "one record more", data=data)
    assert (shown_of(alone), shown_of(others["one record more"])) == (0, 1)
    assert_nothing_is_told(bench, alone, others)


@pytest.mark.parametrize("mechanism", quick_cases(["local", "distributed", "none"], "distributed"))
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
    sound = clipped_sum.ClippedSum.sum_of

    def leaky(self: clipped_sum.ClippedSum, sample: Any) -> Any:
        total = sound(self, sample)
        if self.figures.non_finite:
            raise OrderRefusedError(f"{self.figures.non_finite} gradients are not numbers")
        return total

    patch.setattr(clipped_sum.ClippedSum, "sum_of", leaky)


def tells_every_error_word_for_word(patch: pytest.MonkeyPatch) -> None:
    def leaky(self: Any, *arguments: Any) -> Any:
        raise ModelError(f"failed in a micro-batch of {self.figures.examples} of {len(self._population)}")

    patch.setattr(SealoraError, "travels", True)
    patch.setattr(clipped_sum.ClippedSum, "sum_of", leaky)


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


LEAKS = [
    raises_on_a_loss_that_is_no_number,
    tells_how_many_gradients_are_no_numbers,
    tells_every_error_word_for_word,
    lets_one_record_break_the_loading,
    raises_when_nothing_moved,
    greets_with_the_number_of_records,
]


@pytest.mark.parametrize("leak", quick_cases(LEAKS, greets_with_the_number_of_records))
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
