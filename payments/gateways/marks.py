"""Signatures of the form `t=<unix>,v1=<hex HMAC-SHA256 of "<t>.<body>">`, as Stripe has it and the sandbox, too."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

from payments.gateways.protocol import NotGenuine

TOLERANCE_SECONDS = 300  # Between the gateway's clock and ours; retries are signed anew.
_TIME = re.compile(r"[0-9]{1,12}")


def is_timely(
    *, header: str, most_marks: int, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], unix_seconds: int
) -> bool | NotGenuine:
    """Verify the raw bytes by one of our secrets, and tell whether they were signed within the tolerance.

    A header with more than `most_marks` parts is nobody's honest one.
    """
    signature = {name.lower(): value for name, value in headers.items()}.get(header.lower(), "")
    parts = [part.partition("=") for part in signature.split(",", maxsplit=most_marks + 1)]
    times = [value for name, _, value in parts if name == "t"]
    # Other schemes, such as Stripe's v0 of test events, are ignored: who accepts them can be talked down to them.
    marks = [value for name, _, value in parts if name == "v1"]
    if len(times) != 1 or not _TIME.fullmatch(times[0]) or not 1 <= len(marks) <= most_marks:
        return NotGenuine(f"the header {header} is missing or cannot be read")
    signed = f"{times[0]}.".encode() + body
    expected = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    # Every pair is compared, so that the time taken says nothing of which one fits.
    fits = [hmac.compare_digest(mark.encode(), digest.encode()) for mark in marks for digest in expected]
    if not any(fits):
        return NotGenuine("the signature does not fit")
    return abs(unix_seconds - int(times[0])) <= TOLERANCE_SECONDS
