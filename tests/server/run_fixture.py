"""A realistic run directory, written as a run writes it, so that what reads one can be tested without one."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

from sealora_common.records.event_log import EventLog
from sealora_common.records.events import (
    EvaluationFinished,
    Event,
    RoundAborted,
    RoundFinished,
    RunFinished,
    RunStarted,
    SiteFailed,
    SiteReplied,
    SitesReady,
    Stage,
    StageName,
    TurnedAway,
)

SITES = ("cardiology-north", "oncology-institute", "maternity-st-anna")
STAGES: tuple[StageName, ...] = ("train", "share", "mask", "confirm", "open")
START = 1_750_000_000.0
SECONDS_A_ROUND = 94.0

RECIPE = """\
name: demo-icd10
rounds: {rounds}
model: {{base: smollm2-135m-instruct, digest: {digest}}}
training: {{sample_rate: 0.25, steps_per_round: 3, learning_rate: 0.002}}
privacy: {{mechanism: {mechanism}, epsilon: 8.0, delta: 1.0e-05, clip_norm: 1.0}}
"""

COMPLETIONS = [
    {
        "site": SITES[0],
        "prompt": "Give the ICD-10-CM code and chapter for: Atherosclerotic heart disease of native coronary "
        "artery without angina pectoris",
        "reference": "I25.10, Diseases of the circulatory system",
        "before": "The ICD-10-CM code is 10-CM-10. This code is used to describe the condition of the patient "
        "and the <b>chapter</b> of the patient & others.",
        "after": "I25.10, Diseases of the circulatory system",
    },
    {
        "site": SITES[1],
        "prompt": "Which diagnosis is coded C50.911?",
        "reference": "Malignant neoplasm of unspecified site of right female breast",
        "before": "<script>alert('nothing runs here')</script> I am an AI and cannot provide a diagnosis.",
        "after": "Malignant neoplasm of unspecified site of right female breast",
    },
    {
        "site": SITES[2],
        "prompt": "Give the ICD-10-CM code and chapter for: Gestational diabetes mellitus in pregnancy, "
        "diet controlled",
        "reference": "O24.410, Pregnancy, childbirth and the puerperium",
        "before": "Gestational diabetes mellitus (GDM) is a type of diabetes that develops in pregnancy.",
        "after": "O24.41, Pregnancy, childbirth and the puerperium",
    },
]


def loss_at(site_index: int, trained: int) -> float:
    """Held-out loss of a site for the adapter after `trained` rounds."""
    start = (5.31, 5.88, 5.47, 5.62, 5.12)[site_index % 5]
    floor = (2.05, 2.41, 2.93, 1.84)[site_index % 4]
    return floor + (start - floor) * math.exp(-0.62 * trained)


def epsilon_at(trained: int, rounds: int) -> float:
    """Epsilon spent after `trained` of `rounds` rounds."""
    return 7.93 * math.sqrt(trained / rounds)


def write_run(
    run_dir: Path,
    *,
    rounds: int = 4,
    sites: tuple[str, ...] = SITES,
    own_files: bool = True,
    mechanism: str = "local",
    stop_after: int | None = None,
    with_trouble: bool = False,
    turned_away: tuple[TurnedAway, ...] = (),
    missing: tuple[str, ...] = (),
) -> Path:
    """Writes a run and returns its directory.

    Args:
        run_dir: the directory to fill.
        rounds: rounds of the recipe.
        sites: their names.
        own_files: whether the sites' own files are there, as in a simulation.
        mechanism: the recipe's.
        stop_after: leave the run in the training of the round after this one.
        with_trouble: in round 2 a site is lost, the round aborted and tried again.
        turned_away: who was connected and took no part.
        missing: who was on the roster and not connected.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "recipe.yaml").write_text(
        RECIPE.format(rounds=rounds, digest="5f" * 32, mechanism=mechanism), encoding="utf-8"
    )
    ticks = itertools.count()
    log = EventLog(run_dir / "events.jsonl", clock=lambda: START + 4.7 * next(ticks))
    epsilon, delta = (8.0, 1e-5) if mechanism == "local" else (None, None)
    log.write(
        RunStarted(
            name="demo-icd10",
            run_id="20260610-091502-7c1e",
            rounds=rounds,
            recipe_hash="ab12" * 16,
            epsilon=epsilon,
            delta=delta,
            mechanism=mechanism,
        )
    )
    log.write(SitesReady(sites=sites, needed=3, turned_away=turned_away, missing=missing))
    for number in range(1, rounds + 1):
        if stop_after is not None and number > stop_after:
            log.write(Stage(round=number, stage="train", sites=len(sites)))
            log.write(_reply(number, "train", sites[0]))
            return run_dir
        if with_trouble and number == 2:
            _write_trouble(log, number, sites)
        _write_round(log, run_dir, number, rounds, sites, own_files, mechanism)
    _write_end(log, run_dir, rounds, sites, own_files)
    (run_dir / "completions.json").write_text(json.dumps(COMPLETIONS), encoding="utf-8")
    return run_dir


def write_history_line(run_dir: Path, site: str, line: dict[str, object]) -> None:
    """Appends one line to a site's own history."""
    path = run_dir / "sites" / site / "history.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def history_line(site_index: int, number: int, rounds: int, mechanism: str = "local") -> dict[str, object]:
    """What a site writes about one round; `number` past `rounds` is the final evaluation."""
    training = number <= rounds
    private = mechanism == "local"
    return {
        "round": number,
        "kind": "train" if training else "evaluate",
        "heldout_loss": loss_at(site_index, number - 1),
        "epsilon": epsilon_at(min(number, rounds), rounds) if private else None,
        "delta": 1e-5 if private else None,
        "records": 504 + 40 * site_index,
        "heldout_records": 64,
        "truncated": site_index,
        "bytes_up": 1_843_000 if training else 9_000,
        "bytes_down": 932_000 if training else 931_000,
        "seconds": SECONDS_A_ROUND - 9 if training else 12.0,
        "fraction_clipped": 0.71 if training else None,
        "median_norm": 1.62 if training else None,
    }


def _reply(number: int, stage: StageName, site: str) -> Event:
    up = 1_830_000 if stage == "mask" else 2_600
    down = 920_000 if stage == "train" else 2_400
    return SiteReplied(round=number, stage=stage, site=site, bytes_up=up, bytes_down=down)


def _write_round(
    log: EventLog,
    run_dir: Path,
    number: int,
    rounds: int,
    sites: tuple[str, ...],
    own_files: bool,
    mechanism: str,
) -> None:
    for stage in STAGES:
        log.write(Stage(round=number, stage=stage, sites=len(sites)))
        for site in sites:
            log.write(_reply(number, stage, site))
    if own_files:
        for index, site in enumerate(sites):
            write_history_line(run_dir, site, history_line(index, number, rounds, mechanism))
    log.write(
        RoundFinished(
            round=number,
            survivors=sites,
            heldout_loss=_mean_loss(sites, number - 1),
            seconds=SECONDS_A_ROUND,
            adapter_sha256=f"{number:02x}" * 32,
        )
    )


def _write_trouble(log: EventLog, number: int, sites: tuple[str, ...]) -> None:
    log.write(Stage(round=number, stage="train", sites=len(sites)))
    log.write(SiteFailed(round=number, stage="train", site=sites[1], reason="no answer within 3600 seconds"))
    log.write(RoundAborted(round=number, attempt=1, reason="2 sites are left, 3 are needed"))


def _write_end(log: EventLog, run_dir: Path, rounds: int, sites: tuple[str, ...], own_files: bool) -> None:
    log.write(Stage(round=rounds + 1, stage="evaluate", sites=len(sites)))
    for index, site in enumerate(sites):
        log.write(_reply(rounds + 1, "evaluate", site))
        if own_files:
            write_history_line(run_dir, site, history_line(index, rounds + 1, rounds))
    after = _mean_loss(sites, rounds)
    log.write(EvaluationFinished(heldout_loss=after, survivors=sites))
    log.write(
        RunFinished(
            seconds=SECONDS_A_ROUND * rounds + 12,
            heldout_loss_before=_mean_loss(sites, 0),
            heldout_loss_after=after,
            adapter_sha256=f"{rounds:02x}" * 32,
        )
    )


def _mean_loss(sites: tuple[str, ...], trained: int) -> float:
    return sum(loss_at(index, trained) for index in range(len(sites))) / len(sites)
