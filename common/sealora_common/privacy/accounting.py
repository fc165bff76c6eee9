"""The privacy cost of DP-SGD: Poisson-sampled Gaussian and Skellam mechanisms, composed over segments.

Two accountants, both upper bounds, for adding as well as removing a record. PLD composes privacy-loss distributions
(Doroshenko et al. 2022, arXiv:2207.04380; `privacy_loss`, `loss_composition`): noise is calibrated, budgets are
enforced and statements are made with it. RDP (Mironov, Talwar & Zhang 2019, arXiv:1908.10530, sec. 3.3, by Opacus;
converted by Balle et al. 2020, arXiv:1905.09982, Thm 21) asks for some 6 to 25 % more noise; it stands by as a
cross-check, and for values that losses cannot be composed for. The GDP accountant is a limit theorem, not a bound
(1.62 where 1.82 is true for the example below), so it is not offered. Skellam noise, which distributed sites add on an
integer grid, enters both as the Gaussian noise it is never worse than (`sealora_common.privacy.skellam`).

>>> thousand_steps = PrivacyEvent(noise_multiplier=1.0, sample_rate=0.01, steps=1000)
>>> round(epsilon_pld([thousand_steps], delta=1e-5), 3)
1.828
>>> round(epsilon_rdp([thousand_steps], delta=1e-5), 3)
2.101
>>> calibrate_noise(epsilon=2.0, delta=1e-5, sample_rate=0.01, steps=1000)
0.9592
>>> calibrate_noise(epsilon=2.0, delta=1e-5, sample_rate=0.01, steps=1000, accountant="rdp")
1.0223
>>> calibrate_noise(epsilon=2.0, delta=1e-5, sample_rate=0.01, steps=1000, noise="skellam", grid_steps=2**14)
0.9592

Neighbouring data sets differ by one record added or removed. SciPy and Opacus, which brings torch with it, are imported
when a cost is first asked for: the aggregation server, which never asks, needs neither.
"""

from sealora_common.privacy.calibration import HEADROOM, Accountant, calibrate_noise, check_delta, sound_delta
from sealora_common.privacy.composition import epsilon_pld, epsilon_rdp
from sealora_common.privacy.event import Noise, PrivacyEvent
from sealora_common.privacy.renyi import ORDERS

__all__ = [
    "HEADROOM",
    "ORDERS",
    "Accountant",
    "Noise",
    "PrivacyEvent",
    "calibrate_noise",
    "check_delta",
    "epsilon_pld",
    "epsilon_rdp",
    "sound_delta",
]
