"""A policy over the settings: what is followed, what is held to the limits, and why."""

from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.domain.policy import GatewayWindow, Terms, Wishes, merge

SETTINGS = Terms(window_minutes=15, grace_seconds=30, late_allowance_seconds=300, reminder_lead_minutes=5)
ANY = GatewayWindow()
NOTHING_FOLLOWED = (
    "window_minutes is 5, not 1: a customer needs this long to find a card",
    "grace_seconds is 300, not 301: a window that goes on is no window",
    "reminder_lead_minutes is 4, not 5: the window is 5 minutes, and a reminder comes inside it",
)


def clamped(
    wishes: Wishes, *, settings: Terms = SETTINGS, gateway: GatewayWindow = ANY
) -> list[tuple[str, int, int, str]]:
    terms, clamps = merge(settings=settings, wishes=wishes, gateway=gateway)
    for clamp in clamps:
        assert getattr(terms, clamp.name) == clamp.holds
    return [(clamp.name, clamp.wished, clamp.holds, clamp.reason) for clamp in clamps]


def test_without_a_wish_the_settings_hold() -> None:
    assert merge(settings=SETTINGS, wishes=Wishes(), gateway=ANY) == (SETTINGS, ())


def test_a_wish_inside_the_limits_is_followed_whole() -> None:
    wishes = Wishes(window_minutes=1440, grace_seconds=0, late_allowance_seconds=0, reminder_lead_minutes=0)
    assert merge(settings=SETTINGS, wishes=wishes, gateway=ANY) == (Terms(1440, 0, 0, 0), ())


def test_one_wish_leaves_the_rest_to_the_settings() -> None:
    terms, clamps = merge(settings=SETTINGS, wishes=Wishes(grace_seconds=300), gateway=ANY)
    assert (terms, clamps) == (replace(SETTINGS, grace_seconds=300), ())


@pytest.mark.parametrize(
    ("wishes", "name", "wished", "holds", "why"),
    [
        (Wishes(window_minutes=4, reminder_lead_minutes=1), "window_minutes", 4, 5, "a customer needs this long"),
        (Wishes(window_minutes=1441), "window_minutes", 1441, 1440, "longer than a day"),
        (Wishes(grace_seconds=301), "grace_seconds", 301, 300, "no window"),
        (Wishes(grace_seconds=-1), "grace_seconds", -1, 0, "nothing ends before it begins"),
        (Wishes(late_allowance_seconds=-1), "late_allowance_seconds", -1, 0, "nothing ends before it begins"),
        (
            Wishes(late_allowance_seconds=90_000, grace_seconds=60),
            "late_allowance_seconds",
            90_000,
            86_340,
            "the stock is held for a day after the window at most",
        ),
        (Wishes(reminder_lead_minutes=15), "reminder_lead_minutes", 15, 14, "the window is 15 minutes"),
        (Wishes(reminder_lead_minutes=-1), "reminder_lead_minutes", -1, 0, "nothing ends before it begins"),
    ],
)
def test_a_wish_outside_a_limit_is_held_to_it_with_the_reason(
    wishes: Wishes, name: str, wished: int, holds: int, why: str
) -> None:
    ((found, was, now, reason),) = clamped(wishes)
    assert (found, was, now) == (name, wished, holds)
    assert why in reason


def test_a_clamp_reads_as_a_sentence() -> None:
    _, clamps = merge(settings=SETTINGS, wishes=Wishes(window_minutes=1, grace_seconds=301), gateway=ANY)
    assert tuple(map(str, clamps)) == NOTHING_FOLLOWED


def test_a_shorter_window_takes_the_lead_of_the_settings_with_it() -> None:
    ((name, wished, holds, reason),) = clamped(Wishes(window_minutes=5))
    assert (name, wished, holds) == ("reminder_lead_minutes", 5, 4)
    assert reason.startswith("the window is 5 minutes")


@pytest.mark.parametrize(
    ("gateway", "wished", "holds"),
    [
        (GatewayWindow(longest_seconds=3600), 61, 60),
        (GatewayWindow(longest_seconds=3599), 61, 59),  # Whole minutes, and never more than it takes.
        (GatewayWindow(shortest_seconds=1800), 29, 30),
        (GatewayWindow(shortest_seconds=1801), 29, 31),
        (GatewayWindow(shortest_seconds=300, longest_seconds=3600), 5000, 60),
    ],
)
def test_the_limits_of_the_gateway_are_kept_and_named(gateway: GatewayWindow, wished: int, holds: int) -> None:
    ((name, was, now, reason),) = clamped(Wishes(window_minutes=wished), gateway=gateway)
    assert (name, was, now) == ("window_minutes", wished, holds)
    assert reason.startswith("the gateway takes no payment that lives")
    assert gateway.takes(window_minutes=now)


def test_where_ours_is_the_narrower_limit_ours_is_named() -> None:
    wide = GatewayWindow(shortest_seconds=60, longest_seconds=7 * 24 * 3600)
    assert clamped(Wishes(window_minutes=2, reminder_lead_minutes=0), gateway=wide)[0][2:] == (
        5,
        "a customer needs this long to find a card",
    )
    assert clamped(Wishes(window_minutes=2000), gateway=wide)[0][2:] == (1440, "stock is not held longer than a day")


@given(
    wishes=st.builds(Wishes, *[st.none() | st.integers(-(2**31), 2**31)] * 4),
    shortest=st.none() | st.integers(1, 3600),
    longest=st.none() | st.integers(3600, 10**6),
)
def test_whatever_is_wished_what_holds_is_inside_every_limit_and_every_difference_is_told(
    wishes: Wishes, shortest: int | None, longest: int | None
) -> None:
    gateway = GatewayWindow(shortest_seconds=shortest, longest_seconds=longest)
    terms, clamps = merge(settings=SETTINGS, wishes=wishes, gateway=gateway)
    assert 5 <= terms.window_minutes <= 1440
    assert gateway.takes(window_minutes=terms.window_minutes)
    assert 0 <= terms.grace_seconds <= 300
    assert terms.late_allowance_seconds >= 0
    assert 0 <= terms.reminder_lead_minutes < terms.window_minutes
    asked = [
        setting if wish is None else wish for wish, setting in zip(astuple(wishes), astuple(SETTINGS), strict=True)
    ]
    differences = sum(holds != wished for holds, wished in zip(astuple(terms), asked, strict=True))
    assert len(clamps) == differences
