"""Shares that restore nothing: a turned owner hands out shares of another secret than it uses, and falls silent.

Its peers cannot see that, for each of them has one share, which fits its commitment. The rules: what was restored is
held against what the owner had committed to (its self-mask, its advertised key, all it contributed to masks), the
round is void rather than wrong, and the owner is named by its own statement and the openings of its holders.
"""

from __future__ import annotations

import os

import pytest

from sealora_common.secagg import Fault, FaultKind, OpenedSum, ProtocolError, SiteSession, shares
from sealora_common.secagg.bodies import Given
from sealora_common.secagg.unmasking import Unmasking
from secagg_turned import Turned, giving, go_on, turn
from secagg_weakened import weaken

from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(7)
TURNED = 3


def of_other_secrets() -> type[SiteSession]:
    """Hands out true shares of two secrets that it does not use."""
    self_masks, mask_seeds = (shares.split(os.urandom(32), FEDERATION.terms.threshold, 7) for _ in range(2))

    class Useless(Turned):
        def gives(self, holder: int, given: Given) -> Given:
            return Given(self_masks[holder], mask_seeds[holder], given.contribution)

    return Useless


def of_no_polynomial() -> type[SiteSession]:
    """Hands out what lies on no polynomial of the right degree: each set of holders restores another secret."""
    return giving(lambda _site, _holder, given: Given(os.urandom(32), os.urandom(32), given.contribution))


def of_other_contributions(*holders: int) -> type[SiteSession]:
    """Contributes to masks what does not follow from its mask seed."""

    def change(_site: SiteSession, holder: int, given: Given) -> Given:
        return given if holder not in holders else Given(given.self_mask, given.mask_seed, os.urandom(32))

    return giving(change)


def run_with(turned: type[SiteSession], gone: str) -> tuple[Run, OpenedSum]:
    run = Run(FEDERATION)
    run.step("advertise")
    return finish(turn(run, {TURNED: turned}), gone)


def finish(run: Run, gone: str) -> tuple[Run, OpenedSum]:
    go_on(run, "open", {TURNED: gone}).step("open", {TURNED})
    return run, run.server.open()


@pytest.mark.parametrize("gone", ["mask", "confirm", "open"])
@pytest.mark.parametrize("turned", [of_other_secrets, of_no_polynomial])
def test_an_owner_whose_shares_restore_nothing_is_named(turned: type[SiteSession], gone: str) -> None:
    run = Run(FEDERATION)
    run.step("advertise")
    turn(run, {TURNED: turned()})
    with pytest.raises(ProtocolError, match="site 'site-0003' handed out do not restore its secret"):
        finish(run, gone)
    (fault,) = run.server.faults
    assert (fault.site, fault.kind) == (TURNED, FaultKind.SECRET)
    fault.prove(FEDERATION.roster)
    Fault.from_bytes(fault.to_bytes()).prove(FEDERATION.roster)


def test_the_sum_is_noise_where_a_restored_key_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(
        monkeypatch,
        Unmasking,
        "_pairwise",
        (
            "pair.public != self.advertised[dropped].mask_public or not contributions_fit(\n"
            "        self.statements[dropped], dropped, seed, self.terms.digest\n"
            "    )",
            "False",
        ),
    )
    weaken(monkeypatch, Unmasking, "_contribution", ("if contribution_fits(", "if True or contribution_fits("))
    with pytest.raises(ProtocolError, match="contribution of site"):  # and an honest one is said to be at fault
        run_with(of_other_secrets(), "mask")


@pytest.mark.parametrize("gone", ["confirm", "open"])
def test_the_sum_is_noise_where_a_restored_self_mask_is_not_compared(
    gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weaken(
        monkeypatch,
        Unmasking,
        "_self_mask",
        ("if not seed_fits(statement, survivor, seed, self.terms.digest):", "if False:"),
    )
    run, opened = run_with(of_other_secrets(), gone)
    assert not same(opened.vector, run.expected(opened.survivors))


def test_the_sum_is_noise_where_restored_contributions_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word: the site is not in the sum, and spoils it."""
    weaken(
        monkeypatch,
        Unmasking,
        "_pairwise",
        (
            "or not contributions_fit(\n        self.statements[dropped], dropped, seed, self.terms.digest\n    )",
            "",
        ),
    )
    run, opened = run_with(of_other_contributions(0), "mask")
    assert TURNED not in opened.survivors
    assert not same(opened.vector, run.expected(opened.survivors))
    assert not run.server.faults


@pytest.mark.parametrize("holders", [(0,), (6,), (0, 1, 2, 4, 5, 6)])
def test_an_owner_whose_contributions_do_not_follow_from_its_seed_is_named(holders: tuple[int, ...]) -> None:
    run = Run(FEDERATION)
    run.step("advertise")
    turn(run, {TURNED: of_other_contributions(*holders)})
    with pytest.raises(ProtocolError, match="site 'site-0003' handed out do not restore its secret"):
        finish(run, "mask")
    (fault,) = run.server.faults
    assert (fault.site, fault.kind) == (TURNED, FaultKind.SECRET)
    fault.prove(FEDERATION.roster)


@pytest.mark.parametrize("turned", [of_other_secrets(), of_no_polynomial()])
def test_useless_shares_of_a_site_that_stays_do_no_harm(turned: type[SiteSession]) -> None:
    run = Run(FEDERATION)
    run.step("advertise")
    turn(run, {TURNED: turned})
    go_on(run, "open").step("open")
    assert same(run.server.open().vector, run.expected(range(7)))
