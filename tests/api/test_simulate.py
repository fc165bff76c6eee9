"""`sealora.simulate` as a notebook calls it: in memory, in a running event loop, stopped, gone on with, in threads."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import threading
import warnings
from unittest import mock

import pandas as pd
import pytest

import sealora
from sealora_client.trained.answers import Answers
from sealora_client.trained.trained_adapter import find_trained
from sealora_common.recipe import load_recipe
from sealora_server.simulation import engine

from tiny_federation import PRIVATE, SECTIONS, WatchedGrid


@pytest.fixture(scope="module")
def recipe(tiny_base):
    """Named by what a page would be broken by, if it were not escaped, as far as names go."""
    return {"name": "tiny", "rounds": 2, **SECTIONS, "privacy": PRIVATE} | {
        "model": {**SECTIONS["model"], "base": tiny_base()}
    }


@pytest.fixture(scope="module")
def finished(recipe, records, tmp_path_factory):
    """A run that was made in a running event loop, as all that a notebook calls is; what it said; where."""
    here = os.getcwd()
    place = tmp_path_factory.mktemp("notebook")

    async def cell() -> sealora.Run:
        return sealora.simulate(recipe, records, overrides={"training.learning_rate": 0.05})

    os.chdir(place)
    try:
        former, levels = os.umask(0o022), logging.getLogger("flwr").level
        filters = list(warnings.filters)
        run = asyncio.run(cell())
        assert os.umask(former) == 0o022
        assert logging.getLogger("flwr").level == levels
        assert warnings.filters == filters
    finally:
        os.chdir(here)
    run.directory = place / run.directory
    return run


def test_a_run_of_records_in_memory_has_its_figures_as_tables(finished, records):
    assert finished.directory.name == "tiny-1"
    assert finished.summary.status == "finished"
    sites = finished.sites().set_index("site")
    assert list(sites.index) == sorted(records)
    assert list(sites["records"]) == [24, 24, 24]
    assert finished.sites().attrs["units"]["heldout_after"] == "nats a token"
    rounds = finished.rounds()
    assert list(rounds["round"]) == [0, 1, 2]
    assert rounds["heldout"].iloc[-1] == pytest.approx(finished.heldout) == pytest.approx(sites["heldout_after"].mean())
    assert finished.epsilon == rounds["epsilon"].iloc[-1] == sites["epsilon"].max() <= 8
    assert rounds["epsilon"].iloc[0] == 0
    assert finished.score is None
    by_site = finished.rounds(by_site=True)
    assert by_site.groupby("round")["heldout"].mean().tolist() == pytest.approx(rounds["heldout"].tolist())
    answers = finished.answers()
    assert set(answers["site"]) == set(records)
    assert len(answers) == 6
    assert answers["reference"].str.contains("times").all()


def test_what_it_wrote_is_this_account_s_alone(finished):
    files = [path for path in finished.directory.rglob("*") if path.is_file()]
    open_to_others = {path.name for path in files if path.stat().st_mode & 0o077}
    # The roster is what members hand each other.
    assert {name for name in open_to_others if not re.fullmatch(r"roster\.json|[0-9a-f]{64}\.json", name)} == set()
    north = (finished.directory / "records" / "north.jsonl").read_text().splitlines()
    assert json.loads(north[0]) == {"prompt": "What is 0?", "response": "0 times 2 is 0.", "split": "heldout"}
    assert len(north) == 28


def test_a_run_is_read_again_and_shown(finished):
    again = sealora.read_run(finished.directory)
    assert again.summary == finished.summary
    assert again.summary.epsilon_at_two_sites is not None
    assert again.recipe == load_recipe(finished.directory / "recipe.yaml")
    page = again._repr_html_()
    assert all(site in page for site in ("north", "south", "west"))
    assert "<script" not in page
    assert "://" not in page
    again.summary = again.summary.model_copy(update={"name": "<img src=x>"})
    assert "<img" not in again._repr_html_()
    assert repr(finished).startswith("<sealora.Run '")
    assert finished.report.read_text().startswith("<!doctype html>")


def test_its_adapter_answers_as_the_site_s_chat_does_and_leaves_the_process_s_chance_alone(finished):
    import torch

    model = sealora.load_adapter(finished)
    before = torch.random.get_rng_state()
    drawn = model.answer("What is 7?", tokens=6, temperature=2.0, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    here = Answers(find_trained(str(finished.directory), finished.directory))
    assert [drawn] == here.to(["What is 7?"], most_tokens=6, temperature=2.0, seed=1)
    both = model.answer(["What is 7?", "What is 8?"], tokens=6)
    assert both == here.to(["What is 7?", "What is 8?"], most_tokens=6)
    assert model.answer("What is 7?", tokens=6) == both[0]
    for wrong in ({"tokens": 0}, {"temperature": float("nan")}, {"temperature": -1}, {"seed": 0.5}):
        with pytest.raises(sealora.SealoraError, match=f"{next(iter(wrong))} is"):
            model.answer("a", **wrong)
    with pytest.raises(sealora.SealoraError, match="prompts, number 2: is a int"):
        model.answer(["a", 7])


def test_it_is_handed_on(finished, tmp_path):
    assert finished.export(tmp_path / "out", licence="apache-2.0") == tmp_path / "out"
    assert "license: apache-2.0" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(sealora.SealoraError, match="is there already: choose another out"):
        finished.export(tmp_path / "out")


class Interrupted(WatchedGrid):
    """Somebody interrupts the kernel as the second round begins."""

    def exchange(self, site, action, message):
        if self.round == 2:
            raise KeyboardInterrupt
        return super().exchange(site, action, message)


@pytest.mark.slow
def test_a_run_that_was_stopped_is_gone_on_with(recipe, records, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with mock.patch.object(engine, "InlineGrid", Interrupted), pytest.raises(KeyboardInterrupt) as stopped:
        sealora.simulate(recipe, records, progress=False)
    assert stopped.value.__notes__ == [
        "Stopped. To go on: call simulate with the same recipe, out='runs/tiny-1' and resume=True"
    ]
    assert capsys.readouterr() == ("", "")
    half = sealora.read_run("runs/tiny-1")
    assert (half.summary.status, half.summary.rounds_finished) == ("interrupted", 1)
    assert "1 of 2 rounds, interrupted" in half._repr_html_()
    with pytest.raises(sealora.SealoraError, match="resume=True"):
        _ = half.adapter
    with pytest.raises(sealora.SealoraError, match="holds a run already: choose another directory with out"):
        sealora.simulate(recipe, records, out="runs/tiny-1")

    others = records | {"west": records["west"][:-1]}
    with pytest.raises(sealora.SealoraError, match="records of site west: are not those"):
        sealora.simulate(recipe, others, out="runs/tiny-1", resume=True)
    with pytest.raises(sealora.SealoraError, match="another recipe"):
        sealora.simulate(recipe, overrides={"rounds": 3}, out="runs/tiny-1", resume=True)
    kept = (tmp_path / "runs" / "tiny-1" / "records" / "west.jsonl").read_bytes()

    run = sealora.simulate(recipe, records, out="runs/tiny-1", resume=True)
    assert (run.summary.status, run.summary.rounds_finished) == ("finished", 2)
    assert (run.directory / "records" / "west.jsonl").read_bytes() == kept
    said = capsys.readouterr().out
    assert "resumed at round 2" in said
    assert "\x1b" not in said


@pytest.mark.slow
def test_two_threads_have_a_run_each(recipe, records, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a notebook's kernel has it
    runs, quick = [], {"rounds": 1, "privacy": {"mechanism": "none"}}

    def cell() -> None:
        runs.append(sealora.simulate(recipe | quick, records, progress=False))

    threads = [threading.Thread(target=cell) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert {run.directory.name for run in runs} == {"tiny-1", "tiny-2"}
    assert {run.summary.status for run in runs} == {"finished"}
    assert runs[0].epsilon is None
    assert "No differential privacy" in runs[0]._repr_html_()
    assert runs[0].rounds()["epsilon"].isna().all()


@pytest.mark.slow
def test_records_are_counted_and_compared(recipe, records, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    planned = sealora.plan(recipe, records, gradients=True)
    layers = planned.layers()
    assert layers["holds"].sum() == pytest.approx(1)
    assert layers["parameters"].sum() == planned.planned.outlook.parameters
    assert sealora.plan(recipe, records).layers()["holds"].isna().all()
    assert [site.units for site in planned.planned.outlook.sites] == [24, 24, 24]
    assert planned.table()["what"].iloc[0] == "now"
    assert planned.advice in planned._repr_html_() or "&" in planned._repr_html_()
    assert list(tmp_path.iterdir()) == []
    numbers = sealora.plan(recipe, {"a": 24, "b": 24, "c": 24}).planned.outlook
    assert [site.name for site in numbers.sites] == ["a", "b", "c"]
    assert numbers.own == planned.planned.outlook.own == sealora.plan(recipe, 24, sites=3).planned.outlook.own

    compared = sealora.compare(recipe, records, seeds=1, only=["base", "federated"], out="compared")
    table = compared.table()
    assert list(table["arm"]) == ["base", "federated"]
    assert table["epsilon"].isna().tolist() == [True, False]
    assert isinstance(table, pd.DataFrame)
    assert compared.page.exists()
    assert "federated" in compared._repr_html_()
    capsys.readouterr()
    again = sealora.compare(recipe, records, seeds=1, only=["base", "federated"], out="compared")
    assert "0 to compute" in capsys.readouterr().out
    assert again.comparison == compared.comparison
    with pytest.raises(sealora.SealoraError, match="records of site west: are not those"):
        sealora.compare(recipe, records | {"west": records["west"][:-1]}, seeds=1, out="compared")
