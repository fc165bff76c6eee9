from __future__ import annotations

import math

import pytest
import yaml

from sealora_client.site.policy import SitePolicy
from sealora_common.errors import PolicyError

from pure_sites import pure_federation, pure_recipe

POLICY = {"epsilon_limit": 8.0, "delta_limit": 1e-5}
PRIVATE = {"mechanism": "local", "delta": 1e-5}
STRICT = {"adversary": "malicious", "min_survivors": 3}


def check(policy: dict, count: int = 3, **sections) -> None:
    recipe = pure_recipe(**({"privacy": PRIVATE, "sealing": STRICT} | sections))
    roster, _ = pure_federation(recipe, count)
    SitePolicy(**POLICY | policy).check(recipe, roster)


def test_what_the_policy_allows_passes():
    check({})
    check({}, count=7, sealing=STRICT | {"min_survivors": 5}, sites={"minimum": 6})


def test_a_delta_is_allowed_up_to_the_limit_and_not_a_last_digit_above_it():
    check({"delta_limit": 1e-5}, privacy=PRIVATE | {"delta": 1e-5})
    with pytest.raises(PolicyError, match="delta_limit is 1e-05, but"):
        check({"delta_limit": 1e-5}, privacy=PRIVATE | {"delta": math.nextafter(1e-5, 1)})


REFUSED = {
    "no privacy": (
        {},
        {"privacy": {"mechanism": "none"}},
        "policy.yaml: allow_without_privacy is false, but the recipe's privacy.mechanism is none",
    ),
    "a larger delta": (
        {},
        {"privacy": PRIVATE | {"delta": 1e-4}},
        "policy.yaml: delta_limit is 1e-05, but the recipe's privacy.delta is 0.0001",
    ),
    "a small roster": ({"minimum_sites": 4}, {}, "policy.yaml: minimum_sites is 4, but the roster has 3"),
    "too few co-signatures": (
        {"roster_cosignatures": 2},
        {},
        "policy.yaml: roster_cosignatures is 2, but 0 members have co-signed the roster",
    ),
    "a small sum": (
        {"minimum_survivors": 4},
        {"sealing": STRICT, "count": 5},
        "policy.yaml: minimum_survivors is 4, but the recipe's sealing.min_survivors is 3",
    ),
    "a sum of two, by default": (
        {},
        {"sealing": STRICT | {"min_survivors": 2}},
        "policy.yaml: minimum_survivors is 3, but the recipe's sealing.min_survivors is 2",
    ),
    "groups without privacy": (
        {"allow_without_privacy": True},
        {"privacy": {"mechanism": "none"}, "sealing": STRICT | {"groups": 3}, "sites": {"minimum": 9}, "count": 9},
        "policy.yaml: allow_groups_without_privacy is false, but the recipe's privacy.mechanism is none and its "
        "sealing.groups 3",
    ),
    "small groups of a large roster": (
        {},
        {"sealing": STRICT | {"groups": 5, "min_survivors": 2}, "sites": {"minimum": 10}, "count": 14},
        "policy.yaml: minimum_sites is 3, but the smallest of the recipe's 5 groups has 2",
    ),
    "a kind of adapter, by default": (
        {},
        {"adapter": "ia3"},
        "policy.yaml: adapters is lora, but the recipe's adapter is ia3",
    ),
    "a rank": ({"rank": [1, 4]}, {"lora": {"rank": 8}}, "policy.yaml: rank is 1 to 4, but the recipe's lora.rank is 8"),
    "modules of another kind": (
        {"adapters": ["ia3"], "target_modules": ["k_proj"]},
        {"adapter": "ia3"},
        "policy.yaml: target_modules is k_proj, but the recipe's ia3.target_modules is auto",
    ),
    "a weaker seal": (
        {},
        {"sealing": STRICT | {"adversary": "curious"}},
        "policy.yaml: adversary is malicious, but the recipe's sealing.adversary is curious",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_names_the_policy_s_line_and_the_recipe_s_value(case):
    policy, sections, said = REFUSED[case]
    with pytest.raises(PolicyError) as caught:
        check(policy, **sections)
    assert str(caught.value) == f"{said}: the order is refused"


def test_each_line_can_be_relaxed_in_so_many_words():
    check({"allow_without_privacy": True}, privacy={"mechanism": "none"})
    check({"delta_limit": 1e-3}, privacy=PRIVATE | {"delta": 1e-3})
    check({"minimum_survivors": 2, "minimum_sites": 2}, sealing=STRICT | {"min_survivors": 2})
    check({"adversary": "curious"}, sealing=STRICT | {"adversary": "curious"})
    grouped = {"sealing": STRICT | {"groups": 3}, "sites": {"minimum": 9}, "count": 9}
    check({}, **grouped)  # each site's vector is private by itself
    without = {"allow_without_privacy": True, "allow_groups_without_privacy": True}
    check(without, privacy={"mechanism": "none"}, **grouped)


def test_kinds_of_adapters_are_allowed_by_name_and_limits_are_asked_of_kinds_that_have_what_they_limit():
    check({"adapters": ["lora", "ia3"], "rank": [1, 4]}, adapter="ia3")


def test_a_limit_on_numbers_holds_for_every_kind_and_is_met_by_as_many():
    policy = SitePolicy(**POLICY, most_parameters=1000)
    policy.check_size(1000)
    with pytest.raises(PolicyError, match=r"most_parameters is 1000, but the recipe's adapter has 1001 on this base"):
        policy.check_size(1001)
    SitePolicy(**POLICY).check_size(10**12)


def test_by_default_a_policy_wants_three_sites_a_malicious_server_and_privacy():
    policy = SitePolicy(**POLICY)
    assert (policy.minimum_sites, policy.minimum_survivors, policy.adversary) == (3, 3, "malicious")
    assert not policy.allow_without_privacy
    assert not policy.allow_groups_without_privacy


def test_a_policy_is_read_from_its_file(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(POLICY | {"minimum_sites": 5}))
    assert SitePolicy.load(path) == SitePolicy(**POLICY, minimum_sites=5)


BAD_FILES = {
    "an unknown line": ("epsilon_limit: 1\ndelta_limit: 0.1\nepsilon_limt: 2\n", "epsilon_limt"),
    "a line too few": ("epsilon_limit: 1\n", "delta_limit"),
    "an endless limit": ("epsilon_limit: .inf\ndelta_limit: 0.1\n", "epsilon_limit"),
    "a limit of nothing": ("epsilon_limit: 0\ndelta_limit: 0.1\n", "epsilon_limit"),
    "one site": ("epsilon_limit: 1\ndelta_limit: 0.1\nminimum_survivors: 1\n", "minimum_survivors"),
    "a range upside down": ("epsilon_limit: 1\ndelta_limit: 0.1\nrank: [8, 4]\n", r"rank: \[8, 4\] holds nothing"),
    "half a range": ("epsilon_limit: 1\ndelta_limit: 0.1\nrounds: [8]\n", "rounds"),
    "a digest that is none": ("epsilon_limit: 1\ndelta_limit: 0.1\nbase_models: [abc]\n", "base_models"),
    "a mechanism that is none": ("epsilon_limit: 1\ndelta_limit: 0.1\nmechanisms: [none]\n", "mechanisms"),
    "a list": ("- 1\n", "policy.yaml"),
    "no YAML": ("a: [\n", "cannot be read"),
    "nothing": ("", "policy.yaml"),
    "no text": (b"\xff\xfe\x00", "cannot be read"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_is_no_policy_is_refused_by_file_and_field(tmp_path, case):
    content, said = BAD_FILES[case]
    path = tmp_path / "policy.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PolicyError, match=said) as caught:
        SitePolicy.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_site_without_a_policy_takes_no_part(tmp_path):
    with pytest.raises(PolicyError, match="the site has no policy: write one before it takes part"):
        SitePolicy.load(tmp_path / "policy.yaml")
