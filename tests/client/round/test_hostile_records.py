"""A round among sites one of which has records that cannot be shown to the model: it goes on, and they count."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quick_cases import quick_cases
from sealora_client.model.adapted import adapted_model
from sealora_client.simulated import SimulatedSites
from sealora_client.site.directory import open_site
from sealora_common.adapter import adapter_kind

from site_bench import Bench
from tiny_federation import PRIVATE
from tiny_models import make_tiny_model

REFUSING = "{% for m in messages %}{% if 'refuse' in m['content'] %}{{ 1 // 0 }}{% endif %}{% endfor %}"
HOSTILE = [
    {"prompt": "refuse me", "response": "yes"},
    {"prompt": "a token that nobody else has", "response": "a\t\t\tb"},
    {"prompt": "endless", "response": "word " * 100_000},
    {"prompt": "x" * 100_000, "response": "y"},
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of its own: its tokenizer, which all sites of this process share, gets a token too many."""
    return make_tiny_model(tmp_path_factory.mktemp("base"), seed=9)


@pytest.fixture
def bench_of(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    """`bench_of(records, part, **sections)`: site-0 has these records as well, in this part."""

    def make(records: list[dict[str, str]], part: str, **sections: Any) -> Bench:
        name = f"bench-{len(records)}"
        bench = Bench(tmp_path / name, base, rounds=1, **sections)
        tokenizer = adapted_model(bench.recipe).tokenizer
        monkeypatch.setattr(tokenizer, "chat_template", REFUSING + tokenizer.chat_template)
        own = adapted_model(bench.recipe).model.get_input_embeddings().num_embeddings
        tokenizer.add_tokens(["\t\t\t"])  # white space: text, though it was added
        assert tokenizer.convert_tokens_to_ids("\t\t\t") >= own
        with bench.site.data_file.open("a") as file:
            for record in records:
                file.write(json.dumps(record | {"split": part, "patient": f"{part[0]}99"}) + "\n")
        return bench

    return make


@pytest.mark.parametrize("mechanism", quick_cases(["local", "distributed", "none"], "distributed"))
@pytest.mark.parametrize("person", quick_cases([None, "patient"], None))
@pytest.mark.parametrize("part", ["train", "heldout"])
def test_a_round_goes_on_and_such_records_are_charged_like_others(bench_of, mechanism, person, part):
    privacy = {"mechanism": mechanism} if mechanism == "none" else {**PRIVATE, "mechanism": mechanism}
    sections: dict[str, Any] = {
        "privacy": privacy,
        "training": {"sample_rate": 1.0, "steps_per_round": 1, "micro_batch_size": 2},
        "data": {"person_field": person, "max_tokens": 64},
    }
    if mechanism == "distributed":
        sections["sealing"] = {"ring_bits": 24}
    bench = bench_of(HOSTILE, part, **sections)
    session, _ = bench.play(bench.order())
    assert session.open().survivors == (0, 1, 2)
    data = open_site(bench.directory()).data
    population, dataset = (data.train, data.train_set) if part == "train" else (data.heldout, data.heldout_set)
    assert len(population) == len(dataset)
    reasons = [example.unusable for unit in population.units for example in unit if example.unusable is not None]
    assert sorted(reasons) == ["template", "vocabulary"]
    figures = json.loads((bench.directory() / "history.jsonl").read_text())
    assert figures["records" if part == "train" else "heldout_records"] == population.examples
    assert population.examples == (24 if part == "train" else 4) + len(HOSTILE)


def test_completions_are_of_records_that_can_be_shown(bench_of):
    bench = bench_of(HOSTILE[:2] * 3, "heldout", data={"max_tokens": 64})
    final = adapter_kind(bench.recipe).initial(bench.layout)
    made = SimulatedSites.completions(bench.recipe, bench.run / "sites", final, 24)
    assert len(made) == 24
    assert {completion.prompt for completion in made} == {f"What is {number}?" for number in range(4)}
