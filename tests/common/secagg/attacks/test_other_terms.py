"""Another recipe, roster, round, attempt, order: what was made under other terms is worth nothing here.

Were the recipe not part of the terms, a server could let one site work under another recipe (say, twice the clip
range) and the sum would open to a wrong mean without a word. The rule: the terms' digest covers all of them, and
keys, ciphertexts and signatures are bound to the digest.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest

from sealora_common.entropy import SystemEntropy
from sealora_common.secagg import ProtocolError, RingVector, RoundTerms, Segment
from sealora_common.secagg.encoding import FixedPoint
from sealora_common.secagg.messages import bundle
from secagg_turned import complaining, go_on, turn

from secagg_runs import STAGES, Federation, Run

CHANGES: dict[str, Any] = {
    "run": bytes(16),
    "round_number": 2,
    "attempt": 2,
    "recipe_hash": b"\xff" * 32,
    "roster_hash": b"\xff" * 32,
    "order_digest": b"\xff" * 32,
    "threshold": 5,
    "min_survivors": 3,
    "segments": (Segment(5, 17), Segment(2, 32)),
    "sessions": 2,
    "sparse": False,
}
HERE = Federation.of(5)


def before(stage: str, federation: Federation) -> Run:
    """A round up to a stage. A site complains of another, so that there is something to disclose."""
    run = Run(federation)
    if stage == "advertise":
        return run
    run.step("advertise")
    return go_on(turn(run, {1: complaining(0)}), stage)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("stage", STAGES)
def test_a_message_made_under_other_terms_is_refused_by_the_server(stage: str, change: str) -> None:
    here = before(stage, HERE)
    if stage != "advertise":
        here.close(stage)
    elsewhere = before(stage, HERE.with_terms(**{change: CHANGES[change]}))
    elsewhere.step(stage)
    with pytest.raises(ProtocolError, match="not of this round"):
        here.deliver(stage, elsewhere.answers[stage][0])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_request_made_under_other_terms_is_refused_by_the_site(stage: str, change: str) -> None:
    here = before(stage, HERE)
    here.close(stage)
    elsewhere = before(stage, HERE.with_terms(**{change: CHANGES[change]}))
    with pytest.raises(ProtocolError):
        here.answer(stage, 0, elsewhere.close(stage)[0])


def test_every_field_of_the_terms_changes_their_digest() -> None:
    assert set(CHANGES) | {"roster_size"} == {field.name for field in fields(RoundTerms)}
    changed = [replace(HERE.terms, **{name: value}) for name, value in CHANGES.items()]
    changed.append(replace(HERE.terms, roster_size=6))
    assert len({HERE.terms.digest, *(terms.digest for terms in changed)}) == len(changed) + 1


@dataclass(frozen=True)
class CarelessTerms(RoundTerms):
    """Terms that leave the recipe out of their digest."""

    @cached_property
    def digest(self) -> bytes:
        anonymous = {field.name: getattr(self, field.name) for field in fields(RoundTerms)} | {"recipe_hash": bytes(32)}
        return RoundTerms(**anonymous).digest


def mean_with_one_site_under_another_recipe(terms_class: type[RoundTerms]) -> float:
    """All sites send 0.5; site 0 was given a recipe with twice the clip range."""
    segments = (Segment(200, 24),)
    common = {field.name: getattr(HERE.terms, field.name) for field in fields(RoundTerms)} | {"segments": segments}
    right = Federation(HERE.roster, terms_class(**common))
    wrong = Federation(HERE.roster, terms_class(**(common | {"recipe_hash": b"\xff" * 32})))
    run = Run(right)
    codes = {index: FixedPoint(-1.0, 1.0, 24, 5) for index in range(5)} | {0: FixedPoint(-2.0, 2.0, 24, 5)}
    for index, code in codes.items():
        words, _ = code.encode(np.full(200, 0.5), SystemEntropy())
        run.vectors[index] = RingVector(segments, (words,))
    run.step("advertise", {0})
    run.sites[0], advertisement = wrong.begin(0)
    run.deliver("advertise", advertisement)
    for stage in STAGES[1:]:
        run.step(stage)
    opened = run.server.open()
    return float(codes[1].decode_sum(opened.vector.words[0], 5).mean() / 5)


def test_the_mean_is_wrong_where_terms_leave_the_recipe_out() -> None:
    assert mean_with_one_site_under_another_recipe(CarelessTerms) == pytest.approx(0.45, abs=1e-3)


def test_a_site_under_another_recipe_is_refused() -> None:
    with pytest.raises(ProtocolError, match="recipe, roster, order and version must be the same"):
        mean_with_one_site_under_another_recipe(RoundTerms)


def test_a_message_of_another_stage_is_refused() -> None:
    run = Run(HERE).until("confirm")
    run.close("confirm")
    with pytest.raises(ProtocolError, match="not of this round"):
        run.deliver("confirm", run.answers["share"][0])
    with pytest.raises(ProtocolError):
        run.answer("confirm", 0, bundle(list(run.answers["share"].values())))
