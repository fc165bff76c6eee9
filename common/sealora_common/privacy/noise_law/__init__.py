"""The noise-to-batch law: what a recipe's noise does to so many records, told before anybody trains.

step_noise.py    the noise and the reach of the mean gradient of one step
worth.py         what a run's steps are worth beside steps without noise, and when noise drowns the records
alternatives.py  the same compute in fewer and larger steps, or more of it; and which of them is recommended
layers.py        a part of the layers alone: what noise leaves there, and from which share of the gradient that pays
outlook.py       all of it for a recipe and its sites' units, as `sealora plan` shows it

Rates, noise and epsilons are read off the plan that a run is done by (`privacy.plan`); nothing is calibrated here a
second time. What a run learns follows from none of this: see `worth` for what is left out.
"""

from sealora_common.privacy.noise_law.alternatives import Alternative
from sealora_common.privacy.noise_law.layers import NamedLayers, layer_name
from sealora_common.privacy.noise_law.outlook import Choice, Outlook, outlook, trained_parameters
from sealora_common.privacy.noise_law.step_noise import StepNoise, step_noise
from sealora_common.privacy.noise_law.worth import AGREEMENT, LEAST, drowned, worth

__all__ = [
    "AGREEMENT",
    "LEAST",
    "Alternative",
    "Choice",
    "NamedLayers",
    "Outlook",
    "StepNoise",
    "drowned",
    "layer_name",
    "outlook",
    "step_noise",
    "trained_parameters",
    "worth",
]
