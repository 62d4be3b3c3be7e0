"""The ledger as Stripe's dialect looks into it: intents and sessions, each by its own id, and lists of them."""

import datetime as dt
import json
from collections.abc import Callable

from payments.gateways.sandbox.checks import JSON
from payments.gateways.sandbox.clock import stamp
from payments.gateways.sandbox.engine import Engine
from payments.gateways.sandbox.faces import stripe_objects as objects
from payments.gateways.sandbox.records import Answer, Charge

_DIALECT = "stripe"
_USUAL_LIMIT = 10


class Books:
    """What was made in this dialect."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def intent(self, charge_id: str | None) -> Charge | None:
        """Return the charge, if it has an intent."""
        return self._charge(charge_id, objects.has_intent)

    def session(self, charge_id: str | None) -> Charge | None:
        """Return the charge, if it is a session's."""
        return self._charge(charge_id, objects.is_session)

    def intents_of(self, reference: str) -> list[Charge]:
        """Return the charges with `reference` that have an intent, newest first."""
        charges = self._engine.look_up_reference(reference)
        return [charge for charge in charges if charge.dialect == _DIALECT and objects.has_intent(charge)]

    def page(self, asked: JSON, *, url: str, has: Callable[[Charge], bool], show: Callable[[Charge], JSON]) -> Answer:
        """Return one page of a list, newest first, of the charges that `has` is true of."""
        limit, created = int(asked.get("limit", _USUAL_LIMIT)), asked.get("created", {})
        since_unix = max(int(created.get("gte", 0)), int(created.get("gt", -1)) + 1)
        since = stamp(dt.datetime.fromtimestamp(since_unix, dt.UTC))
        after = asked.get("starting_after")
        after = None if after is None else objects.charge_id(after)
        found: list[Charge] = []
        while len(found) <= limit:
            batch = self._engine.ledger.charges_made(dialect=_DIALECT, since=since, after=after, limit=limit + 1)
            if not batch:
                break
            found += [charge for charge in batch if has(charge)]
            after = batch[-1].id
        page = {
            "object": "list",
            "data": [show(charge) for charge in found[:limit]],
            "has_more": len(found) > limit,
            "url": url,
        }
        return Answer(200, json.dumps(page))

    def _charge(self, charge_id: str | None, has: Callable[[Charge], bool]) -> Charge | None:
        charge = None if charge_id is None else self._engine.look_up(charge_id)
        return charge if charge is not None and charge.dialect == _DIALECT and has(charge) else None
