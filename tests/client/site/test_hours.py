from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_client.site.hours import Window
from sealora_client.site.policy import SitePolicy
from sealora_common.errors import PolicyError

NIGHT = {"epsilon_limit": 8.0, "delta_limit": 1e-5, "hours": ["20:00-06:00"]}


def at(hour: int, minute: int = 0, day: int = 15, month: int = 1) -> datetime:
    return datetime(2027, month, day, hour, minute, tzinfo=UTC)


def taken(policy: SitePolicy, now: datetime) -> bool:
    try:
        policy.check_hours(now)
    except PolicyError:
        return False
    return True


def test_without_hours_orders_are_taken_at_any_time():
    policy = SitePolicy(epsilon_limit=8.0, delta_limit=1e-5)
    assert all(taken(policy, at(hour)) for hour in range(24))


@pytest.mark.parametrize(
    ("now", "open_then"),
    [((19, 59), False), ((20, 0), True), ((23, 59), True), ((0, 0), True), ((5, 59), True), ((6, 0), False)],
)
def test_a_night_holds_midnight_and_ends_when_it_says(now, open_then):
    assert taken(SitePolicy(**NIGHT), at(*now)) == open_then


def test_a_refusal_names_the_line_the_time_and_when_to_come_again():
    policy = SitePolicy(**NIGHT | {"hours": ["20:00-22:00", "01:00-05:30"], "time_zone": "Europe/Berlin"})
    with pytest.raises(PolicyError) as caught:
        policy.check_hours(at(13, 5))
    assert str(caught.value) == (
        "policy.yaml: hours are 20:00-22:00, 01:00-05:30 (Europe/Berlin), but it is 14:05 there: "
        "the order is refused until 20:00"
    )
    with pytest.raises(PolicyError, match="but it is 23:00 there: the order is refused until 01:00"):
        policy.check_hours(at(22, 0))


def test_hours_are_of_the_policy_s_time_zone_and_follow_its_summer():
    policy = SitePolicy(**NIGHT | {"time_zone": "Europe/Berlin"})
    assert not taken(policy, at(18, 30, month=1))  # 19:30 in Berlin
    assert taken(policy, at(18, 30, month=7))  # 20:30 in Berlin


@given(st.integers(0, 1439), st.integers(1, 1440), st.integers(0, 1439))
def test_a_window_holds_as_many_minutes_as_it_is_long(start, end, shift):
    if start == end:
        return
    window = Window(start, end)
    day = [(at(0) + timedelta(minutes=minute)).time() for minute in range(1440)]
    assert sum(window.holds(moment) for moment in day) == (end - start if start < end else 1440 - start + end)
    assert Window.parse(str(window)) == window


@pytest.mark.parametrize("text", ["20:00", "20-06", "20:00 - 06:00", "25:00-06:00", "20:60-06:00", "06:00-06:00", ""])
def test_what_is_no_part_of_a_day_is_refused(text):
    with pytest.raises(ValueError, match="is no part of a day: write it like 20:00-06:00"):
        SitePolicy(**NIGHT | {"hours": [text]})


@pytest.mark.parametrize("zone", ["Berlin", "", "../etc/passwd", "/etc/passwd", "Europe/Nowhere"])
def test_what_is_no_time_zone_is_refused(zone):
    with pytest.raises(ValueError, match="is no time zone"):
        SitePolicy(**NIGHT | {"time_zone": zone})
