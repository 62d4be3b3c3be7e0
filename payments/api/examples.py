"""The examples of the API's document: one of every body by the name of its schema, and one of every problem."""

from collections.abc import Mapping
from typing import Any

ORDER_ID = "ORD-ABC123"
PAYMENT_ID = "pay_0198f0c2e4b27c3a9d1e5f60718293a4"
ETAG = 'W/"5d41402abc4b2a76b9719d911017c592"'

_COUNTDOWN: Mapping[str, Any] = {
    "server_now": "2025-07-25T10:18:00Z",
    "expires_at": "2025-07-25T10:30:00Z",
    "time_remaining_seconds": 720,
    "is_payment_window_active": True,
    "can_pay": True,
    "can_retry": False,
    "attempts_left": 2,
    "retry_after_seconds": 5,
}
_PAYMENT: Mapping[str, Any] = {
    **_COUNTDOWN,
    "message": "Your order is reserved. Please pay before the time runs out.",
    "id": PAYMENT_ID,
    "order_id": ORDER_ID,
    "number": 1,
    "state": "open",
    "amount_minor": 2500,
    "currency": "USD",
    "payment_method": "card",
    "opened_at": "2025-07-25T10:15:00Z",
    "redirect_url": None,
    "failure": None,
    "doubt_code": None,
    "retry_refused": "payment_in_progress",
}
_ORDER_STATUS: Mapping[str, Any] = {
    **_COUNTDOWN,
    "message": "Payment window is still active",
    "order_id": ORDER_ID,
    "payment_id": PAYMENT_ID,
    "status": "under_paying",
    "payment_status": "pending",
    "payment_expires_at": "2025-07-25T10:30:00Z",
}

BODIES: Mapping[str, Mapping[str, Any]] = {
    "OrderIn": {
        "order_id": ORDER_ID,
        "lines": [{"sku": "MUG-BLUE", "quantity": 2}],
        "total_minor": 2500,
        "currency": "USD",
        "payment_method": "card",
    },
    "OrderOut": {
        "id": "ord_0198f0c2e4b27c3a9d1e5f60718293a3",
        "order_id": ORDER_ID,
        "status": "under_paying",
        "payment_status": "pending",
        "total_minor": 2500,
        "currency": "USD",
        "payment": _PAYMENT,
    },
    "SubmitIn": {"payment_token": "tok_visa"},
    "AttemptOut": _PAYMENT,
    "RetryIn": {"order_id": ORDER_ID, "payment_method": "card"},
    "CancelIn": {"reason": "The customer changed their mind"},
    "RefundIn": {"reason": "The parcel came back", "amount_minor": 1250},
    "RefundOut": {
        "id": "cmp_0198f0c2e4b27c3a9d1e5f60718293a5",
        "payment_id": PAYMENT_ID,
        "amount_minor": 1250,
        "currency": "USD",
        "state": "owed",
    },
    "HeardOut": {"is_new": True},
    "PaymentStatusOut": _ORDER_STATUS,
    "CheckOut": {**_ORDER_STATUS, "is_asking": False},
    "ExpiredCountOut": {
        "expired_count": 1,
        "is_capped": False,
        "failed_count": 0,
        "oldest_expires_at": "2025-07-25T10:30:00Z",
        "server_now": "2025-07-25T10:30:02Z",
    },
    "CleanupIn": {"limit": 100, "dry_run": False, "reason": "Stock is short before noon"},
    "CleanupOut": {
        "dry_run": False,
        "ended_count": 1,
        "held_count": 0,
        "failed_count": 0,
        "left_count": 0,
        "waiting_count": 0,
        "more_due_count": 0,
        "duration_seconds": 0.021,
        "rows": [
            {
                "order_id": ORDER_ID,
                "payment_id": PAYMENT_ID,
                "expires_at": "2025-07-25T10:30:00Z",
                "fate": "expire",
                "reason": "the window is over",
                "last_failure": None,
            }
        ],
    },
    "TriggerIn": {"reason": "The dashboard shows a backlog"},
    "TriggeredOut": {
        "task": "payments.sweep_expired",
        "message": "The task was published; a worker takes it as soon as one is free.",
    },
}

_EXPIRED = "The payment window closed at 2025-07-25T10:30:00+00:00. You have not been charged."
_PROBLEMS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "already_submitted": ("This payment was already submitted and is being processed.", {"state": "queued"}),
    "amount_mismatch": (
        "The lines add up to 2500, not to 2400 (both in minor units).",
        {"total_minor": 2500, "expected_total_minor": 2400},
    ),
    "body_too_large": ("The body has 1000000 bytes; at most 65536 are accepted.", {}),
    "duplicate_order": (f"There is already an order {ORDER_ID}.", {"order_id": ORDER_ID}),
    "forbidden": ("Only staff may do this.", {}),
    "idempotency_key_in_use": (
        "A request with this idempotency key is being carried out. Please ask again in a moment.",
        {"retry_after_seconds": 1},
    ),
    "idempotency_key_reused": (
        "This idempotency key was used for another request. Use a new key for each request.",
        {},
    ),
    "internal_error": ("The request was not carried out. Please try again.", {}),
    "invalid_request": (
        "lines.0.quantity: Input should be greater than or equal to 1",
        {"errors": [{"field": "lines.0.quantity", "message": "Input should be greater than or equal to 1"}]},
    ),
    "invalid_state": ("This payment has been cancelled.", {"state": "cancelled"}),
    "malformed_request": ("Cannot parse request body", {}),
    "method_not_allowed": ("DELETE is not offered here.", {}),
    "not_authenticated": ("Send a valid token as `Authorization: Bearer ...`.", {}),
    "not_found": ("There is no such payment.", {}),
    "out_of_stock": (
        "2 of 'MUG-BLUE' were asked for; 1 are available.",
        {"sku": "MUG-BLUE", "requested": 2, "available": 1},
    ),
    "payment_expired": (_EXPIRED, {"payment_id": PAYMENT_ID, "expires_at": "2025-07-25T10:30:00+00:00"}),
    "payment_in_flight": (
        "This payment was submitted a moment ago. Please do not pay again, but look where it stands.",
        {"retry_after_seconds": 2},
    ),
    "payment_token_refused": (
        "'upi' is paid on the gateway's own page: submit it without a payment_token.",
        {"method": "upi", "field": "payment_token"},
    ),
    "payment_token_required": (
        "'card' is paid with the gateway's token of a card or account: payment_token is missing.",
        {"method": "card", "field": "payment_token"},
    ),
    "rate_limited": ("Too many requests. Please wait a moment.", {"retry_after_seconds": 10}),
    "reason_required": ("Please say why; it goes on record.", {}),
    "refund_refused": ("The payment is open; only a payment that succeeded can be refunded.", {"state": "open"}),
    "retry_refused": (
        "A payment of this order is still in progress. Please do not pay again.",
        {"reason": "payment_in_progress", "attempts_left": 2},
    ),
    "unavailable": ("Nothing was changed. Please try again in a moment.", {}),
    "unknown_item": ("There is no item 'MUG-GREEN'.", {"sku": "MUG-GREEN"}),
    "unknown_kind": ("There is no kind of order 'gift'; known are astrology.", {"kind": "gift"}),
    "unsupported_currency": (
        "'MUG-BLUE' is sold in USD, not in EUR.",
        {"sku": "MUG-BLUE", "currency": "EUR"},
    ),
    "unsupported_method": ("'cheque' is not offered; offered are card.", {"method": "cheque"}),
    "webhook_refused": ("The signature is not the gateway's.", {}),
}


def problem(code: str, *, status: int, title: str) -> dict[str, Any]:
    """Give the example of a problem with this code."""
    detail, facts = _PROBLEMS[code]
    return {
        "type": f"urn:paywindow:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
        **facts,
    }


def _links(*, payment: str, order: str) -> dict[str, dict[str, Any]]:
    def to(operation: str, **parameters: str) -> dict[str, Any]:
        return {"operationId": operation, "parameters": parameters}

    return {
        "submit": to("payments_api_checkout_submit_payment", payment_id=payment),
        "read": to("payments_api_checkout_read_payment", payment_id=payment),
        "cancel": to("payments_api_checkout_cancel_payment", payment_id=payment),
        "status": to("payments_api_orders_order_payment_status", order_id=order),
    }


# What can be asked next with what an answer says, by the name of its schema.
LINKS: Mapping[str, dict[str, dict[str, Any]]] = {
    "OrderOut": _links(payment="$response.body#/payment/id", order="$response.body#/order_id"),
    "AttemptOut": _links(payment="$response.body#/id", order="$response.body#/order_id"),
}
