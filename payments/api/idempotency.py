"""The `Idempotency-Key` header: whoever repeats a POST under its key gets its answer again, and nothing happens twice.

The header is optional. With it a request is answered here: by the work, by the answer that is kept, or, when the work
was done by a process that died before it could answer, from where the payment stands now.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Header

from payments import idempotency, queries
from payments.api import auth, problems
from payments.domain.errors import IdempotencyKeyInUse, PaymentError, PaymentInFlight
from payments.idempotency import Answer, Claim, KeyedRequest
from payments.queries import AttemptView

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]*$",
        description=(
            "Makes it safe to send this request again: for 24 hours the same user's same request under the same key "
            "gets the same answer, with `Idempotent-Replayed: true`. Use a new key for each new request. A structured "
            'string, `"8e03978e"`, is the same key as the bare text.'
        ),
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]
REPLAYED_HEADER = "Idempotent-Replayed"

_ESCAPED = re.compile(r'\\(["\\])')

# They say "not now", so the next try under the same key must be free to end otherwise.
_NOT_KEPT = (PaymentInFlight, IdempotencyKeyInUse)


def answer_once(
    request: HttpRequest,
    *,
    key: str | None,
    act: Callable[[UUID | None], AttemptView],
    describe: Callable[[AttemptView], HttpResponse],
) -> HttpResponse:
    """Carry out a request, at most once if it has a key, and answer it.

    `act` does the work; it takes the id of the claim and writes its effect under it, in its own transaction. `describe`
    gives the answer of a success. Refusals are kept like successes; what failed on our side frees the key.

    :raises IdempotencyKeyReused: when the key belongs to another request.
    :raises IdempotencyKeyInUse: when the same request is being carried out.
    """
    if key is None:
        return describe(act(None))
    found = idempotency.claim(request=_keyed(request, key=key))
    if isinstance(found, Answer):
        return _replayed(HttpResponse(found.body, status=found.status, content_type=found.content_type))
    try:
        response = _carry_out(found, act=act, describe=describe)
    except Exception:
        idempotency.give_back(claim_id=found.id)
        raise
    idempotency.finish(
        claim_id=found.id,
        answer=Answer(status=response.status_code, content_type=response["Content-Type"], body=response.content),
    )
    return response if found.effect is None else _replayed(response)


def _carry_out(
    claim: Claim, *, act: Callable[[UUID | None], AttemptView], describe: Callable[[AttemptView], HttpResponse]
) -> HttpResponse:
    try:
        view = act(claim.id) if claim.effect is None else queries.attempt_for(attempt_id=claim.effect, customer_id=None)
    except PaymentError as error:
        if isinstance(error, _NOT_KEPT):
            raise
        return problems.refusal(error)
    return describe(view)


def _keyed(request: HttpRequest, *, key: str) -> KeyedRequest:
    return KeyedRequest(
        user_id=auth.customer_id(request),
        key=_unquoted(key),
        method=str(request.method),
        path=request.get_full_path(),
        body_hash=hashlib.sha256(request.body).hexdigest(),
    )


def _unquoted(key: str) -> str:
    """Read a structured string (RFC 8941), as the IETF's draft has the header; clients in the field send bare text."""
    if len(key) > len('""') and key[0] == key[-1] == '"':
        return _ESCAPED.sub(r"\1", key[1:-1])
    return key


def _replayed(response: HttpResponse) -> HttpResponse:
    response[REPLAYED_HEADER] = "true"
    return response
