"""Secure aggregation: the server learns the sum of the sites' vectors and nothing else about any of them.

The protocol is that of Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning"
(CCS 2017, figure 4), in its active-adversary variant, with commitments and complaints so that a site that breaks it is
named, and with hybrid keys. This package is pure: no input or output, no clock, no Flower, no torch. `SiteSession` is
one site's part in one round, `ServerSession` the server's.
"""

from sealora_common.secagg.errors import ProtocolError, TooFewSitesError
from sealora_common.secagg.faults import Fault, FaultKind
from sealora_common.secagg.ring import RingVector, Segment
from sealora_common.secagg.server import OpenedSum, ServerSession
from sealora_common.secagg.site import SiteSession
from sealora_common.secagg.terms import RoundTerms, threshold_for

__all__ = [
    "Fault",
    "FaultKind",
    "OpenedSum",
    "ProtocolError",
    "RingVector",
    "RoundTerms",
    "Segment",
    "ServerSession",
    "SiteSession",
    "TooFewSitesError",
    "threshold_for",
]
