"""Who forms the federation, and how a change of that is told.

`member`       one site and its keys
`roster`       the members and the server, numbered, signed by the coordinator, valid for a term
`cosignature`  by which a member says that this is the roster it was shown
`succession`   which roster may follow which, and what a party remembers of those it has used
`book`         rosters that receipts are under, kept by their hash
"""

from sealora_common.roster.cosignature import Cosignature
from sealora_common.roster.member import Member
from sealora_common.roster.roster import GENESIS, TERM, Roster, check_consortium
from sealora_common.roster.succession import SeenRosters, require_succession

__all__ = [
    "GENESIS",
    "TERM",
    "Cosignature",
    "Member",
    "Roster",
    "SeenRosters",
    "check_consortium",
    "require_succession",
]
