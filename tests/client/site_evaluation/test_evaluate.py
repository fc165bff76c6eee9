"""`sealora-site evaluate`: of a kept run, as a person types it, and what it writes."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from sacrebleu import corpus_bleu
from transformers import AutoModelForCausalLM

from sealora_client.cli import cli
from sealora_client.data.load import examples_of
from sealora_client.data.population import Population
from sealora_client.delivery.kept_run import KeptRun
from sealora_client.evaluation.accuracy import AccuracyMetric
from sealora_client.evaluation.answers import ExactMatchMetric
from sealora_client.evaluation.likeness import LikenessMetric
from sealora_client.model.adapted import AdaptedModel
from sealora_client.site_evaluation import intervals
from sealora_client.site_evaluation.evaluate import EvaluationWish, evaluate
from sealora_client.site_evaluation.evaluation import CONFIDENTIAL, SiteEvaluation, read_evaluation
from sealora_client.site_evaluation.measured import measured
from sealora_client.site_evaluation.page import write_evaluation
from sealora_client.site_evaluation.records import records_to_evaluate
from sealora_client.trained.trained_adapter import find_trained
from sealora_common.errors import DataError, ModelError, PolicyError, StorageError

from adapter_kinds import FEW, KINDS
from kept_site import CLASSES, QUESTIONS, RUN, kept_site, labelled, questions, write_records
from tiny_federation import typed

HOSTILE = "<img src=x onerror=alert(1)>"
TRAINED = [{"prompt": "Train?", "response": "Yes.", "split": "train"}]


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 20)


@pytest.fixture(scope="module")
def classified(tiny_base, tmp_path_factory) -> KeptRun:
    lines = [*labelled(36, sex=["f", "m", HOSTILE]), {"text": "Train.", "label": "0", "split": "train"}]
    return kept_site(tmp_path_factory.mktemp("classified") / "site", tiny_base(), lines, **CLASSES)


@pytest.fixture(scope="module")
def asked(tiny_base, tmp_path_factory) -> KeptRun:
    lines = [*questions(12), {"prompt": HOSTILE, "response": HOSTILE, "split": "heldout"}, *TRAINED]
    return kept_site(tmp_path_factory.mktemp("asked") / "site", tiny_base(), lines, **QUESTIONS)


def value(found: SiteEvaluation, name: str, of: str = "adapter") -> float:
    (figure,) = [figure for figure in found.figures if figure.name == name]
    return getattr(figure, of).value


def population_of(kept: KeptRun, model: AdaptedModel) -> Population:
    records = records_to_evaluate(kept.site / "records.jsonl", kept.recipe).records
    return Population.of(examples_of(records, kept.recipe, model))


@pytest.mark.slow
def test_its_figures_are_those_of_the_federation_s_metrics_of_either_model(classified, asked) -> None:
    found = evaluate(classified, EvaluationWish()).evaluation
    model = AdaptedModel.load(classified.recipe)
    population = population_of(classified, model)
    assert value(found, "accuracy", "base") == AccuracyMetric().measure(model, population, classified.recipe).mean
    model.write(classified.adapter())
    assert value(found, "accuracy") == AccuracyMetric().measure(model, population, classified.recipe).mean
    assert value(found, "loss") != pytest.approx(value(found, "loss", "base"), rel=1e-2)
    found = evaluate(asked, EvaluationWish()).evaluation
    model = AdaptedModel.load(asked.recipe)
    population = population_of(asked, model)
    model.write(asked.adapter())
    assert value(found, "exact_match") == ExactMatchMetric().measure(model, population, asked.recipe).mean
    rouge = LikenessMetric("rouge_l").measure(model, population, asked.recipe).mean
    assert value(found, "rouge_l") == pytest.approx(rouge)
    said = measured(model, asked.recipe, [unit[0] for unit in population.units], 6).answers
    assert value(found, "bleu") == pytest.approx(corpus_bleu(list(said.texts), [list(said.right)]).score / 100)
    assert (found.records, found.trained_on, found.unusable, found.max_new_tokens) == (13, 0, 0, 6)


@pytest.mark.parametrize(("kind", "base"), FEW)
def test_the_base_model_beside_it_is_the_base_model_whatever_the_kind(tiny_base, tmp_path, kind, base) -> None:
    kept = kept_site(tmp_path / "site", tiny_base(base), [*questions(3), *TRAINED], **QUESTIONS | KINDS[kind])
    found = evaluate(kept, EvaluationWish()).evaluation
    plain = AutoModelForCausalLM.from_pretrained(tiny_base(base)).eval()
    model = AdaptedModel.load(kept.recipe)
    total = count = 0.0
    for (example,) in population_of(kept, model).units:
        tokens = torch.from_numpy(example.tokens.astype(np.int64))[None]
        with torch.no_grad():
            likely = plain(input_ids=tokens).logits.log_softmax(dim=2)[0, :-1].gather(1, tokens[0, 1:, None])[:, 0]
        total -= float(likely[torch.from_numpy(example.learned[1:])].sum())
        count += example.response_length
    assert value(found, "loss", "base") == pytest.approx(total / count, rel=1e-4)
    assert value(found, "loss") != pytest.approx(total / count, rel=1e-3)


def test_the_probability_of_an_answer_is_that_of_all_its_tokens_in_turn(asked) -> None:
    model = AdaptedModel.load(asked.recipe)
    model.write(asked.adapter())
    example = population_of(asked, model).units[0][0]
    prompt = example.tokens[: example.prompt_length].tolist()
    tokens, probability = list(prompt), 1.0
    with torch.no_grad():
        for _ in range(4):
            next_one = model.model(input_ids=torch.tensor([tokens])).logits[0, -1].softmax(dim=0)
            probability *= float(next_one.max())
            tokens.append(int(next_one.argmax()))
            if tokens[-1] in model.end_ids:
                break
    found = measured(model, asked.recipe, [example], 4).answers
    assert found.probability[0] == pytest.approx(probability, rel=1e-4)


@pytest.mark.slow
def test_a_real_process_writes_both_files_for_its_owner_alone_and_says_what_they_are(
    site_cli, classified, tmp_path
) -> None:
    options = ["--directory", classified.site, "--by", "sex", "--examples", "2"]
    done = site_cli.run("evaluate", RUN[:6], *options, cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert "held-out records, 36 records" in done.stdout
    assert "accuracy" in done.stdout
    assert "by sex:" in done.stdout
    assert done.stdout.count("right answer:") == 2
    assert CONFIDENTIAL in done.stdout
    for name in ("evaluation.json", "evaluation.html"):
        assert stat.S_IMODE((classified.directory / name).stat().st_mode) == 0o600
    found = read_evaluation(classified.directory / "evaluation.json")
    assert [(group.value, group.records) for group in found.by[0].groups] == [("f", 12), ("m", 12), (HOSTILE, 12)]
    text = (classified.directory / "evaluation.json").read_text()
    assert "Finding" not in text, "no record's text is in the figures"
    page = (classified.directory / "evaluation.html").read_text()
    assert CONFIDENTIAL.replace("'", "&#39;") in page
    assert "Finding" in page
    assert HOSTILE not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "http://" not in page.replace('xmlns="http://www.w3.org', "")


@pytest.mark.slow
def test_as_json_it_is_what_is_written_and_the_examples(asked) -> None:
    told = json.loads(typed(cli, "evaluate", "--directory", asked.site, "--examples", "3", "--json", "--tokens", "2"))
    examples = told.pop("examples")
    assert told == json.loads((asked.directory / "evaluation.json").read_text())
    assert told["max_new_tokens"] == 2
    assert [set(example) >= {"prompt", "right", "adapter", "base_is_right"} for example in examples] == [True] * 3
    again = json.loads(typed(cli, "evaluate", "--directory", asked.site, "--examples", "3", "--json"))
    assert [each["prompt"] for each in again["examples"]] == [each["prompt"] for each in examples]


def test_records_that_cannot_be_shown_are_counted_and_in_no_figure(tiny_base, tmp_path) -> None:
    lines = [*questions(4), {"prompt": "x", "response": "twice  spaced ", "split": "heldout"}, *TRAINED]
    lines[-2]["response"] = "\x00"
    kept = kept_site(tmp_path / "site", tiny_base(), lines, **QUESTIONS)
    found = evaluate(kept, EvaluationWish()).evaluation
    assert found.records + found.unusable == 5


def test_newer_records_that_were_trained_on_are_said_to_flatter(asked, tmp_path) -> None:
    newer = write_records(tmp_path / "newer.jsonl", [*questions(3), *TRAINED])
    found = evaluate(asked, EvaluationWish(data=newer))
    assert (found.evaluation.records, found.evaluation.trained_on) == (4, 1)
    said = typed(cli, "evaluate", "--directory", asked.site, "--data", newer)
    assert "1 of the 4 records stand among those that this site trained on" in said


def test_texts_that_stand_by_themselves_have_losses_and_no_answers(tiny_base, tmp_path) -> None:
    lines = [{"text": f"Patient {n} was seen. " * (1 + 9 * (n == 1)), "split": "heldout"} for n in range(4)]
    lines.append({"text": "Train.", "split": "train"})
    data = {"layout": "text", "max_tokens": 16, "long_texts": "split"}
    kept = kept_site(tmp_path / "site", tiny_base(), lines, data=data)
    found = evaluate(kept, EvaluationWish()).evaluation
    assert [figure.name for figure in found.figures] == ["loss", "perplexity", "token_accuracy"]
    assert found.records == 4
    assert value(found, "perplexity") == pytest.approx(np.exp(value(found, "loss")))
    with pytest.raises(PolicyError, match="--examples shows what is answered"):
        evaluate(kept, EvaluationWish(examples=1))


def test_preferences_have_their_own_loss_alone(tiny_base, tmp_path) -> None:
    lines = [
        {"prompt": f"What is {n}?", "chosen": f"{n}.", "rejected": "No.", "split": "heldout" if n else "train"}
        for n in range(4)
    ]
    sections = {"data": {"layout": "preference", "max_tokens": 64}, "objective": {"kind": "dpo"}}
    found = evaluate(kept_site(tmp_path / "site", tiny_base(), lines, **sections), EvaluationWish()).evaluation
    assert [figure.name for figure in found.figures] == ["loss"]
    assert value(found, "loss", "base") == pytest.approx(np.log(2), abs=1e-5)
    assert value(found, "loss") != pytest.approx(np.log(2), abs=1e-3)


def test_what_is_not_here_is_one_sentence_and_writes_nothing(tiny_base, tmp_path, monkeypatch) -> None:
    with pytest.raises(PolicyError, match="no run's adapter is here yet"):
        typed(cli, "evaluate", "--directory", tmp_path)
    kept = kept_site(tmp_path / "site", tiny_base(), [*questions(3), *TRAINED], **QUESTIONS)
    with pytest.raises(PolicyError, match="no run here has that id"):
        typed(cli, "evaluate", "ffff", "--directory", kept.site)
    with pytest.raises(DataError, match='no record has a field "sex"'):
        typed(cli, "evaluate", "--directory", kept.site, "--by", "sex")
    (kept.site / "records.jsonl").write_text("{")
    with pytest.raises(DataError, match="line 1"):
        typed(cli, "evaluate", "--directory", kept.site)
    (kept.site / "records.jsonl").unlink()
    with pytest.raises(DataError, match=r"records\.jsonl"):
        typed(cli, "evaluate", "--directory", kept.site)
    weights = kept.adapter_directory / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises((ModelError, StorageError), match="adapter"):
        typed(cli, "evaluate", "--directory", kept.site)
    assert not (kept.directory / "evaluation.json").exists()


def test_an_earlier_evaluation_that_is_damaged_is_named_and_written_anew(classified) -> None:
    path = classified.directory / "evaluation.json"
    for content in (b"", b"[]", b'{"site": "north"}', b"\xff"):
        path.write_bytes(content)
        with pytest.raises(StorageError, match="delete it, and `sealora-site evaluate` writes it again"):
            read_evaluation(path)
    found = evaluate(classified, EvaluationWish())
    write_evaluation(classified.directory, found)
    assert read_evaluation(path) == found.evaluation
    assert read_evaluation(Path("/nowhere/evaluation.json")) is None


def personal(kept: KeptRun, out: Path, *options: str) -> Path:
    typed(cli, "personalise", RUN, "--directory", kept.site, "--out", out, "--steps", "8", *options)
    return out


@pytest.fixture(scope="module")
def alone(asked, tmp_path_factory) -> Path:
    return personal(asked, tmp_path_factory.mktemp("alone") / "ours", "--alone", "--learning-rate", "0.01")


@pytest.mark.slow
def test_what_the_site_comes_to_alone_stands_beside_it(asked, alone, tmp_path) -> None:
    said = typed(cli, "evaluate", RUN, "--directory", asked.site, "--beside", alone)
    found = read_evaluation(asked.directory / "evaluation.json")
    assert (found.beside.title, found.beside.steps, found.beside.units) == ("this site alone", 8, 1)
    model = AdaptedModel.load(asked.recipe)
    trained = find_trained(str(alone), asked.site)
    assert found.beside.digest == trained.digest != found.adapter_digest
    model.write({name: trained.tensors[name] for name in model.layout.names})
    own = measured(model, asked.recipe, [unit[0] for unit in population_of(asked, model).units], 6)
    (loss,) = [figure for figure in found.figures if figure.name == "loss"]
    assert loss.beside.value == pytest.approx(own.loss.sum() / own.terms.sum(), rel=1e-6)
    assert loss.over_beside.value == pytest.approx(loss.adapter.value - loss.beside.value)
    assert loss.beside.value != pytest.approx(loss.base.value, rel=1e-3)
    assert f"this site alone {loss.text(loss.beside.value)}" in said
    page = (asked.directory / "evaluation.html").read_text()
    assert '<th scope="col">This site alone</th>' in page
    assert "8 steps on 1 record of this site, without privacy" in page


def test_with_nothing_beside_it_nothing_is_said_of_it(asked) -> None:
    found = evaluate(asked, EvaluationWish())
    assert found.evaluation.beside is None
    assert {figure.beside for figure in found.evaluation.figures} == {None}


def test_beside_it_stands_none_but_the_site_s_own_of_the_same_recipe(asked, alone, tiny_base, tmp_path) -> None:
    with pytest.raises(PolicyError, match="holds no adapter that this site trained for itself"):
        evaluate(asked, EvaluationWish(beside=tmp_path))
    (tmp_path / "personal.json").write_text("{")
    with pytest.raises(PolicyError, match="make the adapter once more"):
        evaluate(asked, EvaluationWish(beside=tmp_path))
    shorter = QUESTIONS | {"data": {"max_tokens": 80}}
    other = kept_site(tmp_path / "site", tiny_base(), [*questions(2), *TRAINED], **shorter)
    with pytest.raises(PolicyError, match=r"differs in data.*sealora-site personalise"):
        evaluate(other, EvaluationWish(beside=alone))


def test_another_site_s_is_not_this_site_alone(asked, alone, tmp_path) -> None:
    shutil.copytree(alone, tmp_path / "theirs")
    mark = json.loads((alone / "personal.json").read_text()) | {"site": "site-9"}
    (tmp_path / "theirs" / "personal.json").write_text(json.dumps(mark))
    with pytest.raises(PolicyError, match=r"was made by site-9, and this is .*sealora-site personalise"):
        evaluate(asked, EvaluationWish(beside=tmp_path / "theirs"))
