"""So many complaints that a secret would be known: turned members complain of one site together.

Each of them knows its own share already. But a disclosure travels in the clear: with threshold-many shares in it a
server that none of them colludes with would read the site's vector. The rule: such a site discloses nothing.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError, RingVector, SiteSession
from sealora_common.secagg.bodies import MaskRequest
from sealora_common.secagg.messages import bundle
from secagg_turned import complaining, go_on, turn
from secagg_weakened import weakened

from secagg_attacker import Attacker
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(4)
VICTIM, TURNED = 0, (1, 2, 3)


def complain_together(
    site_class: type[SiteSession], complainers: tuple[int, ...] = TURNED
) -> tuple[Run, RingVector | None]:
    """Reads the victim with nothing but what it disclosed: no site colludes with the server."""
    run = Run(FEDERATION, site_class=site_class)
    run.step("advertise")
    go_on(turn(run, dict.fromkeys(complainers, complaining(VICTIM))), "disclose")
    checks = run.answers["check"]
    attacker = Attacker.watching(run)
    attacker.hears_disclosure(run.sites[VICTIM].disclose(bundle([checks[index] for index in complainers])))
    masked = run.answer("mask", VICTIM, MaskRequest(list(checks.values()), []).to_bytes())
    return run, attacker.reads({VICTIM: masked}, {VICTIM: (1, 2, 3)})


def test_a_victim_is_read_where_it_discloses_to_as_many_as_complain() -> None:
    careless = weakened(SiteSession, disclose=("if len(given) >= self._review.neighbourhood.threshold:", "if False:"))
    run, read = complain_together(careless)
    assert read is not None
    assert same(read, run.vector(VICTIM))


def test_a_victim_discloses_nothing_to_so_many() -> None:
    with pytest.raises(ProtocolError, match="so many sites complain of this one that its secrets would be known"):
        complain_together(SiteSession)


def test_a_victim_discloses_one_share_less_than_restores_a_secret() -> None:
    _, read = complain_together(SiteSession, (1, 2))
    assert read is None


def test_one_complaint_repeated_is_one() -> None:
    run = Run(FEDERATION)
    run.step("advertise")
    go_on(turn(run, {1: complaining(VICTIM)}), "disclose")
    assert run.sites[VICTIM].disclose(bundle([run.answers["check"][1]] * 4))
