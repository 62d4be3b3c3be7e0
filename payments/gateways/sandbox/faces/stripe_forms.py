"""How Stripe is asked: forms with brackets in their names, and which fields there are. One nobody knows is refused."""

import json
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from payments.gateways.sandbox import checks
from payments.gateways.sandbox.behaviours import token_exists
from payments.gateways.sandbox.checks import JSON, InvalidRequestError

# docs.stripe.com/currencies: at most eight digits.
LARGEST_AMOUNT = 99_999_999
_NAME = re.compile(r"([A-Za-z0-9_]+)((?:\[[A-Za-z0-9_ -]*\])*)")
_CURRENCIES = re.compile("[a-z]{3}")
_MOST_FIELDS, _MOST_DIGITS = 200, 15
MOST_PER_PAGE = 100
_SHORTEST_SESSION_SECONDS, _LONGEST_SESSION_SECONDS = 30 * 60, 24 * 3600

Fields = Mapping[str, tuple[str, checks.Check]]


def parse_form(text: str) -> JSON:
    """Return what a form or a query says, nested: `a[b][0]=c` is {"a": {"b": ["c"]}}.

    :raises InvalidRequestError: a name cannot be read, appears twice, or is both a text and more.
    """
    try:
        pairs = urllib.parse.parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=_MOST_FIELDS
        )
    except ValueError as error:
        raise InvalidRequestError("The form cannot be read.") from error
    root: JSON = {}
    for name, value in pairs:
        match = _NAME.fullmatch(name)
        if match is None:
            raise InvalidRequestError("A field's name cannot be read.", param=name[:80])
        path = [match[1], *re.findall(r"\[([^\]]*)\]", match[2])]
        at = root
        for step in path[:-1]:
            at = at.setdefault(step, {})
            if not isinstance(at, dict):
                raise InvalidRequestError("A field is both a text and more.", param=name[:80])
        step = path[-1] or str(len(at))
        if step in at:
            raise InvalidRequestError("A field appears twice.", param=name[:80])
        at[step] = value
    return {name: _listed(value) for name, value in root.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _listed(part) for name, part in value.items()}
    return list(inner.values()) if list(inner) == [str(number) for number in range(len(inner))] else inner


def check(body: Mapping[str, Any], known: Fields, *, required: frozenset[str] = frozenset(), inside: str = "") -> None:
    """Hold `body` against `known`, in Stripe's words.

    :raises InvalidRequestError: a field is unknown, missing, or not what it must be.
    """
    try:
        checks.check_fields(body, known, required=required)
    except InvalidRequestError as error:
        param = f"{inside}[{error.param}]" if inside else error.param
        message = error.message
        if error.param not in known:
            message = f"Received unknown parameter: {param}"
        elif error.param not in body:
            message = f"Missing required param: {param}."
        raise InvalidRequestError(message, param=param) from error


def code_of(message: str) -> str | None:
    """Return the code that Stripe gives with such a message, if it gives one."""
    prefixes = {
        "Received unknown": "parameter_unknown",
        "Missing required": "parameter_missing",
        "No such": "resource_missing",
    }
    return next((code for prefix, code in prefixes.items() if message.startswith(prefix)), None)


def flag(value: object) -> bool:
    """Return a flag that was checked."""
    return value == "true"


def labels(value: object) -> str:
    """Return metadata that was checked, as the text that the ledger keeps."""
    return json.dumps(value or {}, sort_keys=True)


def _whole(*, least: int, most: int) -> checks.Check:
    return lambda value: (
        isinstance(value, str)
        and value.isascii()
        and value.isdigit()
        and len(value) <= _MOST_DIGITS
        and least <= int(value) <= most
    )


def _one_of(*texts: str) -> checks.Check:
    return lambda value: value in texts


def _is_paths(allowed: frozenset[str]) -> checks.Check:
    return lambda value: isinstance(value, list) and all(path in allowed for path in value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_card(value: Any) -> bool:
    return bool(value == ["card"])


def _is_currency(value: Any) -> bool:
    return isinstance(value, str) and _CURRENCIES.fullmatch(value) is not None


def expandable(*paths: str) -> Fields:
    """Return the field `expand`, for what can be shown whole."""
    return {"expand": (f"a list of {', '.join(paths)}", _is_paths(frozenset(paths)))}


_OF_A_SESSION = ("payment_intent", "payment_intent.latest_charge", "payment_intent.latest_charge.refunds")
AMOUNT = (f"an integer from 1 to {LARGEST_AMOUNT}", _whole(least=1, most=LARGEST_AMOUNT))
_FLAG = ("true or false", _one_of("true", "false"))
_CURRENCY = ("three small letters", _is_currency)
_LABELS = ("texts by name", checks.is_labels)
_URL = ("an absolute http(s) URL", checks.is_url)
_CAPTURE = ("automatic or manual", _one_of("automatic", "automatic_async", "manual"))
_CARDS = ("a list with card in it, which is all that there is here", _is_card)

CREATE_INTENT: Fields = {
    "amount": AMOUNT,
    "currency": _CURRENCY,
    "payment_method": ("the id of a payment method", checks.is_text(longest=200)),
    "payment_method_types": _CARDS,
    "capture_method": _CAPTURE,
    "confirm": ("true: nothing is confirmed later here", _one_of("true")),
    "error_on_requires_action": _FLAG,
    "return_url": _URL,
    "description": ("a text", checks.is_text(longest=1000)),
    "statement_descriptor_suffix": ("a text of at most 22 characters", checks.is_text(longest=22)),
    "metadata": _LABELS,
    **expandable("latest_charge", "latest_charge.refunds"),
}
CREATE_SESSION: Fields = {
    "mode": ("payment", _one_of("payment")),
    "client_reference_id": ("a text of 1 to 200 characters", checks.is_text(longest=200)),
    "success_url": _URL,
    "cancel_url": _URL,
    "expires_at": ("a time in whole seconds", _whole(least=1, most=10**11)),
    "line_items": ("a list of one item", lambda value: isinstance(value, list) and len(value) == 1),
    "metadata": _LABELS,
    "payment_intent_data": ("an object", _is_object),
    "payment_method_types": _CARDS,
    **expandable(*_OF_A_SESSION),
}
_INTENT_DATA: Fields = {
    "capture_method": _CAPTURE,
    "metadata": _LABELS,
    "description": ("a text", checks.is_text(longest=1000)),
}
_ITEM: Fields = {"quantity": ("1", _one_of("1")), "price_data": ("an object", _is_object)}
_PRICE: Fields = {"currency": _CURRENCY, "unit_amount": AMOUNT, "product_data": ("an object", _is_object)}
_PRODUCT: Fields = {
    "name": ("a text", checks.is_text(longest=250)),
    "description": ("a text", checks.is_text(longest=1000)),
}
CAPTURE: Fields = {"amount_to_capture": AMOUNT, **expandable("latest_charge", "latest_charge.refunds")}
CANCEL: Fields = {
    "cancellation_reason": (
        "duplicate, fraudulent, requested_by_customer or abandoned",
        _one_of("duplicate", "fraudulent", "requested_by_customer", "abandoned"),
    ),
    **expandable("latest_charge", "latest_charge.refunds"),
}
EXPIRE: Fields = expandable(*_OF_A_SESSION)
REFUND: Fields = {
    "payment_intent": ("the id of a payment intent", checks.is_text(longest=255)),
    "amount": AMOUNT,
    "reason": (
        "duplicate, fraudulent or requested_by_customer",
        _one_of("duplicate", "fraudulent", "requested_by_customer"),
    ),
    "metadata": _LABELS,
    **expandable("charge", "charge.refunds"),
}
PAGE: Fields = {
    "limit": (f"an integer from 1 to {MOST_PER_PAGE}", _whole(least=1, most=MOST_PER_PAGE)),
    "starting_after": ("an id", checks.is_text(longest=255)),
}
CREATED: Fields = {name: ("a time in whole seconds", _whole(least=0, most=10**11)) for name in ("gte", "gt")}
LIST_INTENTS: Fields = {**PAGE, "created": ("an object", _is_object), **expandable("data.latest_charge")}
SEARCH: Fields = {
    "query": ("a query", checks.is_text(longest=1000)),
    "limit": PAGE["limit"],
    **expandable("data.latest_charge"),
}
_QUERY = re.compile(r'metadata\["reference"\]:"((?:[^"\\]|\\.)*)"')


def check_intent(body: JSON) -> None:
    """Check what a new intent says.

    :raises InvalidRequestError: it makes no sense.
    """
    check(body, CREATE_INTENT, required=frozenset({"amount", "currency", "payment_method", "confirm"}))
    token = body["payment_method"]
    if not token_exists(token):
        raise InvalidRequestError(f"No such PaymentMethod: '{token}'", param="payment_method")


def check_session(body: JSON, *, now_unix: int) -> JSON:
    """Check what a new session says; return its price.

    :raises InvalidRequestError: it makes no sense.
    """
    check(body, CREATE_SESSION, required=frozenset({"mode", "success_url", "line_items"}))
    item = body["line_items"][0]
    if not isinstance(item, dict):
        raise InvalidRequestError("Invalid object", param="line_items[0]")
    check(item, _ITEM, required=frozenset(_ITEM), inside="line_items[0]")
    check(item["price_data"], _PRICE, required=frozenset(_PRICE), inside="line_items[0][price_data]")
    check(item["price_data"]["product_data"], _PRODUCT, required=frozenset({"name"}), inside="product_data")
    check(body.get("payment_intent_data", {}), _INTENT_DATA, inside="payment_intent_data")
    if "expires_at" in body:
        life_seconds = int(body["expires_at"]) - now_unix
        if not _SHORTEST_SESSION_SECONDS <= life_seconds <= _LONGEST_SESSION_SECONDS:
            message = (
                "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation."
            )
            raise InvalidRequestError(message, param="expires_at")
    price: JSON = item["price_data"]
    return price


def searched_reference(query: str) -> str:
    """Return the reference that a search asks for: the one query that there is here.

    :raises InvalidRequestError: it asks for something else.
    """
    match = _QUERY.fullmatch(query)
    if match is None:
        raise InvalidRequestError('The sandbox searches for metadata["reference"]:"..." only.', param="query")
    return re.sub(r"\\(.)", r"\1", match[1])
