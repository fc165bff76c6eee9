"""How many neighbours a site needs when sites are many: the sparse graph of Bell et al. (CCS 2020).

Above `SPARSE_ABOVE` participants a site shares its secrets and its masks with k of the others instead of all. Each
site draws its own k, from its own randomness, after all keys of the round are fixed: neither the server nor any
other site can steer an honest site's choice. It signs whom it drew, and all sites are told (see `transcript`).

k and the threshold t of a neighbourhood (k neighbours and the site itself, k + 1 shares) are the least for which,
with c sites corrupted and colluding with the server, the probability that either of these happens in any of the sealed
sessions that a site takes part in under one run is at most 2^-40 (a union bound over both and all sessions):

- some honest site has t or more corrupted neighbours, who could restore its secrets;
- the honest survivors can be parted into two groups with no mask between them, whose sums the server could then
  tell apart. The server may drop sites after it has seen the graph, so the bound holds for every choice of
  survivors in which each survivor has t - 1 surviving neighbours, which their holders check before they open:
  a group S of s honest sites is cut off only if every one of them drew t - 1 or more neighbours from S and the
  corrupted, so the union bound is  sum_s C(h, s) P[Hyp(n - 1, c + s - 1, k) >= t - 1]^s  over s <= h / 2

and for which, with probability at least 1 - 2^-30, d random dropouts leave t shares of every site: of its k + 1 if
it survived, of its neighbours' k if it is one of the d itself.
This is the approach of Bell et al., section 3.4 and appendix (their definition 3.2 asks for the same three
properties), with a bound for groups that withstands dropouts chosen by the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SPARSE_ABOVE = 32
"""Up to so many participants every site is every other's neighbour."""
CORRUPTED = 1 / 3
"""Share of the roster that may be corrupted and collude with the server."""
DROPOUTS = 0.1
"""Share of the participants that may drop out at random without the round being lost."""

_SECRECY_BITS = 40.0
_CORRECTNESS_BITS = 30.0
_LOG2 = float(np.log(2.0))


@dataclass(frozen=True)
class Neighbourhood:
    """k neighbours, and how many of the k + 1 shares restore a secret."""

    neighbours: int
    threshold: int


def neighbourhood(participants: int, roster_size: int, sessions: int = 1) -> Neighbourhood | None:
    """The neighbourhood for `participants` of `roster_size` sites, or None where the complete graph is needed.

    Args:
        participants: sites that advertised keys.
        roster_size: sites on the roster.
        sessions: most sealed sessions that a site takes part in under one run.
    """
    if participants <= SPARSE_ABOVE:
        return None
    # The next power of two: one table for all runs of about that length.
    bits = (sessions - 1).bit_length()
    return least_neighbourhood(participants, int(roster_size * CORRUPTED), int(participants * DROPOUTS), bits)


@lru_cache(maxsize=1024)
def least_neighbourhood(
    participants: int, corrupted: int, dropouts: int, session_bits: int = 0
) -> Neighbourhood | None:
    """The least neighbourhood with the three properties of this module, or None if there is none.

    Args:
        participants: n, sites that advertised keys.
        corrupted: c, how many of them may be corrupted.
        dropouts: d, how many of them may drop out at random.
        session_bits: log2 of the number of sessions over which the chances add up.
    """
    honest = participants - corrupted
    if honest < 2:
        return None
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, participants + 1)))])
    groups = np.arange(1, honest // 2 + 1)
    choices = _log_binomial(factorials, honest, groups)
    for k in range(3, participants - 1):
        # at_least[s, t] = log P[Hyp(n - 1, c + s, k) >= t]
        at_least = _log_tails(factorials, participants - 1, corrupted + np.arange(len(groups)), k)
        of_survivor, of_dropout = _log_tails(
            factorials, participants - 1, np.array([dropouts, max(0, dropouts - 1)]), k
        )
        for t in range(2, k + 1):
            taken = np.log(participants) + at_least[0, t]
            parted = np.logaddexp.reduce(choices + groups * at_least[:, t - 1])
            if np.logaddexp(taken, parted) > -(_SECRECY_BITS + session_bits) * _LOG2:
                continue
            # Of the k + 1 shares of a survivor fewer than t are left when k + 2 - t neighbours dropped out, of the k
            # of a dropout when k + 1 - t did.
            with np.errstate(divide="ignore"):  # no dropouts: log 0
                lost = np.logaddexp(
                    np.log(participants - dropouts) + of_survivor[k + 2 - t], np.log(dropouts) + of_dropout[k + 1 - t]
                )
            if lost <= -_CORRECTNESS_BITS * _LOG2:
                return Neighbourhood(k, t)
            break
    return None


def _log_binomial(factorials: NDArray[np.float64], n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
    inside = (k >= 0) & (k <= n)
    safe = np.where(inside, k, 0)
    return np.where(inside, factorials[n] - factorials[safe] - factorials[n - safe], -np.inf)


def _log_tails(
    factorials: NDArray[np.float64], population: int, marked: NDArray[np.int64], drawn: int
) -> NDArray[np.float64]:
    """log P[Hyp(population, m, drawn) >= t] for each m of `marked` and t = 0..drawn; shape (len(marked), drawn + 1)."""
    hits = np.arange(drawn + 1)
    masses = np.full((len(marked), drawn + 1), -np.inf)
    for row, good in enumerate(marked):
        masses[row] = _log_binomial(factorials, int(good), hits) + _log_binomial(
            factorials, population - int(good), drawn - hits
        )
    masses -= factorials[population] - factorials[drawn] - factorials[population - drawn]
    tails = np.logaddexp.accumulate(masses[:, ::-1], axis=1)[:, ::-1]
    return np.minimum(tails, 0.0)
