"""Skellam noise on the integer grid, measured by the Gaussian noise it is never worse than.

A Skellam step costs at most what a Gaussian step of `gaussian_equivalent` noise costs, in the strongest sense there
is: both outputs of the Skellam step, with and without a record, can be made from the two outputs of the Gaussian
step by one and the same random post-processing. Whatever bounds the Gaussian step (Rényi divergence at any order,
privacy-loss distributions, sampling, composition, a record added or removed) therefore bounds the Skellam step, in
any number of dimensions. The price is a factor of about 1 + 1.1 / variance on the noise, 1.000001 for noise of a
thousand steps of the grid. Agarwal, Kairouz & Liu 2021 (arXiv:2110.04995, Cor. 3.6) bound the Rényi divergence at
integer orders, to within the same factor; but large budgets are best measured between orders 2 and 3, so that their
bound, sampled, asks for up to 13 % more noise.

Proof, for noise of variance v in each coordinate: f(k) = exp(-v) I_k(v), I the modified Bessel function, F the sum
of f, Phi the normal distribution function.

1. Turan's ratio rho_k = f(k-1) f(k+1) / f(k)^2 is smallest at k = 0. With y = v I_k'(v) / I_k(v), the recurrences
   of I give rho_k = (y^2 - k^2) / v^2 and Bessel's equation gives v y' = v^2 + k^2 - y^2, so 1 - rho_k = y' / v
   (' for d/dv). Let z = dy/dk, real k > 0, and w = y z - k. Then v z' = -2 w and w' = y' z - 2 y w / v. As v -> 0,
   y' ~ v / (k+1), z ~ 1 and w ~ v^2 / (2 (k+1)^2) are positive, and none can be the first to reach 0: there y'
   would have slope 2, z slope 2 k / v and w slope y' z. So z' < 0: y', and 1 - rho_k with it, falls as k grows.
2. Let h_k = Phi^-1(F(k)) and let a = h_k - h_(k-1) be its largest increment: there is one, as the increments vanish
   far out (they are O(log k / sqrt(k log k)), by the ratio of the tails of f and that of Phi). f(k) is Phi's mass
   of the cell from h_(k-1) to h_k, and as no increment is larger, f(k-1) and f(k+1) are at most its masses of the
   two neighbouring cells of the same width. So rho_k <= exp(-a^2) E cosh(a (x - x')), for x and x' drawn from the
   normal distribution within the cell. x - x' has a symmetric log-concave density within [-a, a], a mixture of
   uniform ones, none wider: the mean is at most sinh(a^2) / a^2. With s = a^2: rho_0 <= (1 - exp(-2 s)) / (2 s).
3. f is log-concave (a convolution of such), so the best tests of noise against noise shifted by an integer D are
   thresholds, and their errors satisfy Phi^-1(F(k)) - Phi^-1(F(k - D)) <= a |D|. The pair is thus no easier to tell
   apart than N(0, 1) and N(a |D|, 1), and by Blackwell's theorem a post-processing of that pair (Dong, Roth & Su 2022,
   arXiv:1905.02383, sec. 2).
4. Coordinates are independent, so the post-processings combine: noise shifted by an integer vector of L2 norm D is
   a post-processing of N(0, I) and N(a D u, I), u a unit vector, which is N(0, 1) and N(a D, 1). So is every shorter
   shift: scale down and add noise.
5. With and without the record, the other records are drawn alike. Given those drawn, the step without it is the left
   one of a pair as in 4, with it a mixture of both with weights 1 - q and q, and a post-processing keeps mixtures.
   Which one it is may depend on the others drawn: draw them first.

It remains to bound a from above. I_1 / I_0 >= v / (1/2 + sqrt(v^2 + 9/4)) (Amos 1974, Math. Comp. 28, eq. 16), so
rho_0 = (I_1 / I_0)^2 >= exp(-kappa) with kappa = 2 log((1/2 + sqrt(v^2 + 9/4)) / v). As sinh(s) / s <= exp(s^2 / 6),
step 2 gives s - s^2 / 6 <= kappa; as (1 - exp(-2 s)) / (2 s) falls with s, and s - s^2 / 6 rises up to s = 3, s is
at most the smaller root while kappa < 3/2. As 1 - exp(-2 s) < 1, s < exp(kappa) / 2 always.
"""

from __future__ import annotations

import math


def gaussian_equivalent(noise_multiplier: float, grid_steps: int) -> float:
    """The noise multiplier of Gaussian noise that costs at least as much, sampled and composed alike.

    Args:
        noise_multiplier: above 0; the Skellam noise's variance is (noise_multiplier * grid_steps)^2 in each coordinate.
        grid_steps: L2 sensitivity of the integer sum, in steps of the grid, 1 or more.

    Returns:
        At most `noise_multiplier`, closer to it the more units there are; 0, no promise, below a variance of 1e-150.
    """
    variance = (noise_multiplier * grid_steps) ** 2
    if variance < 1e-150:
        return 0.0
    root = math.hypot(variance, 1.5)
    kappa = 2 * math.log1p((0.5 + 2.25 / (root + variance)) / variance)  # root - variance, without cancelling
    largest = math.exp(kappa) / 2
    if kappa < 1.5:
        largest = min(largest, 2 * kappa / (1 + math.sqrt(1 - kappa / 1.5)))
    return min(noise_multiplier, 1 / (grid_steps * math.sqrt(largest)))  # rounding may lift it by a last digit
