"""The running server against its own document: thousands of requests that it allows, and that it does not.

Schemathesis is a process of its own, like the server. Besides answers of 500 and more it looks for statuses, headers,
media types and fields that are not documented, for wrong data that is taken, for methods that are not offered, and for
operations that answer without a token. With the links of the document it goes from an order to its payment and on.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from payments.models import PaymentAttempt
from tests import factories
from tests.system import System

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]

CASES_EACH = 1000  # For each of the two tokens.
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.parametrize("is_staff", [False, True], ids=["customer", "staff"])
def test_server_keeps_to_its_document(
    web: System, token_for: Callable[[User], str], checkout_folder: Path, tmp_path: Path, *, is_staff: bool
) -> None:
    factories.make_item("MUG-BLUE", price_minor=1250, on_hand=1_000_000)
    token = token_for(factories.make_user(is_staff=is_staff))

    report, printed = fuzz(f"{web.web_url}/api/openapi.json", token=token, checkout=checkout_folder, folder=tmp_path)

    assert (report["exit_code"], report["failures"], report["errors"]) == (0, [], []), printed
    assert report["operations"]["tested"] == report["operations"]["total"] > 10, printed
    assert {phase["status"] for phase in report["phases"].values()} == {"success"}, printed
    assert report["test_cases"]["generated"] >= CASES_EACH, printed
    # It came past the refusals, and along the links to the payments.
    assert set(PaymentAttempt.objects.values_list("state", flat=True)) >= {"open", "queued", "cancelled"}


def fuzz(url: str, *, token: str, checkout: Path, folder: Path) -> tuple[dict[str, Any], str]:
    path = folder / "report.json"
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "run", url),
            *("--header", f"Authorization: Bearer {token}", "--workers", "2", "--no-color"),
            *("--report", "json", "--report-json-path", path),
        ],
        cwd=folder,  # It leaves a cache where it runs.
        env={**os.environ, "PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert path.exists(), done.stdout
    report: dict[str, Any] = json.loads(path.read_text())
    return report, done.stdout
