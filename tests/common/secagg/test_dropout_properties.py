"""Masks cancel for every pattern of dropouts, drawn at random: complete graphs up to eight sites, sparse ones above."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quick_cases import quick_cases
from sealora_common.secagg import Segment, TooFewSitesError
from sealora_common.secagg.graph import SPARSE_ABOVE, Neighbourhood, neighbourhood

from secagg_runs import STAGES, Federation, Run, same

_segments = st.lists(st.builds(Segment, st.integers(0, 40), st.integers(12, 32)), min_size=1, max_size=3)


@given(
    size=st.integers(2, 8),
    adversary=st.sampled_from(["malicious", "curious"]),
    segments=_segments,
    restored=st.booleans(),
    data=st.data(),
)
def masks_cancel_for_any_dropouts(
    size: int, adversary: str, segments: list[Segment], restored: bool, data: st.DataObject
) -> None:
    drops = data.draw(st.dictionaries(st.integers(0, size - 1), st.sampled_from(STAGES), max_size=size // 2))
    federation = Federation.of(size, adversary, segments=tuple(segments))  # type: ignore[arg-type]
    run = Run(federation, restored=restored)
    if size - len(drops) < federation.terms.needed:
        with pytest.raises(TooFewSitesError):
            run.finish(drops)
        return
    opened = run.finish(drops)
    expected = {index for index in range(size) if STAGES.index(drops.get(index, "open")) > STAGES.index("mask")}
    assert set(opened.survivors) == expected
    assert same(opened.vector, run.expected(expected))


@pytest.mark.parametrize("examples", quick_cases([15, 60], 15))
def test_masks_cancel_for_any_dropouts(examples: int) -> None:
    settings(max_examples=examples)(masks_cancel_for_any_dropouts)()


@given(data=st.data())
def masks_cancel_in_a_small_sparse_graph(data: st.DataObject) -> None:
    """Ten sites, each with six neighbours; of the seven holders of a secret four are needed, so three may go."""
    federation = Federation.of(10, small_graph=Neighbourhood(6, 4))
    drops = data.draw(st.dictionaries(st.integers(0, 9), st.sampled_from(STAGES), max_size=2))
    run = Run(federation)
    opened = run.finish(drops)
    assert same(opened.vector, run.expected(opened.survivors))


@pytest.mark.parametrize("examples", quick_cases([5, 25], 5))
def test_masks_cancel_in_a_small_sparse_graph(examples: int) -> None:
    settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow])(
        masks_cancel_in_a_small_sparse_graph
    )()


@pytest.mark.parametrize(
    ("size", "drops"),
    [
        pytest.param(33, {}, marks=pytest.mark.slow),
        (40, {3: "advertise", 7: "share", 20: "mask"}),
        pytest.param(48, {0: "mask", 5: "mask", 11: "confirm", 47: "open"}, marks=pytest.mark.slow),
    ],
)
def test_masks_cancel_in_a_sparse_graph(size: int, drops: dict[int, str]) -> None:
    federation = Federation.of(size)
    assert size > SPARSE_ABOVE
    found = neighbourhood(size, size)
    assert found is not None
    assert found.neighbours < size - 1
    run = Run(federation)
    opened = run.finish(drops)
    assert set(opened.survivors) == {
        index for index in range(size) if STAGES.index(drops.get(index, "open")) > STAGES.index("mask")
    }
    assert same(opened.vector, run.expected(opened.survivors))


def test_a_dense_round_can_be_asked_for_above_the_limit() -> None:
    federation = Federation.of(34, sparse=False)
    run = Run(federation).until("share")
    run.step("share")
    assert all(len(site._state.neighbours) == 33 for site in run.sites.values())
