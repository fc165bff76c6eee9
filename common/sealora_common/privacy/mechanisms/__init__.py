"""The recipe's privacy mechanisms, one file each: what `privacy.mechanism` decides is said here and nowhere else.

How a round is trained needs torch and belongs to the client; what noise costs belongs to `privacy.accounting`.
"""

from sealora_common.privacy.mechanisms.lookup import mechanism_of
from sealora_common.privacy.mechanisms.mechanism import PrivacyMechanism, Repeat

__all__ = ["PrivacyMechanism", "Repeat", "mechanism_of"]
