"""The README's shell lines do what it says."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from payments.models import StockItem
from tests.system import System

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]


@pytest.mark.skipif(
    shutil.which("curl") is None and os.environ.get("PAYWINDOW_REQUIRE_TOOLS") != "1", reason="curl is not installed"
)
def test_the_lines_take_an_order_to_paid(
    system: System,
    customer: User,
    item: StockItem,
    token_for: Callable[[User], str],
    checkout_folder: Path,
    tmp_path: Path,
) -> None:
    first, *lines = re.findall(r"```bash\n(.*?)```", (checkout_folder / "README.md").read_text(), flags=re.DOTALL)
    assert first.split() == ["export", "API=http://127.0.0.1:8000", "export", "TOKEN=$(make", "--silent", "token)"]
    assert item.unit_price_minor == 1250
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env={**os.environ, "API": system.web_url, "TOKEN": token_for(customer)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    placed, submitted, payment, order = _objects(done.stdout)
    assert (placed["status"], submitted["state"]) == ("under_paying", "queued")
    assert (payment["state"], order["status"], order["payment_status"]) == ("succeeded", "paid", "paid")
    assert system.sandbox.operations() == [("authorize", 2500), ("capture", 2500)]


def _objects(text: str) -> list[dict[str, str]]:
    decoder, found, position = json.JSONDecoder(), [], 0
    while position < len(text):
        value, position = decoder.raw_decode(text, position)
        found.append(value)
    return found
