"""The sparse graph: the least neighbourhood against exact fractions, the table of the docs, and simulated rounds."""

from __future__ import annotations

import random
from fractions import Fraction
from functools import cache
from itertools import combinations
from math import comb, log2

import numpy as np
import pytest

from sealora_common.secagg import graph
from sealora_common.secagg.graph import (
    CORRUPTED,
    DROPOUTS,
    SPARSE_ABOVE,
    Neighbourhood,
    least_neighbourhood,
    neighbourhood,
)

from secagg_runs import Federation, Run, clone_site

TABLE = {
    33: (18, 16),
    40: (21, 18),
    48: (21, 18),
    64: (28, 23),
    100: (41, 32),
    128: (48, 37),
    200: (70, 51),
    256: (79, 57),
    500: (108, 77),
    1000: (130, 92),
}
"""Sites: (neighbours, threshold of a neighbourhood), with a third corrupted and a tenth dropping out."""


@cache
def tail(population: int, marked: int, drawn: int, at_least: int) -> Fraction:
    """P[Hyp(population, marked, drawn) >= at_least], exactly."""
    ways = sum(comb(marked, hits) * comb(population - marked, drawn - hits) for hits in range(at_least, drawn + 1))
    return Fraction(ways, comb(population, drawn))


def insecurity(n: int, c: int, k: int, t: int) -> tuple[Fraction, Fraction]:
    """Bounds, as exact fractions, of the chances that a site's secrets are taken and that the graph is parted."""
    honest = n - c
    parted = sum(comb(honest, s) * tail(n - 1, c + s - 1, k, t - 1) ** s for s in range(1, honest // 2 + 1))
    return n * tail(n - 1, c, k, t), Fraction(parted)


def is_secure(n: int, c: int, d: int, k: int, t: int, sessions: int = 1) -> bool:
    """The three properties of `sealora_common.secagg.graph`, in exact fractions."""
    if sessions * sum(insecurity(n, c, k, t)) > Fraction(1, 2**40):
        return False
    lost = (n - d) * tail(n - 1, d, k, k + 2 - t)
    if d:
        lost += d * tail(n - 1, d - 1, k, k + 1 - t)
    return lost <= Fraction(1, 2**30)


def brute_force(n: int, c: int, d: int, sessions: int = 1) -> tuple[int, int] | None:
    pairs = ((k, t) for k in range(3, n - 1) for t in range(2, k + 1))
    return next(((k, t) for k, t in pairs if is_secure(n, c, d, k, t, sessions)), None)


@pytest.mark.parametrize(
    ("participants", "corrupted", "dropouts"),
    [(12, 1, 0), (20, 3, 1), (33, 11, 3), (33, 5, 3), (36, 12, 3), (40, 13, 4), (45, 10, 8), (60, 20, 6)],
)
def test_the_least_neighbourhood_is_that_of_exact_fractions(participants: int, corrupted: int, dropouts: int) -> None:
    found = least_neighbourhood(participants, corrupted, dropouts)
    expected = brute_force(participants, corrupted, dropouts)
    assert (found and (found.neighbours, found.threshold)) == expected


@pytest.mark.parametrize(("participants", "corrupted", "dropouts"), [(20, 3, 1), (36, 12, 3), (45, 10, 8)])
@pytest.mark.parametrize("session_bits", [1, 8, 14])
def test_over_many_sessions_the_chances_add_up(
    participants: int, corrupted: int, dropouts: int, session_bits: int
) -> None:
    found = least_neighbourhood(participants, corrupted, dropouts, session_bits)
    expected = brute_force(participants, corrupted, dropouts, 2**session_bits)
    assert (found and (found.neighbours, found.threshold)) == expected


@pytest.mark.parametrize(("sessions", "bits"), [(1, 0), (2, 1), (3, 2), (256, 8), (257, 9), (10**6, 20)])
def test_sessions_count_as_the_next_power_of_two(sessions: int, bits: int) -> None:
    expected = least_neighbourhood(100, 33, 10, bits)
    assert neighbourhood(100, 100, sessions) == expected
    assert Federation.of(100, sessions=sessions).terms.neighbourhood(100) == expected


@pytest.mark.parametrize(("participants", "corrupted", "dropouts"), [(128, 42, 12), (200, 66, 20), (256, 85, 25)])
def test_it_is_the_sum_of_both_chances_that_is_bounded(
    participants: int, corrupted: int, dropouts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bound that each chance keeps to, and their sum does not, asks for more; one that the sum keeps to does not."""
    found = least_neighbourhood(participants, corrupted, dropouts)
    assert found is not None
    chances = insecurity(participants, corrupted, found.neighbours, found.threshold)
    each, both = -log2(max(chances)), -log2(sum(chances))
    assert each - both > 1e-6  # far above the rounding of the code's floats
    compute = least_neighbourhood.__wrapped__
    monkeypatch.setattr(graph, "_SECRECY_BITS", (each + both) / 2)
    assert compute(participants, corrupted, dropouts) != found
    monkeypatch.setattr(graph, "_SECRECY_BITS", both - (each - both) / 2)
    assert compute(participants, corrupted, dropouts) == found


@pytest.mark.parametrize("sites", TABLE)
def test_the_table_of_the_docs(sites: int) -> None:
    found = neighbourhood(sites, sites)
    assert found == Neighbourhood(*TABLE[sites])


@pytest.mark.parametrize("sites", [33, 40, 64, 100, 200])
def test_the_table_holds_in_exact_fractions(sites: int) -> None:
    k, t = TABLE[sites]
    corrupted, dropouts = int(sites * CORRUPTED), int(sites * DROPOUTS)
    assert is_secure(sites, corrupted, dropouts, k, t)
    assert not is_secure(sites, corrupted, dropouts, k, t - 1)


@pytest.mark.slow
@pytest.mark.parametrize("sites", [256, 500, 1000])
def test_the_table_of_many_sites_holds_in_exact_fractions(sites: int) -> None:
    k, t = TABLE[sites]
    assert is_secure(sites, int(sites * CORRUPTED), int(sites * DROPOUTS), k, t)


@pytest.mark.parametrize("participants", [0, 2, 3, 10, SPARSE_ABOVE])
def test_few_sites_form_a_complete_graph(participants: int) -> None:
    assert neighbourhood(participants, 100) is None


def test_too_many_corrupted_or_too_many_dropouts_have_no_neighbourhood() -> None:
    assert least_neighbourhood(40, 39, 0) is None
    assert least_neighbourhood(40, 13, 30) is None
    assert neighbourhood(33, 1000) is None  # a third of a thousand may be corrupted


def test_more_corruption_or_dropouts_never_ask_for_fewer_neighbours() -> None:
    by_corrupted = [least_neighbourhood(60, corrupted, 6) for corrupted in range(0, 24, 3)]
    by_dropouts = [least_neighbourhood(60, 20, dropouts) for dropouts in range(7)]
    for found in (by_corrupted, by_dropouts):
        sizes = [each.neighbours for each in found if each is not None]
        assert len(sizes) == len(found)
        assert sizes == sorted(sizes)


@pytest.mark.parametrize("sites", TABLE)
def test_a_neighbourhood_leaves_no_room_for_both_kinds_of_share(sites: int) -> None:
    """More than half of the holders: no two disjoint halves of a neighbourhood restore a secret each."""
    k, t = TABLE[sites]
    assert 2 * t > k + 1


def test_a_neighbourhood_is_much_smaller_than_the_roster_when_sites_are_many() -> None:
    assert neighbourhood(1000, 1000).neighbours < 1000 / 7  # type: ignore[union-attr]


# --- the choice


@pytest.mark.usefixtures("_verify_once")
def test_the_choice_is_uniform() -> None:
    """Chi-square over which of 33 others a site draws, at a level of 1e-6, and over pairs drawn together."""
    federation = Federation.of(34)
    bundle = Run(federation).until("share").close("share")[0]
    drawn = np.zeros(34)
    together = np.zeros((34, 34))
    rounds = 150
    run = Run(federation)
    for _ in range(rounds):
        run.sites[0], advertisement = federation.begin(0)
        run.sites[0].share(_with_own(bundle, advertisement))
        chosen = list(run.sites[0]._state.neighbours)
        drawn[chosen] += 1
        together[np.ix_(chosen, chosen)] += 1
    k = TABLE[33][0]
    assert drawn[0] == 0
    expected = rounds * k / 33
    spread = expected * (1 - k / 33) * 33 / 32  # of draws without replacement
    assert ((drawn[1:] - expected) ** 2).sum() / spread < 90.2  # chi-square, 32 degrees, 1e-7
    pairs = together[np.triu_indices(34, 1)]
    pair_rate = k * (k - 1) / (33 * 32)
    assert abs(pairs[33:].mean() - rounds * pair_rate) < 1e-9
    assert pairs[33:].max() < rounds * pair_rate + 7 * (rounds * pair_rate * (1 - pair_rate)) ** 0.5


def test_the_choice_is_made_after_the_keys_are_fixed_and_not_by_the_seed_of_tests() -> None:
    """Two sessions of the same secrets, shown the same keys, draw other neighbours: nobody can know them before."""
    federation = Federation.of(40)
    run = Run(federation).until("share")
    request = run.close("share")[0]
    assert run.sites[0]._state.neighbours == ()
    one, other = clone_site(run.sites[0]), clone_site(run.sites[0])
    one.share(request)
    other.share(request)
    assert one._state.neighbours != other._state.neighbours


def _with_own(bundle: bytes, advertisement: bytes) -> bytes:
    """The bundle with its first advertisement, which is as long, replaced."""
    return bundle[:6] + advertisement + bundle[6 + len(advertisement) :]


# --- simulated rounds on the graph alone


def draw_graph(sites: int, k: int, chosen: random.Random) -> list[set[int]]:
    return [set(chosen.sample([other for other in range(sites) if other != site], k)) for site in range(sites)]


@pytest.mark.parametrize("sites", [33, 48, 100])
def test_random_dropouts_at_the_stated_rate_never_lose_a_round(sites: int) -> None:
    k, t = TABLE[sites]
    chosen = random.Random(sites)
    for _ in range(300):
        holders = [drawn | {site} for site, drawn in enumerate(draw_graph(sites, k, chosen))]
        dropped = set(chosen.sample(range(sites), int(sites * DROPOUTS)))
        assert all(len(each - dropped) >= t for each in holders)


def cut_off(survivors: set[int], corrupted: set[int], drawn: list[set[int]], t: int) -> bool:
    """Whether the honest survivors fall into groups with no mask between them, each allowed to open."""
    honest = survivors - corrupted
    if any(len((drawn[site] | {site}) & (survivors | corrupted)) < t for site in honest):
        return False  # its holders open nothing
    seen, frontier = set(), [next(iter(honest))]
    while frontier:
        site = frontier.pop()
        if site in seen:
            continue
        seen.add(site)
        frontier += [other for other in honest - seen if other in drawn[site] or site in drawn[other]]
    return seen != honest


@pytest.mark.parametrize("sites", [33, 48, 100])
def test_dropping_sites_on_purpose_does_not_part_the_graph(sites: int) -> None:
    """The server picks the site with the fewest honest neighbours and drops those; then a pair; then at random."""
    k, t = TABLE[sites]
    chosen = random.Random(sites + 1)
    most = sites - (2 * sites // 3 + 1)  # dropouts that leave the threshold of the roster
    for _ in range(60):
        corrupted = set(chosen.sample(range(sites), int(sites * CORRUPTED)))
        drawn = draw_graph(sites, k, chosen)
        honest = set(range(sites)) - corrupted
        edges = {
            site: {other for other in honest - {site} if other in drawn[site] or site in drawn[other]}
            for site in honest
        }
        weakest = sorted(honest, key=lambda site: len(edges[site]))
        targets = [{site} for site in weakest[:5]] + [set(pair) for pair in combinations(weakest[:4], 2)]
        for target in targets:
            around = set().union(*(edges[site] for site in target)) - target
            for dropped in (
                set(sorted(around, key=lambda site: len(edges[site]))[:most]),
                set(chosen.sample(sorted(around), min(most, len(around)))),
            ):
                assert not cut_off(set(range(sites)) - dropped, corrupted, drawn, t)


def test_the_search_for_parted_graphs_finds_them_where_neighbours_are_too_few() -> None:
    chosen = random.Random(5)
    found = 0
    for _ in range(50):
        corrupted = set(chosen.sample(range(33), 11))
        drawn = draw_graph(33, 4, chosen)
        honest = set(range(33)) - corrupted
        edges = {
            site: {other for other in honest - {site} if other in drawn[site] or site in drawn[other]}
            for site in honest
        }
        weakest = min(honest, key=lambda site: len(edges[site]))
        if len(edges[weakest]) <= 10:
            found += cut_off(set(range(33)) - edges[weakest], corrupted, drawn, 1)
    assert found > 10
