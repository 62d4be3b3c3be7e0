"""Readings of clocks that all run true, for rules that are tried without a database."""

from datetime import datetime

from payments.domain.clock import Reading


def reading_at(now: datetime) -> Reading:
    return Reading(
        now=now,
        boottime_seconds=now.timestamp(),
        round_trip=0.0,
        wall=now.timestamp(),
        domain="boot:one",
        host="one",
    )
