"""Every pattern of dropouts among four and five sites: the sum of the survivors comes out exactly, or nothing opens.

A site falls silent at one of the six stages that honest sites answer, or never: 7^4 and 7^5 patterns. What a round has
come to after a stage depends on who answered so far and on nothing else, so the patterns form a tree, and each of its
nodes is computed once, by the real code, on copies of the sessions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations

import pytest

from sealora_common.secagg import TooFewSitesError
from sealora_common.secagg.bodies import Opening, ShareKind
from sealora_common.secagg.messages import Kind, open_signed

from secagg_runs import STAGES, Federation, Run, clone_server, clone_site, same

ANSWERED = tuple(stage for stage in STAGES if stage != "disclose")
"""Nobody discloses anything where nobody complains."""


@pytest.mark.usefixtures("_verify_once")
@pytest.mark.parametrize(
    ("size", "adversary", "min_survivors"),
    [
        (4, "malicious", 2),
        (4, "curious", 4),
        pytest.param(5, "malicious", 3, marks=pytest.mark.slow),
        pytest.param(5, "curious", 2, marks=pytest.mark.slow),
        pytest.param(5, "curious", 3, marks=pytest.mark.slow),
        pytest.param(6, "malicious", 3, marks=pytest.mark.slow),
        pytest.param(6, "curious", 2, marks=pytest.mark.slow),
    ],
)
def test_every_pattern_of_dropouts_opens_the_exact_sum_or_nothing(
    size: int, adversary: str, min_survivors: int
) -> None:
    federation = Federation.of(size, adversary, min_survivors=min_survivors)  # type: ignore[arg-type]
    needed = federation.terms.needed
    seen = Counter[str]()
    for answered, run in _patterns(federation):
        present = [len(answers) for answers in answered]
        # The same node stands for all patterns in which these sites answered these stages.
        assert len(answered) == len(ANSWERED) or present[-1] < needed
        _only_one_kind_of_share_is_opened(run)
        if present[-1] >= needed:
            opened = run.server.open()
            assert opened.survivors == tuple(sorted(answered[ANSWERED.index("mask")]))
            assert run.server.faults == []
            assert same(opened.vector, run.expected(opened.survivors))
            seen["opened"] += 1
        else:
            with pytest.raises(TooFewSitesError):
                _close_after(run, answered)
            assert max(_shares_opened(run).values(), default=0) < needed
            # A pattern is a leaf of the whole tree: those below this node all end here.
            seen["aborted"] += (len(ANSWERED) - len(answered) + 1) ** present[-1]
    assert seen.total() == 7**size
    assert seen["opened"] == _patterns_that_leave(needed, size)


def _patterns(federation: Federation) -> Iterator[tuple[list[tuple[int, ...]], Run]]:
    """Every node at which a round ends: who answered each stage so far, and the round as it stands."""
    for present in _subsets(tuple(range(len(federation)))):
        run = Run(federation)
        run.step("advertise", set(range(len(federation))) - set(present))
        yield from _below(run, [present], federation.terms.needed)


def _below(run: Run, answered: list[tuple[int, ...]], needed: int) -> Iterator[tuple[list[tuple[int, ...]], Run]]:
    if len(answered) == len(ANSWERED) or len(answered[-1]) < needed:
        yield answered, run
        return
    stage = ANSWERED[len(answered)]
    if stage == "mask":
        run.step("disclose")
    # What a site answers does not depend on who else does, so it is computed once for all subsets.
    answers = {index: run.answer(stage, index, request) for index, request in run.close(stage).items()}
    for present in _subsets(answered[-1]):
        copy = _clone(run)
        copy.answers[stage] = {index: answers[index] for index in present}
        for message in copy.answers[stage].values():
            copy.deliver(stage, message)
        yield from _below(copy, [*answered, present], needed)


def _close_after(run: Run, answered: list[tuple[int, ...]]) -> None:
    """Closes the stage that was answered last."""
    last = ANSWERED[len(answered) - 1]
    if last == "open":
        run.server.open()
    else:
        run.close(STAGES[STAGES.index(last) + 1])


def _clone(run: Run) -> Run:
    sites = {index: clone_site(site) for index, site in run.sites.items()}
    copy = replace(run, sites=sites, requests=dict(run.requests), answers=dict(run.answers))
    copy.server = clone_server(run.server)
    return copy


def _subsets(sites: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return chain.from_iterable(combinations(sites, count) for count in range(len(sites) + 1))


def _patterns_that_leave(needed: int, size: int) -> int:
    """In how many patterns `needed` sites or more answer the last stage: the others fall silent at one of six."""
    return sum(len(list(combinations(range(size), left))) * 6 ** (size - left) for left in range(needed, size + 1))


def _openings(run: Run) -> dict[int, Opening]:
    terms, roster = run.federation.terms, run.federation.roster
    return {
        index: Opening.from_bytes(open_signed(message, Kind.OPEN, terms, roster)[1])
        for index, message in run.answers.get("open", {}).items()
    }


def _only_one_kind_of_share_is_opened(run: Run) -> None:
    kinds: dict[int, set[ShareKind]] = {}
    for opening in _openings(run).values():
        for owner, (kind, _) in opening.shares.items():
            kinds.setdefault(owner, set()).add(kind)
    assert all(len(of_owner) == 1 for of_owner in kinds.values())


def _shares_opened(run: Run) -> Counter[int]:
    return Counter(owner for opening in _openings(run).values() for owner in opening.shares)
