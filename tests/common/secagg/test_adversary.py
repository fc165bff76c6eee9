"""An adversary that may do anything: whatever it tells whom in which order, it reads sums alone, and of whole sets.

Hypothesis chooses what it does and finds the shortest way to a break. `test_the_adversary_finds_a_rule_that_is_gone`
shows that it does find one.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sealora_common.secagg import SiteSession
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.site_review import Review
from sealora_common.secagg.transcript import Transcript
from secagg_adversary import Adversary
from secagg_weakened import Rule, weaken, weakened

from secagg_runs import Federation

FEDERATIONS = {
    "four": Federation.of(4),
    "five": Federation.of(5),
    "seven": Federation.of(7),
    "sparse": Federation.of(7, small_graph=Neighbourhood(5, 4)),
}


NO_LIE = 0


@dataclass(frozen=True)
class Move:
    """One stage of all honest sites' sessions.

    Attributes:
        which: of the sessions of each site.
        told: number of a set of sites.
        parting: bits of the sites that are told of that set; the others are told of all. 0: those that are in it.
        lies: to those that are told of the set, and to the others.
    """

    which: int
    told: int = 0
    parting: int = 0
    lies: tuple[int, int] = (NO_LIE, NO_LIE)

    def make(self, adversary: Adversary) -> None:
        told = adversary.sets[self.told % len(adversary.sets)]
        for site in adversary.honest:
            inside = self.parting >> site & 1 if self.parting else site in told
            lie = self.lies[0] if inside else self.lies[1]
            adversary.ask((site, self.which), self.told if inside else 0, lie)


LIES = st.sampled_from(((NO_LIE, NO_LIE), (1, 1), (NO_LIE, 1), (2, 2), (NO_LIE, 2), (3, 3), (4, 4), (1, 2)))
STRANGE = st.tuples(st.integers(0, 4), st.sampled_from((0, 0, *range(1, 31))), LIES)
"""What is told otherwise at one stage: see `Move`."""
PLANS = st.dictionaries(st.tuples(st.sampled_from((0, 0, 1)), st.integers(0, 4)), STRANGE, min_size=1, max_size=4)
"""Which stages (session, number of the stage) are strange; the others are as they should be."""


def attack(
    examples: int, *, site_class: type[SiteSession] = SiteSession, only: tuple[str, ...] = tuple(FEDERATIONS)
) -> None:
    """Lets hypothesis look for moves after which the adversary reads more than it should."""

    @settings(
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        database=None,
        derandomize=True,
    )
    @given(st.sampled_from(only), st.integers(0, 2**16), PLANS, st.integers(0, 4))
    def attempt(
        name: str, seed: int, plan: dict[tuple[int, int], tuple[int, int, tuple[int, int]]], again: int
    ) -> None:
        adversary = Adversary(FEDERATIONS[name], seed, site_class=site_class)
        for which in (1, 0):
            for stage in range(5):
                Move(which, *plan.get((which, stage), (0, 0, (NO_LIE, NO_LIE)))).make(adversary)
                if stage == again and (which, stage) in plan:  # those that would not answer are asked as they should be
                    Move(which).make(adversary)
        adversary.readable()

    attempt()


def test_the_adversary_reads_nothing_but_sums_of_whole_sets() -> None:
    attack(15)


@pytest.mark.slow
def test_the_adversary_reads_nothing_but_sums_of_whole_sets_for_long() -> None:
    attack(3000)


FOUND: dict[str, tuple[type, str, Rule]] = {
    "count of confirmations": (
        SiteSession,
        "open",
        ('self._review.require(len(agreed), "confirmed the survivors")', "pass"),
    ),
    "count of sites": (Review, "require", ("if count < self._terms.needed:", "if False:")),
    "session": (Transcript, "digest", ("+ self.shared_digest + checked", "+ checked")),
}


@pytest.mark.slow
@pytest.mark.parametrize("gone", FOUND)
def test_the_adversary_finds_a_rule_that_is_gone(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, rule = FOUND[gone]
    weaken(monkeypatch, owner, name, rule)
    with pytest.raises((AssertionError, ExceptionGroup), match=r"can be read|two sets were opened|distinct failures"):
        attack(400, only=("four",))


def test_a_known_line_reads_a_site_where_confirmations_are_not_compared() -> None:
    """Two stories of who survived, each with its own confirmations."""
    careless = weakened(SiteSession, open=(" or Survivors.from_bytes(body) != expected", ""))
    for site_class in (SiteSession, careless):
        adversary = Adversary(FEDERATIONS["four"], 1, site_class=site_class)
        for move in (Move(0), Move(0), Move(0), Move(0, 1), Move(0, 1, 0, (NO_LIE, 1))):
            move.make(adversary)
        if site_class is careless:
            with pytest.raises(AssertionError, match="two sets were opened"):
                adversary.readable()
        else:
            assert len(adversary.readable()) == 1


def test_an_honest_server_that_does_nothing_else_reads_the_sum() -> None:
    """So the adversary is not merely blind."""
    for name, federation in FEDERATIONS.items():
        adversary = Adversary(federation, 1)
        for _ in range(5):
            for site in adversary.honest:
                assert adversary.ask((site, 0), 0, 0), name
        assert adversary.readable() == [frozenset((site, 0) for site in adversary.honest)]
