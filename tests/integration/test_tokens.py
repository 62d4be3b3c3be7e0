"""Which tokens are refused. Each is tried where an order would be placed: 401, and nothing has changed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import RequestFactory
from freezegun import freeze_time
from pytest_django import Settings

from payments import clocks
from payments.api.auth import TokenAuth
from payments.api.tokens import MAX_TOKEN_CHARACTERS, issue_token
from payments.models import StockItem
from tests import factories
from tests.integration.api_client import Api, problem
from tests.integration.identity import assert_refused, claims, encoded, is_accepted

pytestmark = pytest.mark.django_db(transaction=True)


# What is accepted


def test_a_complete_token_is_accepted(customer: User, settings: Settings) -> None:
    assert is_accepted(jwt.encode(claims(customer, settings), settings.JWT_SIGNING_KEY, algorithm="HS256"))


@pytest.mark.parametrize(("seconds", "is_in_time"), [(4, True), (5, False), (6, False)])
def test_a_token_counts_until_its_time_and_the_leeway_are_over(
    customer: User, settings: Settings, seconds: int, is_in_time: bool
) -> None:
    settings.JWT_LEEWAY_SECONDS = 5
    token = issue_token(user=customer, lifetime=timedelta(minutes=5))
    expires_at = jwt.decode(token, options={"verify_signature": False})["exp"]
    with freeze_time(datetime.fromtimestamp(expires_at + seconds, tz=UTC)):
        user = TokenAuth().authenticate(RequestFactory().get("/"), token)
    assert user == (customer if is_in_time else None)


# What is refused


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": float("inf")},
        {"iat": None},
        {"iat": "now"},
        {"iat": 2**40},
        {"nbf": 2**40},
        {"sub": None},
        {"aud": None},
        {"aud": []},
        {"aud": {"paywindow-api": 1}},
        {"aud": "another-api"},
        {"iss": None},
        {"iss": "somebody"},
        {"sub": "999999"},
        {"sub": "admin"},
        {"sub": "²"},
        {"sub": "-1"},
        {"sub": ""},
        {"sub": "9" * 5000},
        {"sub": "9" * 25},
        {"sub": "1 OR 1=1"},
    ],
    ids=str,
)
def test_a_claim_that_is_missing_wrong_or_out_of_time(
    customer: User, item: StockItem, settings: Settings, changes: dict[str, Any]
) -> None:
    token = jwt.encode(claims(customer, settings, **changes), settings.JWT_SIGNING_KEY, algorithm="HS256")
    assert_refused(token, item)


def test_a_subject_that_is_no_text(customer: User, item: StockItem, settings: Settings) -> None:
    parts = [{"alg": "HS256"}, json.loads(json.dumps(claims(customer, settings), default=lambda at: at.timestamp()))]
    parts[1]["sub"] = customer.pk
    signing_input = ".".join(encoded(part) for part in parts)
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    token = f"{signing_input}.{encoded(signature.sign(signing_input.encode(), settings.JWT_SIGNING_KEY.encode()))}"
    assert_refused(token, item)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_token_from_further_ahead_than_the_leeway(
    customer: User, item: StockItem, settings: Settings, claim: str
) -> None:
    now = clocks.database_now()

    def token(seconds: int) -> str:
        changes = {claim: now + timedelta(seconds=seconds)}
        return jwt.encode(claims(customer, settings, **changes), settings.JWT_SIGNING_KEY, algorithm="HS256")

    settings.JWT_LEEWAY_SECONDS = 60
    assert is_accepted(token(30))
    assert_refused(token(3600), item)


def test_no_token_and_what_is_none(item: StockItem) -> None:
    for token in (None, "", "nonsense", "a.b.c", "..", "é.é.é", "null", "{}", "Bearer"):
        assert_refused(token, item)


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE"])
def test_a_token_that_is_not_signed(customer: User, item: StockItem, settings: Settings, algorithm: str) -> None:
    content = json.loads(json.dumps(claims(customer, settings), default=lambda at: at.timestamp()))
    unsigned = f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(content)}"
    for token in (f"{unsigned}.", unsigned, f"{unsigned}.{encoded(b'x')}"):
        assert_refused(token, item)


def test_another_key_or_algorithm(customer: User, item: StockItem, settings: Settings) -> None:
    content = claims(customer, settings)
    assert_refused(jwt.encode(content, "another key that is long enough to be used", algorithm="HS256"), item)
    for algorithm in ("HS384", "HS512"):
        settings.JWT_SIGNING_KEY = settings.JWT_SIGNING_KEY * 4
        token = jwt.encode(content, settings.JWT_SIGNING_KEY, algorithm=algorithm)
        assert_refused(token, item)


def test_a_payload_or_signature_that_was_tampered_with(customer: User, staff: User, item: StockItem) -> None:
    header, payload, signature = issue_token(user=customer, lifetime=timedelta(minutes=5)).split(".")
    content = json.loads(jwt.utils.base64url_decode(payload)) | {"sub": str(staff.pk)}
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    for token in (
        f"{header}.{encoded(content)}.{signature}",
        f"{header}.{payload}.{flipped}",
        f"{header}.{payload}.{signature[:-8]}",
        f"{header}.{payload}.",
    ):
        assert_refused(token, item)


def test_what_a_token_says_of_rights_is_not_believed(customer: User, settings: Settings) -> None:
    boast = {"is_staff": True, "is_superuser": True, "groups": ["staff"], "scope": "admin", "role": "staff"}
    token = jwt.encode(claims(customer, settings, **boast), settings.JWT_SIGNING_KEY, algorithm="HS256")
    problem(Api(token).get("/api/orders/admin/expired-count/"), 403, "forbidden")


def test_a_user_who_is_disabled_or_deleted(customer: User, item: StockItem) -> None:
    token = issue_token(user=customer, lifetime=timedelta(minutes=5))
    assert is_accepted(token)
    customer.is_active = False
    customer.save()
    assert_refused(token, item)
    customer.delete()
    assert_refused(token, item)


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 2500,
        b'{"alg":' + b"[" * 2500,
        b'{"alg":1e999}',
        b'{"alg":["HS256"]}',
        b'{"alg":"HS256","crit":["exp"],"exp":1}',
        b'{"alg":"HS256","b64":false,"crit":["b64"]}',
        b'"HS256"',
        b"\xff\xfe",
        b"",
    ],
    ids=lambda header: str(header[:24]),
)
def test_a_header_made_to_hurt(customer: User, item: StockItem, settings: Settings, header: bytes) -> None:
    _, payload, signature = issue_token(user=customer, lifetime=timedelta(minutes=5)).split(".")
    assert_refused(f"{encoded(header)}.{payload}.{signature}", item)


def test_a_token_that_is_huge(customer: User, item: StockItem, settings: Settings) -> None:
    content = claims(customer, settings, padding="x" * MAX_TOKEN_CHARACTERS)
    assert_refused(jwt.encode(content, settings.JWT_SIGNING_KEY, algorithm="HS256"), item)
    assert_refused("x" * 1_000_000, item)
    assert_refused("." * 4000, item)


def test_the_command_issues_for_development_only(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    factories.make_user("dora")
    call_command("issue_token", "dora")
    assert is_accepted(capsys.readouterr().out.strip())
    settings.JWT_ALGORITHM = "RS256"
    with pytest.raises(CommandError, match="JWT_ALGORITHM is RS256"):
        call_command("issue_token", "dora")
    settings.JWT_ALGORITHM, settings.PAYMENT_DEMO = "HS256", False
    with pytest.raises(CommandError, match="demonstrations only"):
        call_command("issue_token", "dora")
