"""Matrices of correlated noise, and how much noise each leaves in what training makes of the gradients.

A run of T steps releases, for each coordinate, C g + sigma z, where g, shape (T,), is the sum of clipped gradients of
each step, z is standard Gaussian and C, shape (T, T), is lower triangular. Multiplied by C^-1 that is g + sigma C^-1 z:
gradients with noise that is correlated over steps. Training makes A g of gradients, so the noise in its T iterates is
sigma A C^-1 z. C is the identity in DP-SGD. Units: the clipping norm, and the learning rate's peak.

Sources: banded matrices, their optimum and their column norms as sensitivity (Choquette-Choo et al. 2023,
arXiv:2306.08153); banded Toeplitz ones found by descent (McKenna 2024, arXiv:2405.15913); square roots of A
(Fichtenberger, Henzinger & Upadhyay 2022, arXiv:2202.11205; Kalinin & Lampert 2024, arXiv:2405.13763, with the
sensitivity of several participations); buffered linear Toeplitz, BLT (Dvijotham et al. 2024, arXiv:2404.16706; McMahan,
Xu & Zhang 2024, arXiv:2408.08868).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular, toeplitz
from scipy.optimize import minimize
from scipy.signal import fftconvolve, lfilter

Array = NDArray[np.float64]

WORKLOADS = ("constant", "momentum", "cooldown", "forgetting")
MOMENTUM = 0.9
FORGOTTEN = 4.0  # time constants in a run: what noise of the first step is still there at the end is e^-4


def workload(name: str, steps: int) -> Array:
    """A, shape (steps, steps): row i says how much of each step's gradient is in iterate i.

    `constant`: prefix sums. `momentum`: steps of 0.1 times the sum of all gradients, each decayed by 0.9 a step.
    `cooldown`: a rate that falls linearly from 1 to 1 / steps. `forgetting`: a loss whose curvature pulls iterates
    back, by a factor of e^(-4 / steps) a step.
    """
    if name == "cooldown":
        return np.tril(np.ones((steps, steps))) * (1 - np.arange(steps) / steps)
    return _lower(_first_column(name, steps))


def _first_column(name: str, steps: int) -> Array:
    """Of a Toeplitz workload; of the constant one where it is none."""
    ages = np.arange(steps)
    if name == "momentum":
        return np.asarray(1 - MOMENTUM ** (ages + 1.0))
    return np.exp(-FORGOTTEN / steps * ages) if name == "forgetting" else np.ones(steps)


def _lower(column: Array) -> Array:
    return np.asarray(np.tril(toeplitz(column)))


def unit_columns(matrix: Array) -> Array:
    """`matrix` with every column scaled to norm 1: a record that takes part in one step moves C g by at most 1."""
    return np.asarray(matrix / np.linalg.norm(matrix, axis=0))


def root_column(column: Array) -> Array:
    """The first column of the square root of the lower triangular Toeplitz matrix with the first column `column`."""
    root = np.zeros_like(column)
    root[0] = math.sqrt(column[0])
    for index in range(1, len(column)):
        root[index] = (column[index] - root[1:index] @ root[index - 1 : 0 : -1]) / (2 * root[0])
    return root


def banded_root(name: str, steps: int, bands: int) -> Array:
    """The square root of the workload, cut off after `bands` bands, columns of norm 1. No search."""
    column = root_column(_first_column(name, steps))
    column[bands:] = 0
    return unit_columns(_lower(column))


def banded_toeplitz(name: str, steps: int, bands: int) -> Array:
    """The Toeplitz matrix of `bands` bands with the least error in all iterates, by descent; columns of norm 1.

    For `cooldown`, which is no Toeplitz workload, that of `constant`.
    """
    target = _first_column(name, steps)
    weights = np.arange(steps, 0, -1.0)  # how often each entry of a Toeplitz matrix's first column is in it

    def loss(free: Array) -> tuple[float, Array]:
        column = np.concatenate([[1.0], free])
        inverse = lfilter([1.0], column, np.eye(1, steps)[0])
        noise = fftconvolve(target, inverse)[:steps]
        further = fftconvolve(noise, inverse)[:steps]
        error, norm = weights @ noise**2, column @ column
        # Entry k moves the noise by -(what further is, k steps on).
        shifted = fftconvolve((weights * noise)[::-1], further)[:steps][::-1]
        return math.log(error) + math.log(norm), -2 * shifted[1:bands] / error + 2 * free / norm

    start = root_column(target)[1:bands] / math.sqrt(target[0])
    found = start
    if bands > 1:  # between 0 and 1, where the inverse stays small
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * len(start)).x
    column = np.zeros(steps)
    column[:bands] = np.concatenate([[1.0], found])
    return unit_columns(_lower(column))


def banded_optimum(name: str, start: Array, bands: int) -> Array:
    """The matrix of `bands` bands and columns of norm 1 with the least error in all iterates, by descent from `start`.

    The problem is convex in C^T C, so a minimum of it is the minimum. O(steps^3) a turn: for hundreds of steps.
    """
    steps = len(start)
    target = workload(name, steps)
    band = np.tril(np.ones_like(start)) - np.tril(np.ones_like(start), -bands) > 0
    scale = float(np.sum(_noise(target, start) ** 2))

    def loss(free: Array) -> tuple[float, Array]:
        raw = np.zeros_like(start)
        raw[band] = free
        norms = np.linalg.norm(raw, axis=0)
        matrix = raw / norms
        noise = _noise(target, matrix)
        slope = -2 * solve_triangular(matrix, noise.T @ noise, lower=True).T
        slope = (slope - matrix * np.sum(matrix * slope, axis=0)) / norms
        return float(np.sum(noise**2)) / scale, slope[band] / scale

    found = minimize(loss, start[band], jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    raw = np.zeros_like(start)
    raw[band] = found
    return unit_columns(raw)


def buffered_toeplitz(steps: int, apart: int, buffers: int = 3) -> Array:
    """BLT: the first column 1, sum w, sum w d, sum w d^2 ... of `buffers` weights w and decays d, as a matrix.

    Found by descent for the least error in `constant`'s iterates times the sensitivity to participations `apart`.
    """
    weights, ages = np.arange(steps, 0, -1.0), np.arange(steps - 1)

    def column(free: Array) -> Array:
        shares = np.exp(free[:buffers])  # of what is at most 1, so that the column never rises
        decays = 1 / (1 + np.exp(-free[buffers:]))
        return np.concatenate([[1.0], (shares / (1 + shares.sum())) @ decays[:, None] ** ages])

    def loss(free: Array) -> float:
        first = column(free)
        noise = np.cumsum(lfilter([1.0], first, np.eye(1, steps)[0]))
        return math.log(weights @ noise**2) + 2 * math.log(participations(first, apart))

    start = np.concatenate([np.full(buffers, -1.0), np.linspace(0.0, math.log(steps), buffers)])
    return _lower(column(minimize(loss, start, method="L-BFGS-B", options={"maxiter": 100}).x))


def participations(column: Array, apart: int) -> float:
    """How far a record moves C g, C lower triangular Toeplitz of `column`, when it takes part at least `apart` apart.

    For a column that is nowhere below 0 and never rises, the worst is to take part at steps 0, `apart`, 2 `apart` ...
    """
    if column.min() < 0 or np.any(np.diff(column) > 1e-12):
        raise ValueError("the closed form holds for columns that are nowhere below 0 and never rise")
    total = np.zeros_like(column)
    for first in range(0, len(column), apart):
        total[first:] += column[: len(column) - first]
    return float(np.linalg.norm(total))


def errors(target: Array, matrix: Array | None) -> tuple[float, float]:
    """(root mean square over all iterates, last iterate): the noise in A C^-1 z for standard z; C = I for None."""
    noise = target if matrix is None else _noise(target, matrix)
    return float(np.linalg.norm(noise) / math.sqrt(len(target))), float(np.linalg.norm(noise[-1]))


def _noise(target: Array, matrix: Array) -> Array:
    """A C^-1."""
    return np.asarray(solve_triangular(matrix, target.T, trans="T", lower=True).T)
