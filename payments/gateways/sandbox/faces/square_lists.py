"""Square's lists: page by page, with a cursor, of what matches. A page may hold less than it could, or nothing."""

import datetime as dt
import json
from collections.abc import Callable, Mapping

from payments.gateways.sandbox import checks
from payments.gateways.sandbox.checks import JSON
from payments.gateways.sandbox.clock import read_clock, stamp
from payments.gateways.sandbox.engine import Engine
from payments.gateways.sandbox.faces import square_words as words
from payments.gateways.sandbox.records import Answer, Charge, Status

_MOST_PER_PAGE = 100
_LONGEST_AGO = dt.timedelta(days=365)


def _time(text: str) -> dt.datetime | None:
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


_TIME = ("a time with its zone", lambda value: isinstance(value, str) and _time(value) is not None)
_WHOLE = ("a whole number", lambda value: isinstance(value, str) and value.isascii() and value.isdecimal())
_CURSOR = ("what a page before named", lambda value: isinstance(value, str) and value.startswith("ch_"))
LINK_QUERY: dict[str, tuple[str, checks.Check]] = {"cursor": _CURSOR, "limit": _WHOLE}
PAYMENT_QUERY: dict[str, tuple[str, checks.Check]] = {
    **LINK_QUERY,
    "begin_time": _TIME,
    "end_time": _TIME,
    "sort_order": ("ASC or DESC", lambda value: value in {"ASC", "DESC"}),
    "location_id": ("a text of 1 to 50 characters", checks.is_text(longest=50)),
    "total": _WHOLE,
}


def payments(query: Mapping[str, str], *, engine: Engine, dialect: str) -> Answer:
    """Return a page of payments."""

    def is_asked_for(charge: Charge) -> bool:
        return (
            words.is_payment(charge)
            and charge.metadata["location_id"] == query.get("location_id", words.LOCATION)
            and ("total" not in query or charge.amount_minor == int(query["total"]))
        )

    def show(charge: Charge) -> JSON:
        return words.payment_object(charge, refunds=engine.ledger.refunds_of(charge.id))

    return _page(query, engine=engine, dialect=dialect, name="payments", is_asked_for=is_asked_for, show=show)


def links(query: Mapping[str, str], *, engine: Engine, dialect: str) -> Answer:
    """Return a page of payment links; one that was deleted is gone."""

    def is_asked_for(charge: Charge) -> bool:
        return words.is_page(charge) and charge.status not in {Status.VOIDED, Status.EXPIRED}

    return _page(
        query,
        engine=engine,
        dialect=dialect,
        name="payment_links",
        is_asked_for=is_asked_for,
        show=words.link_object,
    )


def _page(
    query: Mapping[str, str],
    *,
    engine: Engine,
    dialect: str,
    name: str,
    is_asked_for: Callable[[Charge], bool],
    show: Callable[[Charge], JSON],
) -> Answer:
    now = read_clock()
    begin, end = _time(query.get("begin_time", "")), _time(query.get("end_time", ""))
    limit = int(query.get("limit", _MOST_PER_PAGE))
    limit = limit if 0 < limit <= _MOST_PER_PAGE else _MOST_PER_PAGE
    made = engine.ledger.charges_made(
        dialect=dialect,
        since=stamp(begin or now - _LONGEST_AGO),
        until=stamp(end or now),
        after=query.get("cursor"),
        is_newest_first=query.get("sort_order", "DESC") == "DESC",
        limit=limit,
    )
    found = [engine.look_up(charge.id) for charge in made]
    shown = [show(charge) for charge in found if charge is not None and is_asked_for(charge)]
    page: JSON = {name: shown} if shown else {}
    if len(made) == limit:
        page["cursor"] = made[-1].id
    return Answer(200, json.dumps(page))
