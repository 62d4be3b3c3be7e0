"""After payments of every kind neither logs nor database nor Redis nor the broker has a card number or a secret.

The same search finds what is planted in each of these places, so that finding nothing means something.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from pytest_django import DjangoDbBlocker

from payments.models import StockItem
from tests import factories
from tests.acceptance.test_whole_road import ORDER, Shopper
from tests.contract.sandbox_server import API_KEY, SandboxProcess, wait_until
from tests.gateways import system_with_all, tell
from tests.leaks import leaks
from tests.system import System

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]

GATEWAYS = {
    "stripe": "USD",
    "square": "USD",
    "stripe_page": "USD",
    "paypal": "USD",
    "square_page": "USD",
    "phonepe": "INR",
}
CARD, CODE = "4242424242424242", '"cvc": "123"'
MARK = "the-watch-is-on"


@pytest.fixture(scope="module")
def running_system(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    sandbox_process: SandboxProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    with django_db_blocker.unblock():
        yield from system_with_all(tmp_path_factory.mktemp("system"), sandbox=sandbox_process)


class Watch:
    """Everything that is said to Redis, and so to a broker that is one."""

    def __init__(self) -> None:
        self.client = redis.Redis.from_url(settings.REDIS_URL)
        self.said: list[bytes] = []
        self.monitor = self.client.monitor()  # type: ignore[no-untyped-call] # redis has no types for it
        self.thread = threading.Thread(target=self._listen)

    def _listen(self) -> None:
        for heard in self.monitor.listen():
            self.said.append(heard["command"].encode())
            if MARK in heard["command"]:
                return

    def stop(self) -> bytes:
        self.client.set(MARK, "1")
        self.thread.join()
        return b"\n".join(self.said)


@contextmanager
def watching() -> Iterator[Watch]:
    """Listen from now on, until it is told to stop."""
    watch = Watch()
    with watch.client, watch.monitor:
        watch.thread.start()
        yield watch
        watch.client.delete(MARK)


def database() -> bytes:
    """Every row of every table as text, and what is stored as bytes beside it."""
    written: list[str] = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT to_jsonb(t)::text FROM "{table}" t')
            written += [row for (row,) in cursor.fetchall()]
    text = "\n".join(written)
    blobs = [bytes.fromhex(found) for found in re.findall(r"\\\\x((?:[0-9a-f]{2})+)", text)]
    return b"\n".join([text.encode(), *blobs])


def quick_store() -> bytes:
    """Every key of Redis with what is under it."""
    found: list[bytes] = []
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        for key in client.scan_iter():
            kind = client.type(key)
            found.append(key)
            match kind:
                case b"string":
                    found.append(client.get(key) or b"")
                case b"list":
                    found += client.lrange(key, 0, -1)
                case b"hash":
                    found += [part for pair in client.hgetall(key).items() for part in pair]
                case b"set":
                    found += list(client.smembers(key))
                case b"zset":
                    found += client.zrange(key, 0, -1)
                case unknown:
                    pytest.fail(f"{key!r} is a {unknown!r}, and nobody looks into it")
    return b"\n".join(found)


def logs(system: System) -> bytes:
    return "\n".join([*(process.log for process in system.processes), system.sandbox.logs()]).encode()


def do_everything(system: System, shopper: Shopper, staff: httpx.Client) -> None:
    paid = shopper.order()["payment"]["id"]
    for hostile in ({"payment_token": CARD}, {"payment_token": "tok_visa", "card": CARD}, {"cvc": "123", "n": CARD}):
        refused = shopper.http.post(f"/api/payments/{paid}/submit/", json=hostile)
        assert refused.status_code == 422, refused.text
        assert CARD not in refused.text
    shopper.submit(paid)
    shopper.wait_for(paid, "succeeded")
    declined = shopper.order()["payment"]["id"]
    shopper.submit(declined, "tok_insufficient_funds")
    shopper.wait_for(declined, "failed")
    doubtful = shopper.order()["payment"]["id"]
    shopper.submit(doubtful, "tok_error_after")
    shopper.wait_for(doubtful, "in_doubt")
    hosted = shopper.order()["payment"]["id"]
    shopper.submit(hosted, "tok_hosted")
    charge = shopper.wait_for(hosted, "confirming")["redirect_url"].rpartition("/")[2]
    system.sandbox.settle(charge, "pay")
    shopper.wait_for(hosted, "succeeded")
    refund = staff.post(f"/api/payments/{paid}/refund/", json={"reason": "it came broken"})
    assert refund.status_code == 202, refund.text
    wait_until(lambda: ("refund", 2500) in system.sandbox.operations(), what="the refund", deadline_seconds=30)
    assert shopper.http.post("/api/orders/", json=ORDER | {"card_number": CARD}).status_code == 422
    for method, currency in GATEWAYS.items():
        pay_with(method, system, shopper, currency=currency)


def pay_with(method: str, system: System, shopper: Shopper, *, currency: str) -> None:
    known = {charge["id"] for charge in system.sandbox.ledger()["charges"]}
    order = ORDER | {"payment_method": method, "currency": currency}
    if currency == "INR":
        order |= {"lines": [{"sku": "CHAI", "quantity": 2}]}
    payment = shopper.order(**order)["payment"]["id"]
    is_hosted = method.endswith("_page") or method in {"paypal", "phonepe"}
    body = {} if is_hosted else {"payment_token": "tok_ok"}
    assert shopper.http.post(f"/api/payments/{payment}/submit/", json=body).status_code == 202
    if is_hosted:
        shopper.wait_for(payment, "confirming")
        (charge,) = [row for row in system.sandbox.ledger()["charges"] if row["id"] not in known]
        system.sandbox.settle(charge["id"], "pay")
    shopper.wait_for(payment, "succeeded")


def test_nothing_of_a_card_and_no_secret_is_anywhere(
    system: System,
    customer: User,
    staff: User,
    item: StockItem,
    token_for: Callable[[User], str],
) -> None:
    token, staff_token = token_for(customer), token_for(staff)
    factories.make_item("CHAI", currency="INR")
    tell(system)
    secrets = [API_KEY, token, staff_token, settings.SECRET_KEY, settings.PAYMENT_GATEWAYS["sandbox"]["api_key"]]
    with watching() as watch:
        do_everything(system, Shopper(system, token), system.http(staff_token))
        said = watch.stop()
    places = {"logs": logs(system), "database": database(), "redis": quick_store(), "commands": said}
    assert all(len(content) > 1000 for name, content in places.items() if name != "redis")
    assert leaks(places, secrets=secrets) == []
    with watching() as watch:
        plant_everywhere(system)
        said = watch.stop()
    planted = {"logs": logs(system), "database": database(), "redis": quick_store(), "commands": said}
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete("canary")
    assert {leak.where for leak in leaks(planted, secrets=secrets)} == set(planted)


def plant_everywhere(system: System) -> None:
    """Leave a canary in each place, as a careless line of code would."""
    with system.worker.log_path.open("a") as log:
        log.write(f'{{"event": "charging", "token": "{CARD}"}}\n')
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_session (session_key, session_data, expire_date) VALUES ('canary', %s, now())", [CODE]
        )
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.rpush("canary", API_KEY)
        client.expire("canary", 60)
