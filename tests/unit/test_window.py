from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from payments.domain.window import is_over, remaining_seconds

DEADLINE = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def test_the_deadline_itself_is_already_outside() -> None:
    assert is_over(expires_at=DEADLINE, now=DEADLINE)
    assert not is_over(expires_at=DEADLINE, now=DEADLINE - timedelta(microseconds=1))


def test_other_time_zones_name_the_same_instant() -> None:
    from datetime import timezone

    kolkata = timezone(timedelta(hours=5, minutes=30))
    assert is_over(expires_at=DEADLINE, now=DEADLINE.astimezone(kolkata))
    assert not is_over(expires_at=DEADLINE.astimezone(kolkata), now=DEADLINE - timedelta(seconds=1))


@given(st.timedeltas(min_value=timedelta(days=-2), max_value=timedelta(days=2)))
def test_whole_seconds_remain_exactly_while_the_window_is_open(left: timedelta) -> None:
    now = DEADLINE - left
    seconds = remaining_seconds(expires_at=DEADLINE, now=now)
    assert seconds == max(0, left // timedelta(seconds=1))
    if seconds > 0:
        assert not is_over(expires_at=DEADLINE, now=now)
