"""What a site's refusals give away of it, and what they do not."""

from __future__ import annotations

import importlib
import json
import pkgutil

import numpy as np
import pytest
import yaml
from flwr.app import RecordDict

import sealora_client
import sealora_common
import sealora_server
from quick_cases import quick_cases
from sealora_client.evaluation.heldout_loss import HeldoutLoss, HeldoutLossMetric
from sealora_client.round.participation import Participation
from sealora_client.site.directory import Site
from sealora_client.training.local import LocalTraining
from sealora_common.errors import ModelError, SealoraError
from sealora_common.round.hello import Hello

from site_bench import payload_of, refusal_of

STAGES = ["share", "check", "mask", "confirm", "open"]
SECRET = "patient 4711, pneumonia"
NOT_TOLD = "the site takes no part in this; its own log says why"


@pytest.mark.parametrize(
    "error",
    quick_cases([RuntimeError, ValueError, MemoryError, KeyError, OSError, ZeroDivisionError], RuntimeError, OSError),
)
@pytest.mark.parametrize("stage", ["train", "evaluate", "hello", *STAGES])
def test_the_words_of_an_unexpected_error_stay_at_the_site(bench, monkeypatch, stage, error):
    def fail(*arguments, **rest):
        raise error(SECRET)

    if stage == "hello":
        monkeypatch.setattr(Site, "model", fail)
        content = bench.ask("site-0", "query.hello", RecordDict())
    elif stage in ("train", "evaluate"):
        if stage == "evaluate":
            for round_number in (1, 2, 3):
                bench.play(bench.order(round_number=round_number))
        monkeypatch.setattr(HeldoutLossMetric, "measure", fail)
        order = bench.order(stage, round_number=len(bench.receipts) + 1)
        content = bench.begin("site-0", order, action=stage)
    else:
        bench.play(bench.order(), until=stage)
        monkeypatch.setattr(Participation, stage, fail)
        content = bench.stage("site-0", stage, b"")
    assert refusal_of(content) == NOT_TOLD


def all_errors(base: type[SealoraError] = SealoraError) -> list[type[SealoraError]]:
    return [base, *(each for kind in base.__subclasses__() for each in all_errors(kind))]


for package in (sealora_common, sealora_client, sealora_server):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)  # so that there are all errors, whichever tests were collected before


@pytest.mark.parametrize("error", all_errors())
def test_a_sentence_travels_if_it_was_written_to_and_no_other_does(bench, monkeypatch, error, caplog):
    """Whatever kinds of error there are, or will be: of one that does not travel not even its kind is told."""
    sentence = f"31 training records of {SECRET}"

    class Raised(error):
        def __init__(self):
            Exception.__init__(self, sentence)  # some kinds take other arguments

    def fail(*arguments, **rest):
        raise Raised

    monkeypatch.setattr(LocalTraining, "train", fail)
    said = refusal_of(bench.begin("site-0", bench.order()))
    travels = {"OrderRefusedError", "ProtocolError", "ReceiptError", "TooFewSitesError"}
    assert said == (sentence if error.__name__ in travels else NOT_TOLD)
    assert "4711" in caplog.text


def test_what_makes_a_site_unfit_is_asked_before_an_order_too_whether_or_not_it_was_greeted(bench, monkeypatch):
    begun = []

    def unfit(site):
        raise ModelError("the base model mixes the examples of a batch")

    monkeypatch.setattr(Site, "prepare", unfit)
    monkeypatch.setattr(Participation, "begin", lambda *arguments: begun.append(arguments))
    refusal_of(bench.begin("site-0", bench.order()))
    refusal_of(bench.ask("site-0", "query.hello", RecordDict()))
    assert begun == []


def test_a_missing_data_file_is_not_described_to_the_server(bench, monkeypatch):
    monkeypatch.setattr(Site, "data", property(lambda self: self.records()))
    path = bench.directory("site-2") / "site.yaml"
    before = path.read_text()
    try:
        path.write_text(yaml.safe_dump(yaml.safe_load(before) | {"data": "/hospital/ward-7/patients.jsonl"}))
        said = refusal_of(bench.begin("site-2", bench.order()))
    finally:
        path.write_text(before)
    assert said == NOT_TOLD


def test_a_node_without_a_site_s_directory_says_so(bench):
    bench.contexts["site-0"].node_config = {}
    try:
        assert "has no 'site-directory'" in refusal_of(bench.ask("site-0", "query.hello", RecordDict()))
    finally:
        bench.contexts["site-0"].node_config = {"site-directory": str(bench.directory())}


def test_a_simulated_node_finds_its_directory_by_its_partition(bench, monkeypatch):
    monkeypatch.setenv("SEALORA_SIMULATED_SITES", str(bench.run / "sites"))
    context = bench.contexts["site-0"]
    context.node_config = {"partition-id": 2, "num-partitions": 3}
    try:
        assert Hello.parse(payload_of(bench.ask("site-0", "query.hello", RecordDict()))).site == "site-2"
    finally:
        context.node_config = {"site-directory": str(bench.directory())}


@pytest.mark.slow
@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_held_out_loss_that_is_not_a_number_is_told_to_the_site_and_to_nobody_else(bench, monkeypatch, caplog, loss):
    """It depends on the held-out records: an answer that does too would be an unnoised release of them."""
    spoiled = HeldoutLoss(nll_sum=loss, tokens=1, by_unit=np.array([1.0, loss]))
    monkeypatch.setattr(HeldoutLossMetric, "measure", lambda *arguments: spoiled)
    bench.play(bench.order())
    assert "site site-0, round 1: 1 of 2 held-out losses are not finite and say nothing" in caplog.text
    assert "agree on bfloat16 or float32" in caplog.text
    assert json.loads((bench.directory() / "history.jsonl").read_text().splitlines()[-1])["heldout_loss"] is None
