"""The calls, one method each."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx

from payments.client.answers import CheckedStatus, Line, Order, OrderStatus, Payment, Refund, read_answer
from payments.client.failures import BadAnswer, NotSettled
from payments.client.sending import Answer, Call, Sender, retry_after_seconds

MAX_KEY_CHARACTERS = 255
POLL_SECONDS = 1.0  # When the server names no pause.
SHORTEST_POLL_SECONDS = 0.2  # When it names none to speak of.

_Value = TypeVar("_Value")


class PaywindowClient:
    """A client of one server, for all threads of a process. Close it, or use it in a `with`.

    `token` is a bearer token, or a function that gives a valid one; it is asked before every try. Each wait for the
    server may take `timeout_seconds`, a call with its repeats `deadline_seconds`; only a server that drips the head of
    its answer, byte by byte, can stretch that. `http` may be a client of your own, with proxies or
    certificates; closing it is then yours.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | Callable[[], str],
        timeout_seconds: float = 10.0,
        deadline_seconds: float = 30.0,
        http: httpx.Client | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise ValueError("base_url must look like https://pay.example, without a user and a password")
        self._base_url, self._deadline_seconds = base_url.rstrip("/"), deadline_seconds
        self._owns_http = http is None
        # A proxy or a .netrc of the environment must not see tokens by surprise.
        self._http = httpx.Client(trust_env=False) if http is None else http
        self._sender = Sender(base_url=self._base_url, http=self._http, token=token, timeout_seconds=timeout_seconds)

    def __repr__(self) -> str:
        return f"PaywindowClient({self._base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; a call that waits for its next try ends instead."""
        self._sender.closing.set()
        if self._owns_http:
            self._http.close()

    # Every call raises Refused, Unreachable and BadAnswer, as Sender.send says.

    def place_order(
        self,
        *,
        lines: Sequence[Line],
        total_minor: int,
        currency: str,
        payment_method: str | None = None,
        order_id: str | None = None,
        kind: str | None = None,
        idempotency_key: str | None = None,
    ) -> Order:
        """Place an order: its stock is held, and its first payment attempt is open.

        What is left out is the server's to choose: the method, the order's number, the ordinary kind of order.
        """
        content = {
            "lines": [asdict(line) for line in lines],
            "total_minor": total_minor,
            "currency": currency,
            "payment_method": payment_method,
            "order_id": order_id,
            "kind": kind,
        }
        return self._post(Order, "/api/orders/", content=content, key=idempotency_key)

    def submit(
        self, *, payment_id: str, payment_token: str | None = None, idempotency_key: str | None = None
    ) -> Payment:
        """Pay: the charge is queued while the window is open. A method with a page of its own takes no token.

        :raises PaymentExpired: when it is not.
        """
        path = f"/api/payments/{_segment(payment_id)}/submit/"
        content = {} if payment_token is None else {"payment_token": payment_token}
        return self._post(Payment, path, content=content, key=idempotency_key)

    def status(self, *, payment_id: str, known: Payment | None = None) -> Payment:
        """Ask where a payment stands. If nothing changed since `known`, the server says just that, and this gives it.

        Of a payment that did not change the server's time and the time left are as old as `known`.
        """
        return self._status(payment_id, known=known, ends_at_monotonic=self._ends_at_monotonic())

    def wait_until_settled(self, *, payment_id: str, deadline_seconds: float = 60.0) -> Payment:
        """Ask as often as the server wishes, until the payment has ended.

        :raises NotSettled: when it has not by the deadline. It may still be paid.
        """
        ends_at_monotonic = time.monotonic() + deadline_seconds
        payment = self._status(payment_id, known=None, ends_at_monotonic=ends_at_monotonic)
        while not payment.is_settled:
            pause_seconds = max(SHORTEST_POLL_SECONDS, payment.retry_after_seconds or POLL_SECONDS)
            if time.monotonic() + pause_seconds >= ends_at_monotonic or self._sender.closing.wait(pause_seconds):
                raise NotSettled(payment)
            payment = self._status(payment_id, known=payment, ends_at_monotonic=ends_at_monotonic)
        return payment

    def order_status(self, *, order_id: str) -> OrderStatus:
        """Ask how long an order can still be paid, by the shop's number."""
        return self._get(OrderStatus, f"/api/orders/payment-status/{_segment(order_id)}/")

    def check(self, *, order_id: str) -> CheckedStatus:
        """Have the gateway asked about an order's payment soon, if it is not known what became of it.

        Asked twice, the gateway is asked once.
        """
        path = f"/api/orders/check-payment/{_segment(order_id)}/"
        return self._post(CheckedStatus, path, content=None, key=None)

    def retry(self, *, order_id: str, payment_method: str | None = None, idempotency_key: str | None = None) -> Payment:
        """Open an order's next attempt after one that failed.

        :raises RetryRefused: with the reason, and how many attempts are left.
        """
        content = {"order_id": order_id, "payment_method": payment_method}
        return self._post(Payment, "/api/payments/retry/", content=content, key=idempotency_key)

    def cancel(self, *, payment_id: str, reason: str | None = None, idempotency_key: str | None = None) -> Payment:
        """Give the order up before anybody has begun to charge; staff say why when it is somebody else's.

        :raises InvalidState: when it is too late.
        """
        content = None if reason is None else {"reason": reason}
        path = f"/api/payments/{_segment(payment_id)}/cancel/"
        return self._post(Payment, path, content=content, key=idempotency_key)

    def refund(
        self, *, payment_id: str, reason: str, amount_minor: int | None = None, idempotency_key: str | None = None
    ) -> Refund:
        """Staff: owe the customer all of a payment, or `amount_minor` of it."""
        path = f"/api/payments/{_segment(payment_id)}/refund/"
        content = {"reason": reason, "amount_minor": amount_minor}
        return self._post(Refund, path, content=content, key=idempotency_key)

    def _status(self, payment_id: str, *, known: Payment | None, ends_at_monotonic: float) -> Payment:
        path = f"/api/payments/{_segment(payment_id)}/"
        etag = known.etag if known is not None and known.id == payment_id else None
        answer = self._sender.send(Call("GET", path, ends_at_monotonic=ends_at_monotonic, etag=etag))
        if known is not None and answer.status == HTTPStatus.NOT_MODIFIED:
            return replace(known, retry_after_seconds=retry_after_seconds(answer.headers))
        return _with_headers(read_answer(Payment, body=answer.body), answer=answer)

    def _get(self, kind: type[_Value], path: str) -> _Value:
        answer = self._sender.send(Call("GET", path, ends_at_monotonic=self._ends_at_monotonic()))
        return read_answer(kind, body=answer.body)

    def _post(self, kind: type[_Value], path: str, *, content: Mapping[str, Any] | None, key: str | None) -> _Value:
        # What is None was not asked for: the server's own defaults stay the server's.
        given = None if content is None else {name: value for name, value in content.items() if value is not None}
        key = str(uuid.uuid4()) if key is None else key
        if not (0 < len(key) <= MAX_KEY_CHARACTERS and key.isascii() and key.isprintable()):
            raise ValueError(f"an idempotency key has 1 to {MAX_KEY_CHARACTERS} printable ASCII characters")
        answer = self._sender.send(
            Call("POST", path, ends_at_monotonic=self._ends_at_monotonic(), content=given, key=key)
        )
        try:
            return read_answer(kind, body=answer.body)
        except BadAnswer as error:
            error.idempotency_key = key
            raise

    def _ends_at_monotonic(self) -> float:
        return time.monotonic() + self._deadline_seconds


def _with_headers(payment: Payment, *, answer: Answer) -> Payment:
    seconds = retry_after_seconds(answer.headers) if payment.retry_after_seconds is None else None
    return replace(
        payment,
        etag=answer.headers.get("ETag"),
        retry_after_seconds=payment.retry_after_seconds if seconds is None else seconds,
    )


def _segment(text: str) -> str:
    """Quote an id for a path.

    :raises ValueError: for one that would lead to another path.
    """
    if text in {"", ".", ".."}:
        raise ValueError(f"{text!r} is no id")
    return quote(text, safe="")
