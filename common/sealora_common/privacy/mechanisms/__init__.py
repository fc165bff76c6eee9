"""The recipe's privacy mechanisms, one file each: what `privacy.mechanism` decides is said here and nowhere else.

A mechanism plans its releases, lays out what is told beside a vector and refuses the settings it cannot keep its
promise with. How a round is trained needs torch and belongs to the client (`sealora_client.training.choice`); what
noise costs belongs to `privacy.accounting`.
"""

from sealora_common.privacy.mechanisms.lookup import mechanism_of
from sealora_common.privacy.mechanisms.mechanism import PrivacyMechanism, Repeat

__all__ = ["PrivacyMechanism", "Repeat", "mechanism_of"]
