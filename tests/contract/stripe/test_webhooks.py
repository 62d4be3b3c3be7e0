"""Stripe's events: what the face sends is what Stripe's own library accepts, and ours accepts what that signs."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest
import stripe

from payments.gateways.marks import TOLERANCE_SECONDS
from payments.gateways.protocol import Event, NotGenuine, Tells
from payments.gateways.sandbox.clock import read_clock
from payments.gateways.stripe.adapter import StripeGateway
from payments.gateways.stripe.hearing import read_event
from tests.contract.sandbox_server import WEBHOOK_SECRET, SandboxProcess, wait_until
from tests.contract.stripe.asking import (
    PATIENT_SECONDS,
    PAYMENT,
    acting,
    charging,
    hosted,
    id_of,
    in_a_while,
    ledger_id,
)
from tests.contract.stripe.bodies import INTENT, SESSION, charge, intent, session
from tests.receiver import Receiver

NOW = 1_700_000_000
SECRET, OLDER_SECRET = "whsec_new", "whsec_old"


def event_of(told: object, *, kind: str = "payment_intent.succeeded", **more: Any) -> dict[str, Any]:
    said = {"id": "evt_1NG8Du2eZvKYlo2CUI79vXWy", "object": "event", "type": kind, "data": {"object": told}}
    return {**said, **more}


def marks(body: bytes, *, at: int = NOW, secret: str = SECRET) -> str:
    """Sign as Stripe's own library does."""
    return str(stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at))


def heard(
    body: bytes,
    *,
    signature: str | None = None,
    secrets: tuple[str, ...] = (SECRET,),
    headers: Mapping[str, str] | None = None,
    unix_seconds: int = NOW,
) -> Event | NotGenuine:
    said = {"Stripe-Signature": marks(body) if signature is None else signature} if headers is None else headers
    return read_event(headers=said, body=body, secrets=secrets, unix_seconds=unix_seconds)


def body_of(event: object) -> bytes:
    return json.dumps(event).encode()


GENUINE = body_of(event_of(intent("succeeded")))


@pytest.mark.parametrize(
    ("kind", "told", "tells", "payment_id", "charge_reference"),
    [
        ("payment_intent.succeeded", intent("succeeded"), Tells.MONEY, PAYMENT, INTENT),
        ("payment_intent.amount_capturable_updated", intent("requires_capture"), Tells.MONEY, PAYMENT, INTENT),
        ("payment_intent.payment_failed", intent("requires_payment_method"), Tells.NO_MONEY, PAYMENT, INTENT),
        ("payment_intent.canceled", intent("canceled"), Tells.NO_MONEY, PAYMENT, INTENT),
        ("charge.refunded", charge(metadata={"reference": PAYMENT}), Tells.RETURNED, PAYMENT, INTENT),
        ("checkout.session.completed", session("complete"), Tells.MONEY, PAYMENT, SESSION),
        ("checkout.session.expired", session("expired"), Tells.NO_MONEY, PAYMENT, SESSION),
        # The intent of a session is not what its charge is known by.
        (
            "payment_intent.succeeded",
            intent("succeeded", metadata={"reference": PAYMENT, "made_by": "checkout_session"}),
            Tells.MONEY,
            PAYMENT,
            "",
        ),
        ("payment_intent.succeeded", intent("succeeded", metadata={}), Tells.MONEY, "", INTENT),
        ("refund.failed", {"object": "refund", "id": "re_1", "payment_intent": INTENT}, Tells.UNKNOWN, "", INTENT),
        (  # A refund says itself what it is of: the intent of a session does not.
            "refund.updated",
            {"object": "refund", "id": "re_1", "payment_intent": INTENT, "metadata": {"charge": SESSION}},
            Tells.UNKNOWN,
            "",
            SESSION,
        ),
        ("charge.dispute.created", {"object": "dispute", "id": "dp_1"}, Tells.UNKNOWN, "", ""),
        ("a.kind.of.tomorrow", {"object": "thing"}, Tells.UNKNOWN, "", ""),
    ],
)
def test_an_event_names_the_payment_and_the_charge(
    kind: str, told: object, tells: Tells, payment_id: str, charge_reference: str
) -> None:
    event = event_of(told, kind=kind)
    assert heard(body_of(event)) == Event(
        event_id=event["id"],
        kind=kind,
        tells=tells,
        payment_id=payment_id,
        charge_reference=charge_reference,
        is_timely=True,
    )


def test_an_event_of_a_connected_account_says_whose_it_is() -> None:
    read = heard(body_of(event_of(intent("succeeded"), account="acct_1032D82eZvKYlo2C")))
    assert isinstance(read, Event)
    assert read.account == "acct_1032D82eZvKYlo2C"


def test_a_payment_id_that_is_too_long_is_none_of_ours_and_is_cut() -> None:
    read = heard(body_of(event_of(intent("succeeded", metadata={"reference": "x" * 500}))))
    assert isinstance(read, Event)
    assert read.payment_id == "x" * 64


def test_several_secrets_let_one_take_the_place_of_another() -> None:
    secrets = (SECRET, OLDER_SECRET)
    for secret in secrets:
        assert isinstance(heard(GENUINE, signature=marks(GENUINE, secret=secret), secrets=secrets), Event)
    both = f"{marks(GENUINE, secret='whsec_not_ours')},{marks(GENUINE).partition(',')[2]}"
    assert isinstance(heard(GENUINE, signature=both), Event)
    assert isinstance(heard(GENUINE, signature=marks(GENUINE, secret=OLDER_SECRET)), NotGenuine)


@pytest.mark.parametrize(
    ("off_seconds", "is_timely"),
    [
        (0, True),
        (TOLERANCE_SECONDS, True),
        (TOLERANCE_SECONDS + 1, False),
        (-TOLERANCE_SECONDS, True),
        (-TOLERANCE_SECONDS - 1, False),
    ],
)
def test_an_old_or_future_event_is_told_and_not_timely(off_seconds: int, is_timely: bool) -> None:
    read = heard(GENUINE, unix_seconds=NOW + off_seconds)
    assert isinstance(read, Event)
    assert read.is_timely is is_timely


def _mark(body: bytes = GENUINE, *, algorithm: str = "sha256") -> str:
    return hmac.new(SECRET.encode(), f"{NOW}.".encode() + body, algorithm).hexdigest()


@pytest.mark.parametrize(
    "signature",
    [
        "",
        ",",
        "t=",
        f"t={NOW}",
        f"v1={_mark()}",
        f"t={NOW},v1=",
        f"t={NOW},v1={_mark()[:-1]}",
        f"t={NOW},v1={_mark()}0",
        f"t={NOW},v1={_mark().upper()}",
        f"t={NOW},v1=\u00e9",
        f"t={NOW},v0={_mark()}",
        f"t={NOW},v2={_mark()}",
        f"t={NOW},v1={_mark(algorithm='sha1')}",
        f"t={NOW + 1},v1={_mark()}",
        f"t={NOW},t={NOW},v1={_mark()}",
        f"t=0{NOW},v1={_mark()}",
        f"t=+{NOW},v1={_mark()}",
        f"t=\u0661,v1={_mark()}",
        f"t={'9' * 40},v1={_mark()}",
        f"t={NOW}," + ",".join(["v1=0"] * 100 + [f"v1={_mark()}"]),
        hmac.new(SECRET.encode(), GENUINE, hashlib.sha256).hexdigest(),
    ],
)
def test_a_signature_that_does_not_fit_is_refused(signature: str) -> None:
    assert isinstance(heard(GENUINE, signature=signature), NotGenuine)


def test_what_was_changed_on_the_way_is_refused() -> None:
    signature = marks(GENUINE)
    for bent in (GENUINE + b" ", GENUINE[:-1], GENUINE.replace(b"1250", b"1249"), b"", b"\xff" + GENUINE):
        assert isinstance(heard(bent, signature=signature), NotGenuine)


def test_without_a_header_or_a_secret_nothing_is_believed() -> None:
    assert isinstance(heard(GENUINE, headers={}), NotGenuine)
    assert isinstance(heard(GENUINE, headers={"Sandbox-Signature": marks(GENUINE)}), NotGenuine)
    assert isinstance(heard(GENUINE, secrets=()), NotGenuine)
    assert isinstance(heard(GENUINE, headers={"STRIPE-SIGNATURE": marks(GENUINE)}), Event)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"event"',
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        body_of({**event_of(intent("succeeded")), "id": ""}),
        body_of({**event_of(intent("succeeded")), "id": 7}),
        body_of({**event_of(intent("succeeded")), "id": "x" * 256}),
        body_of({**event_of(intent("succeeded")), "id": "evt_\x00"}),
        body_of({**event_of(intent("succeeded")), "id": "evt_\ud800"}),
        body_of({**event_of(intent("succeeded")), "type": "x" * 65}),
        body_of({**event_of(intent("succeeded")), "type": None}),
        body_of({**event_of(intent("succeeded")), "account": 7}),
        body_of({**event_of(intent("succeeded")), "data": None}),
        body_of({**event_of(intent("succeeded")), "data": {"object": []}}),
        body_of(event_of(intent("succeeded", metadata={"reference": "pay\x00"}))),
        body_of(event_of(intent("succeeded", metadata={"reference": 7}))),
        body_of(event_of(intent("succeeded", id=["pi"]))),
    ],
)
def test_what_is_signed_and_no_event_is_refused(body: bytes) -> None:
    digest = hmac.new(SECRET.encode(), f"{NOW}.".encode() + body, hashlib.sha256).hexdigest()
    assert isinstance(heard(body, signature=f"t={NOW},v1={digest}"), NotGenuine)


# What the face sends.


def all_that_happens(gateway: StripeGateway, sandbox: SandboxProcess) -> dict[str, str]:
    """Let one payment of each kind happen; return the charges' ids by the payment's."""
    held = id_of(gateway.authorize(charging(idempotency_key="a", reference="a"), deadline_seconds=PATIENT_SECONDS))
    gateway.capture(acting(held, idempotency_key="a:c"), deadline_seconds=PATIENT_SECONDS)
    gateway.refund(acting(held, idempotency_key="a:r"), deadline_seconds=PATIENT_SECONDS)
    let_go = id_of(gateway.authorize(charging(idempotency_key="b", reference="b"), deadline_seconds=PATIENT_SECONDS))
    gateway.void(acting(let_go, idempotency_key="b:v"), deadline_seconds=PATIENT_SECONDS)
    gateway.charge(
        charging(idempotency_key="c", reference="c", payment_token="tok_declined"), deadline_seconds=PATIENT_SECONDS
    )
    references = {"a": held, "b": let_go}
    for reference, action in (("d", "pay"), ("e", "decline"), ("f", "cancel")):
        page = hosted(expires_at_unix=in_a_while(), idempotency_key=reference, reference=reference)
        references[reference] = id_of(gateway.charge(page, deadline_seconds=PATIENT_SECONDS))
        sandbox.settle(ledger_id(references[reference]), action)
    return references


def test_each_event_of_the_face_is_genuine_to_stripes_library_and_to_us(
    gateway: StripeGateway, sandbox: SandboxProcess, receiver: Receiver
) -> None:
    sandbox.settings(webhook={"url": receiver.url, "secrets": [SECRET, OLDER_SECRET]})
    charges = all_that_happens(gateway, sandbox)
    expected = {
        ("payment_intent.amount_capturable_updated", "a", charges["a"]),
        ("payment_intent.succeeded", "a", charges["a"]),
        ("charge.refunded", "a", charges["a"]),
        ("payment_intent.amount_capturable_updated", "b", charges["b"]),
        ("payment_intent.canceled", "b", charges["b"]),
        ("payment_intent.created", "d", ""),
        ("checkout.session.completed", "d", charges["d"]),
        ("payment_intent.created", "e", ""),
        ("checkout.session.async_payment_failed", "e", charges["e"]),
        ("payment_intent.created", "f", ""),
        ("checkout.session.expired", "f", charges["f"]),
    }
    # One more: of the declined charge, whose id nobody was told.
    wait_until(lambda: len(receiver.requests) == len(expected) + 1, what="all events have come")
    now = int(read_clock().timestamp())
    told = set()
    for request in receiver.requests:
        for secret in (SECRET, OLDER_SECRET):
            stripe.Webhook.construct_event(request.body, request.headers["stripe-signature"], secret)
        read = read_event(headers=request.headers, body=request.body, secrets=(SECRET,), unix_seconds=now)
        assert isinstance(read, Event)
        again = read_event(headers=request.headers, body=request.body, secrets=(OLDER_SECRET,), unix_seconds=now)
        assert read == again
        assert read.is_timely
        if read.payment_id == "c":
            assert (read.kind, read.tells) == ("payment_intent.payment_failed", Tells.NO_MONEY)
        else:
            told.add((read.kind, read.payment_id, read.charge_reference))
    assert told == expected


def test_the_adapter_hears_with_the_secrets_of_its_settings() -> None:
    settings = {"api_key": "sk_test", "webhook_secrets": f" {WEBHOOK_SECRET} , {OLDER_SECRET},"}
    gateway = StripeGateway.from_settings(settings, connect_seconds=1)
    for secret, genuine in ((WEBHOOK_SECRET, True), (OLDER_SECRET, True), ("", False), (SECRET, False)):
        signature = f"t={NOW},v1=" + hmac.new(secret.encode(), f"{NOW}.".encode() + GENUINE, "sha256").hexdigest()
        read = gateway.read_event(headers={"Stripe-Signature": signature}, body=GENUINE, unix_seconds=NOW)
        assert isinstance(read, Event) is genuine
    gateway.close()
