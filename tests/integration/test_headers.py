"""What browsers are told about each kind of answer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings

from payments.messaging import links
from payments.models import StockItem
from tests.integration.api_client import ORDER, Api

pytestmark = pytest.mark.django_db(transaction=True)

PROGRAM = {"default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"}
PAGE = {"default-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'", "object-src 'none'"}
DOCS = PAGE | {"img-src 'self' data:", "style-src 'self' 'unsafe-inline'"}

EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def assert_headers(response: object, policy: set[str], *, is_kept: bool = False) -> None:
    headers = response.headers  # type: ignore[attr-defined] # the test client's answers are of a type of their own
    assert {name: headers.get(name) for name in EVERYWHERE} == EVERYWHERE
    assert set(headers["Content-Security-Policy"].split("; ")) == policy
    if not is_kept:
        assert "no-store" in headers["Cache-Control"]


@pytest.mark.parametrize(
    ("path", "status", "policy"),
    [
        ("/api/docs", 200, DOCS),
        ("/api/openapi.json", 200, PROGRAM),
        ("/api/", 404, PROGRAM),
        ("/api/nothing/", 404, PROGRAM),
        ("/api/orders/", 405, PROGRAM),
        ("/api/payments/nonsense/", 401, PROGRAM),
        ("/healthz", 200, PROGRAM),
        ("/readyz", 200, PROGRAM),
        ("/metrics", 200, PROGRAM),
        ("/nothing/", 404, PROGRAM),
        ("/", 302, PROGRAM),
        ("/admin/", 302, PAGE),
        ("/admin/login/", 200, PAGE),
        ("/shop/", 200, PAGE),
        ("/shop/pay/nonsense/", 404, PAGE),
        ("/reminders/stop/nonsense/", 404, PAGE),
        ("/api/webhooks/sandbox/", 405, PROGRAM),
    ],
)
def test_what_anybody_may_ask_for(path: str, status: int, policy: set[str]) -> None:
    response = Client().get(path)
    assert response.status_code == status
    assert_headers(response, policy)


def test_what_a_customer_is_answered(customer: User, api: Api, item: StockItem) -> None:
    placed = api.post("/api/orders/", ORDER)
    payment_id = placed.json()["payment"]["id"]
    assert_headers(placed, PROGRAM)
    assert_headers(api.get(f"/api/payments/{payment_id}/"), PROGRAM, is_kept=True)
    assert_headers(api.post("/api/orders/", "not JSON"), PROGRAM)
    visitor = Client()
    visitor.force_login(customer)
    page = visitor.get(f"/shop/pay/{payment_id}/")
    assert page.status_code == 200
    assert_headers(page, PAGE)
    assert_headers(visitor.get(f"/reminders/stop/{links.stop_token(customer_id=customer.pk)}/"), PAGE)


def test_what_staff_see() -> None:
    browser = Client()
    browser.force_login(User.objects.create_superuser("boss"))
    assert_headers(browser.get("/admin/payments/paymentattempt/"), PAGE)


def test_what_is_refused_before_any_view() -> None:
    assert_headers(Client().post("/api/orders/", "x" * 70_000, content_type="application/json"), PROGRAM)
    with override_settings(ALLOWED_HOSTS=["shop.example"]):
        assert_headers(Client().get("/api/payments/nonsense/"), PROGRAM)


def test_static_files_are_kept_and_run_nowhere_else() -> None:
    response = Client().get("/static/payments/pay-page.js")
    assert response.status_code == 200
    assert_headers(response, PROGRAM, is_kept=True)
    assert "max-age" in response["Cache-Control"]
    response.close()


def test_production_insists_on_https(checkout_folder: Path) -> None:
    code = """
import django, json
django.setup()
from django.test import Client
answers = [Client().get("/healthz", headers={"Host": "shop.example", **extra}) for extra in (
    {}, {"X-Forwarded-Proto": "https"})]
print(json.dumps([[answer.status_code, dict(answer.headers)] for answer in answers]))
"""
    env = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "project.settings.production",
        "DJANGO_ALLOWED_HOSTS": "shop.example",
        "DATABASE_URL": "postgresql:///not-asked",
        "REDIS_URL": "redis://not-asked",
        "SANDBOX_API_KEY": "made-up",
        "DJANGO_SECRET_KEY": "made-up",
        "JWT_ALGORITHM": "EdDSA",
        "JWT_JWKS_URL": "https://identity.example/jwks.json",
        "LOG_LEVEL": "ERROR",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=checkout_folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (plain, to), (secure, headers) = json.loads(done.stdout.splitlines()[-1])
    assert (plain, to["Location"]) == (301, "https://shop.example/healthz")
    assert (secure, headers["Strict-Transport-Security"]) == (200, "max-age=31536000; includeSubDomains; preload")
