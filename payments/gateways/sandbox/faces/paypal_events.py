"""Events in the PayPal dialect: worded as PayPal's, and signed with a certificate that lives as long as the process."""

import base64
import datetime as dt
import functools
import json
import uuid
import zlib
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from payments.gateways.sandbox.checks import JSON
from payments.gateways.sandbox.clock import read_clock
from payments.gateways.sandbox.faces import paypal_words
from payments.gateways.sandbox.records import Answer, Change, Charge

_CERTIFICATE_NAME = "messageverificationcerts.sandbox.paypal.com"
_KEY_BITS = 2048
_ALGORITHM = "SHA256withRSA"
_ORDER_EVENT = "CHECKOUT.ORDER.APPROVED"
_EVENT_FIELD = b'"webhook_event":'


def word_event(event_id: str, change: Change, now: dt.datetime) -> str:
    """Return an event's JSON text; empty for what PayPal sends no word of."""
    kind = _kind(change)
    if not kind:
        return ""
    charge = change.charge
    resource_type, resource = _resource(kind, change)
    event = {
        "id": event_id,
        "event_version": "1.0",
        "create_time": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "resource_type": resource_type,
        "resource_version": "2.0",
        "event_type": kind,
        "summary": kind.replace(".", " ").capitalize(),
        "resource": resource,
        "links": [
            {
                "href": f"{_origin_of(charge)}/paypal/v1/notifications/webhooks-events/{event_id}",
                "rel": "self",
                "method": "GET",
            }
        ],
    }
    return json.dumps(event)


def _kind(change: Change) -> str:
    charge = change.charge
    prefix = "PAYMENT.CAPTURE" if charge.capture else "PAYMENT.AUTHORIZATION"
    match change.event_type:
        case "charge.approved":
            return _ORDER_EVENT
        case _ if charge.is_order:
            return ""  # PayPal is silent about orders that nobody paid.
        case "charge.authorized":
            return "PAYMENT.AUTHORIZATION.CREATED"
        case "charge.captured":
            return "PAYMENT.CAPTURE.COMPLETED"
        case "charge.refunded":
            return "PAYMENT.CAPTURE.REFUNDED"
        case "charge.pending":
            return f"{prefix}.{'PENDING' if charge.capture else 'CREATED'}"
        case _:  # Declined, voided or expired.
            return f"{prefix}.{'DECLINED' if charge.capture else 'VOIDED'}"


def _resource(kind: str, change: Change) -> tuple[str, JSON]:
    charge = change.charge
    if kind == _ORDER_EVENT:
        return "checkout-order", paypal_words.order(charge, refunds=[])
    if kind == "PAYMENT.CAPTURE.REFUNDED":
        shown = paypal_words.refund(
            charge, amount_minor=change.amount_minor, refunded_minor=charge.amount_refunded_minor
        )
        return "refund", shown
    if kind.startswith("PAYMENT.CAPTURE"):
        return "capture", paypal_words.capture(charge)
    return "authorization", paypal_words.authorization(charge)


def _origin_of(charge: Charge) -> str:
    parts = urlsplit(charge.redirect_url or "")
    return f"{parts.scheme}://{parts.netloc}"


def sign_event(body: bytes, *, url: str, secrets: Sequence[str], unix_seconds: int) -> Mapping[str, str]:
    """Return the headers of one delivery. The webhook's id, which PayPal signs with it, is the first of `secrets`."""
    del url
    transmission_id = str(uuid.uuid4())
    at = dt.datetime.fromtimestamp(unix_seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    signature = _signer()[0].sign(_signed(transmission_id, at, secrets[0], body), padding.PKCS1v15(), hashes.SHA256())
    return {
        "PAYPAL-AUTH-ALGO": _ALGORITHM,
        "PAYPAL-CERT-URL": _certificate_url(body),
        "PAYPAL-TRANSMISSION-ID": transmission_id,
        "PAYPAL-TRANSMISSION-SIG": base64.b64encode(signature).decode(),
        "PAYPAL-TRANSMISSION-TIME": at,
    }


def certificate() -> tuple[str, bytes]:
    """Return the certificate's name in its address, and the certificate in PEM."""
    held = _signer()[1]
    return f"CERT-{held.serial_number:x}"[:40], held.public_bytes(serialization.Encoding.PEM)


def _certificate_url(event: bytes) -> str:
    # The gateway does not know its own address; an event has it from the request that made its charge.
    origin = urlsplit(json.loads(event)["links"][0]["href"])
    return f"{origin.scheme}://{origin.netloc}/paypal/v1/notifications/certs/{certificate()[0]}"


def verify(body: JSON, raw: bytes) -> Answer:
    """Answer whether an event that was sent back, byte for byte, is one that was signed here."""
    # The last field, as it stands: written anew it would have another checksum.
    event = raw[raw.find(_EVENT_FIELD) + len(_EVENT_FIELD) :].removesuffix(b"}").removeprefix(b" ")
    transmission_id, at, webhook_id = (
        str(body.get(name)) for name in ("transmission_id", "transmission_time", "webhook_id")
    )
    try:
        signature = base64.b64decode(str(body.get("transmission_sig")), validate=True)
        signed = _signed(transmission_id, at, webhook_id, event)
        _signer()[0].public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        is_ours = body.get("auth_algo") == _ALGORITHM and body.get("cert_url") == _certificate_url(event)
        status = "SUCCESS" if is_ours else "FAILURE"
    except (InvalidSignature, ValueError, LookupError, TypeError):
        status = "FAILURE"
    return Answer(200, json.dumps({"verification_status": status}))


def _signed(transmission_id: str, at: str, webhook_id: str, body: bytes) -> bytes:
    return f"{transmission_id}|{at}|{webhook_id}|{zlib.crc32(body)}".encode()


@functools.cache
def _signer() -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _CERTIFICATE_NAME)])
    now = read_clock()
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    return key, built
