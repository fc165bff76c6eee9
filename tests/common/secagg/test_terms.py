"""Terms of a round: thresholds, limits, and one digest for all who agree."""

from __future__ import annotations

import pytest

from sealora_common.secagg import Segment, threshold_for
from sealora_common.secagg.graph import Neighbourhood

from secagg_runs import Federation


def test_equal_terms_have_one_digest() -> None:
    assert Federation.of(5).terms.digest == Federation.of(5).terms.digest
    assert len(Federation.of(5).terms.digest) == 32


def test_segments_cannot_be_shifted_into_each_other() -> None:
    shapes = [
        (),
        (Segment(1, 16),),
        (Segment(1, 16), Segment(0, 16)),
        (Segment(0, 16), Segment(1, 16)),
        (Segment(2, 16),),
    ]
    assert len({Federation.of(5, segments=shape).terms.digest for shape in shapes}) == len(shapes)


@pytest.mark.parametrize(
    ("size", "malicious", "curious"), [(2, 2, 2), (3, 3, 2), (4, 3, 3), (5, 4, 3), (10, 7, 6), (100, 67, 51)]
)
def test_thresholds(size: int, malicious: int, curious: int) -> None:
    assert threshold_for(size, "malicious") == malicious
    assert threshold_for(size, "curious") == curious


@pytest.mark.parametrize("min_survivors", [0, 1, 6])
def test_a_floor_of_one_or_above_the_roster_does_not_exist(min_survivors: int) -> None:
    with pytest.raises(ValueError, match="min_survivors"):
        Federation.of(5, min_survivors=min_survivors)


def test_what_is_needed_is_the_higher_of_threshold_and_floor() -> None:
    assert Federation.of(5, "curious", min_survivors=2).terms.needed == 3
    assert Federation.of(5, "curious", min_survivors=5).terms.needed == 5


def test_the_graph_is_complete_among_few_sites_and_on_request() -> None:
    assert Federation.of(10).terms.neighbourhood(9) == Neighbourhood(8, 7)
    assert Federation.of(40).terms.neighbourhood(40) == Neighbourhood(21, 18)
    assert Federation.of(40, sparse=False).terms.neighbourhood(40) == Neighbourhood(39, 27)
