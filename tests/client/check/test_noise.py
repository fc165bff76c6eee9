"""`sealora-site check` says when noise drowns as many records as the site has."""

from __future__ import annotations

from enrolled_site import EnrolledSite

from sealora_client.model.adapted import adapted_model
from sealora_client.site.directory import Site
from sealora_common.privacy.noise_law import drowned, trained_parameters

from check_site import not_passed


def test_a_site_whose_records_noise_drowns_is_told_what_a_plan_would_tell(site: EnrolledSite) -> None:
    site.agree("training", sample_rate=0.1)
    site.agree("privacy", epsilon=0.05)
    recipe = Site(site.directory).recipe
    parameters = trained_parameters(recipe, adapted_model(recipe).layout)
    told = drowned(recipe, (24,) * 3, parameters)
    assert told is not None
    ((status, check, said),) = [entry for entry in not_passed(site) if "drowns" in entry[2]]
    assert (status, check) == ("warn", "records")
    head, tail = told.split("a step draws", 1)
    condition = "a step draws 2.4 of them on average, and with as many records at each of 3 sites "
    assert said == f"{head}{condition}a step draws{tail}"


def test_one_with_enough_for_its_small_adapter_is_not(site: EnrolledSite) -> None:
    assert not_passed(site) == []


def test_without_privacy_no_noise_drowns_anything(site: EnrolledSite) -> None:
    site.agree("privacy", mechanism="none")
    site.agree("training", sample_rate=0.01)
    site.decide(allow_without_privacy=True)
    assert [said for _, _, said in not_passed(site) if "drowns" in said] == []


def test_a_noise_that_cannot_be_planned_is_said_once_by_what_fails(site: EnrolledSite) -> None:
    site.agree("privacy", mechanism="distributed", honest_survivors=9)
    site.agree("sealing", ring_bits=24)
    site.agree("training", steps_per_round=1)
    found = not_passed(site)
    assert [said for _, _, said in found if "drowns" in said] == []
    assert any(status == "fail" and "privacy.honest_survivors is 9" in said for status, _, said in found)
