"""The privacy cost of DP-SGD: Poisson-sampled Gaussian and Skellam mechanisms, composed over segments.

Two accountants, both from Opacus's analysis and both upper bounds, for adding as well as removing a record. RDP
(Mironov, Talwar & Zhang 2019, arXiv:1908.10530, sec. 3.3; converted by Balle et al. 2020, arXiv:1905.09982, Thm 21)
is what budgets are enforced with: it is fast. PRV (Gopi, Lee & Wutschitz 2021, arXiv:2106.02848) is tighter and
slower, for reports. The GDP accountant is a limit theorem, not a bound (1.62 where PRV proves 1.84 for the example
below), so it is not offered. Skellam noise, which distributed sites add on an integer grid, enters both as the
Gaussian noise it is never worse than (`sealora_common.privacy.skellam`).

>>> thousand_steps = Mechanism(noise_multiplier=1.0, sample_rate=0.01, steps=1000)
>>> round(epsilon_rdp([thousand_steps], delta=1e-5), 3)
2.101
>>> round(epsilon_prv([thousand_steps], delta=1e-5), 2)
1.84
>>> calibrate_noise(epsilon=2.0, delta=1e-5, sample_rate=0.01, steps=1000)
1.0223
>>> calibrate_noise(epsilon=2.0, delta=1e-5, sample_rate=0.01, steps=1000, noise="skellam", units=2**14)
1.0223

Neighbouring data sets differ by one record added or removed. Opacus brings torch with it, so it is imported
when a cost is first asked for: the aggregation server, which never asks, needs neither.
"""

from sealora_common.privacy.calibration import Accountant, calibrate_noise, check_delta
from sealora_common.privacy.composition import epsilon_prv, epsilon_rdp
from sealora_common.privacy.mechanism import Mechanism, Noise
from sealora_common.privacy.renyi import ORDERS

__all__ = [
    "ORDERS",
    "Accountant",
    "Mechanism",
    "Noise",
    "calibrate_noise",
    "check_delta",
    "epsilon_prv",
    "epsilon_rdp",
]
