"""The examples of docs/api.md do what it says, and its tables leave nothing out."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from payments import queries
from payments.api import problems
from payments.models import Order, StockItem
from tests.contract.sandbox_server import wait_until
from tests.integration.conftest import broker_is_away, use_broker
from tests.system import System

__all__ = ["broker_is_away", "use_broker"]  # Fixtures: nobody takes what this process publishes.

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


@pytest.mark.acceptance
@pytest.mark.django_db(transaction=True)
def test_python_examples_run(
    system: System, customer: User, item: StockItem, token_for: Callable[[User], str], checkout_folder: Path
) -> None:
    env = {**os.environ, "API": system.web_url, "TOKEN": token_for(customer), "PYTHONPATH": str(checkout_folder)}
    examples = [example for example in blocks("python") if "payments.client" in example]
    said = [
        subprocess.run(
            [sys.executable, "-c", example], env=env, check=True, stdout=subprocess.PIPE, text=True, timeout=90
        ).stdout.splitlines()
        for example in examples
    ]
    assert said == [
        [
            "failed The card has insufficient funds. You have not been charged.",
            "succeeded Your payment was received. Thank you.",
        ],
        ["only 98 left"],
    ]
    assert Order.objects.get().status == "paid"
    assert system.sandbox.operations() == [("authorize", 2500), ("capture", 2500)]


@pytest.mark.django_db(transaction=True)
def test_the_typed_calls_run_in_the_same_project(customer: User, item: StockItem, broker_is_away: None) -> None:
    (example,) = (example for example in blocks("python") if "import checkout" in example)
    said: dict[str, Any] = {"customer": customer}
    exec(compile(example, str(PAGE), "exec"), said)  # noqa: S102 - our own page's
    assert Order.objects.get().order_id == "CART-1743"
    assert queries.attempt_for(attempt_id=queries.attempt_id_of(said["payment"].id), customer_id=None).state == "queued"


@pytest.mark.acceptance
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    shutil.which("curl") is None and os.environ.get("PAYWINDOW_REQUIRE_TOOLS") != "1", reason="curl is not installed"
)
def test_curl_example_runs(
    system: System, customer: User, item: StockItem, token_for: Callable[[User], str], tmp_path: Path
) -> None:
    (lines,) = blocks("bash")
    env = {**os.environ, "API": system.web_url, "TOKEN": token_for(customer)}
    subprocess.run(["bash", "-euo", "pipefail", "-c", lines], cwd=tmp_path, env=env, check=True, timeout=60)
    # The page looks once; a test that ends earlier would empty the tables below the worker.
    wait_until(lambda: Order.objects.get().status == "paid", what="the order is paid", deadline_seconds=30)
    assert system.sandbox.operations() == [("authorize", 2500), ("capture", 2500)]


def test_every_code_and_every_endpoint_is_in_its_table() -> None:
    page = PAGE.read_text()
    codes = {code: int(status) for status, code in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", page, flags=re.MULTILINE)}
    assert codes == {code: status for code, (status, _) in problems.codes().items()}
    told = dict(re.findall(r"^\| `((?:GET|POST) /api/[^`]*)` \|.*\| (yes)? ?\|$", page, flags=re.MULTILINE))
    paths = Client().get("/api/openapi.json").json()["paths"]
    offered = {
        f"{method.upper()} {path}": any(entry["name"] == "Idempotency-Key" for entry in operation["parameters"])
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    assert {request: keyed == "yes" for request, keyed in told.items()} == offered
