"""Reads what PayPal sends word of: verified over the raw bytes first, then read, and even then only a hint.

PayPal signs `transmission id|transmission time|webhook id|CRC-32 of the body` with RSA. A CRC is no hash: who finds
another body with the same one has not found anything that moves money, since every event makes us ask and no more.
"""

import base64
import binascii
import datetime as dt
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from payments.gateways.deadline import Deadline
from payments.gateways.paypal.certificates import Certificates, host_of, path_of
from payments.gateways.paypal.client import Client
from payments.gateways.protocol import Event, NotGenuine, Tells, listed
from payments.gateways.reading import content, inner, is_storable
from payments.gateways.transport import Answer

TOLERANCE_SECONDS = 300  # Between PayPal's clock and ours.
_VERIFY_SECONDS = 5.0
_ALGORITHM = "SHA256withRSA"
# Lengths as `verify_webhook_signature` in paypal.webhooks has them.
_LONGEST = {"algo": 100, "cert-url": 500, "transmission-id": 50, "transmission-sig": 500, "transmission-time": 100}
_HEADERS = {
    "algo": "paypal-auth-algo",
    "cert-url": "paypal-cert-url",
    "transmission-id": "paypal-transmission-id",
    "transmission-sig": "paypal-transmission-sig",
    "transmission-time": "paypal-transmission-time",
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_TELLS: Mapping[str, Tells] = {
    "CHECKOUT.ORDER.APPROVED": Tells.MONEY,
    "CHECKOUT.ORDER.COMPLETED": Tells.MONEY,
    "PAYMENT.AUTHORIZATION.CREATED": Tells.MONEY,
    "PAYMENT.CAPTURE.PENDING": Tells.MONEY,
    "PAYMENT.CAPTURE.COMPLETED": Tells.MONEY,
    "PAYMENT.AUTHORIZATION.VOIDED": Tells.NO_MONEY,
    "PAYMENT.CAPTURE.DECLINED": Tells.NO_MONEY,
    "PAYMENT.CAPTURE.DENIED": Tells.NO_MONEY,
    "CHECKOUT.ORDER.VOIDED": Tells.NO_MONEY,
    "CHECKOUT.PAYMENT-APPROVAL.REVERSED": Tells.NO_MONEY,
    "PAYMENT.CAPTURE.REFUNDED": Tells.RETURNED,
    "PAYMENT.CAPTURE.REVERSED": Tells.RETURNED,
}
_ORDERS = "checkout-order"
_LONGEST_ID, _LONGEST_KIND, _LONGEST_PAYMENT_ID = 255, 64, 64


@dataclass(frozen=True, slots=True)
class Signed:
    """What came, with the headers that vouch for it."""

    algo: str
    cert_url: str
    transmission_id: str
    signature: str
    time: str
    body: bytes


class Verifier(Protocol):
    """One of the two ways to verify."""

    def is_signed(self, signed: Signed, *, webhook_ids: Sequence[str], unix_seconds: int) -> bool | None:
        """Tell whether PayPal signed it for one of `webhook_ids`; None when that cannot be found out now."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...


class ByCertificate:
    """Verifies here, with the certificate that PayPal serves."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    def is_signed(self, signed: Signed, *, webhook_ids: Sequence[str], unix_seconds: int) -> bool | None:
        """Tell whether PayPal signed it for one of `webhook_ids`: with one certificate, got once."""
        signature = _decoded(signed.signature)
        if signature is None or not webhook_ids:
            return False
        checksum = zlib.crc32(signed.body)
        messages = [f"{signed.transmission_id}|{signed.time}|{name}|{checksum}".encode() for name in webhook_ids]
        return self._certificates.has_signed(
            url=signed.cert_url, signature=signature, messages=messages, unix_seconds=unix_seconds
        )

    def close(self) -> None:
        """Let go of every connection."""
        self._certificates.close()


class ByAsking:
    """Asks PayPal whether it was PayPal."""

    def __init__(self, client: Client, *, certificates_url: str) -> None:
        self._client = client
        self._certificates_url = certificates_url

    def is_signed(self, signed: Signed, *, webhook_ids: Sequence[str], unix_seconds: int) -> bool | None:
        """Tell whether PayPal says that it signed it for one of `webhook_ids`, within one deadline over all of them.

        PayPal is asked of one id at a time. What cannot be PayPal's by its form alone is not worth a question.
        """
        del unix_seconds
        is_formed = path_of(signed.cert_url, base_url=self._certificates_url) and _decoded(signed.signature)
        if not is_formed or not content(Answer(status=HTTPStatus.OK, headers={}, body=signed.body)):
            return False
        deadline, found = Deadline(_VERIFY_SECONDS), set[bool | None]()
        for webhook_id in webhook_ids:
            is_signed = self._ask(signed, webhook_id=webhook_id, deadline=deadline)
            if is_signed:
                return True
            found.add(is_signed)
        return None if None in found else False

    def _ask(self, signed: Signed, *, webhook_id: str, deadline: Deadline) -> bool | None:
        head = json.dumps(
            {
                "auth_algo": signed.algo,
                "cert_url": signed.cert_url,
                "transmission_id": signed.transmission_id,
                "transmission_sig": signed.signature,
                "transmission_time": signed.time,
                "webhook_id": webhook_id,
            }
        )
        # The event goes back byte for byte: written anew it would have another checksum.
        body = head[:-1].encode() + b', "webhook_event": ' + signed.body + b"}"
        path = "/v1/notifications/verify-webhook-signature"
        result = self._client.call("POST", path, deadline=deadline, body=body)
        if not isinstance(result, Answer) or result.status != HTTPStatus.OK:
            return None
        return content(result).get("verification_status") == "SUCCESS"

    def close(self) -> None:
        """Keep the connections: they are the adapter's."""


class Ear:
    """Hears the events of our webhooks."""

    def __init__(self, *, webhook_ids: Sequence[str], verifier: Verifier) -> None:
        self._webhook_ids = tuple(webhook_ids)
        self._verifier = verifier

    def read_event(self, *, headers: Mapping[str, str], body: bytes, unix_seconds: int) -> Event | NotGenuine:
        """Verify and read an event."""
        signed = _signed(headers, body)
        if signed is None:
            return NotGenuine("a PAYPAL- header is missing or cannot be read")
        at = _unix(signed.time)
        if at is None or signed.algo != _ALGORITHM:
            return NotGenuine("the time or the algorithm of the signature cannot be read")
        is_signed = self._verifier.is_signed(signed, webhook_ids=self._webhook_ids, unix_seconds=unix_seconds)
        if not is_signed:
            # PayPal sends it again for three days when it could not be verified now.
            return NotGenuine("the signature does not fit" if is_signed is False else "it could not be verified now")
        return _read_content(body, is_timely=abs(unix_seconds - at) <= TOLERANCE_SECONDS)

    def close(self) -> None:
        """Let go of every connection."""
        self._verifier.close()


def ear(settings: Mapping[str, str], *, client: Client, connect_seconds: float) -> Ear:
    """Make it from the settings.

    :raises ValueError: `webhook_verification` is neither "certificate" nor "api".
    """
    webhook_ids = listed(settings.get("webhook_secrets", ""))
    base_url = settings.get("certificate_url") or host_of(settings["url"])
    verifier: Verifier
    match settings.get("webhook_verification", "certificate"):
        case "certificate":
            verifier = ByCertificate(Certificates(base_url=base_url, connect_seconds=connect_seconds))
        case "api":
            verifier = ByAsking(client, certificates_url=base_url)
        case other:
            raise ValueError(f"webhook_verification has to be certificate or api, not {other!r}")
    return Ear(webhook_ids=webhook_ids, verifier=verifier)


def _signed(headers: Mapping[str, str], body: bytes) -> Signed | None:
    given = {name.lower(): value for name, value in headers.items()}
    values = {part: given.get(header, "") for part, header in _HEADERS.items()}
    if not all(
        0 < len(value) <= _LONGEST[part] and value.isascii() and value.isprintable() for part, value in values.items()
    ):
        return None
    if "|" in values["transmission-id"]:
        return None  # What is signed is joined by them.
    return Signed(
        algo=values["algo"],
        cert_url=values["cert-url"],
        transmission_id=values["transmission-id"],
        signature=values["transmission-sig"],
        time=values["transmission-time"],
        body=body,
    )


def _decoded(signature: str) -> bytes | None:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return None


def _unix(text: str) -> float | None:
    if not _TIME.fullmatch(text):
        return None
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _read_content(body: bytes, *, is_timely: bool) -> Event | NotGenuine:
    event = content(Answer(status=HTTPStatus.OK, headers={}, body=body))
    resource = inner(event, "resource")
    payment_id, charge_reference = _names(event, resource)
    texts = [
        (event.get("id"), 1, _LONGEST_ID),
        (event.get("event_type"), 1, _LONGEST_KIND),
        (payment_id, 0, _LONGEST_ID),
        (charge_reference, 0, _LONGEST_ID),
    ]
    if not resource or not all(is_storable(text, least=least, most=most) for text, least, most in texts):
        return NotGenuine("the body is no event")
    return Event(
        event_id=event["id"],
        kind=event["event_type"],
        tells=_told(event["event_type"], resource),
        payment_id=str(payment_id)[:_LONGEST_PAYMENT_ID],  # A longer one is none of ours.
        charge_reference=str(charge_reference),
        is_timely=is_timely,
    )


def _told(kind: str, resource: Mapping[str, object]) -> Tells:
    """Say what an event is about. A refund that is not completed may fail yet, or has failed: then PayPal is asked."""
    tells = _TELLS.get(kind, Tells.UNKNOWN)
    if tells is Tells.RETURNED and resource.get("status") != "COMPLETED":
        return Tells.UNKNOWN
    return tells


def _names(event: Mapping[str, object], resource: Mapping[str, object]) -> tuple[object, object]:
    """Return our payment id and the order's id, as far as the event names them."""
    if event.get("resource_type") == _ORDERS:
        units = resource.get("purchase_units")
        unit = units[0] if isinstance(units, list) and len(units) == 1 and isinstance(units[0], dict) else {}
        return unit.get("custom_id") or "", resource.get("id") or ""
    order_id = inner(resource, "supplementary_data", "related_ids").get("order_id") or ""
    return resource.get("custom_id") or "", order_id
