"""The only place with HTTP statuses of refusals: every error becomes an RFC 9457 problem with a stable `code`."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

import structlog
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.views import defaults
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from payments.domain import errors
from payments.domain.errors import PaymentError

log = structlog.get_logger(__name__)

STATUSES: Mapping[type[PaymentError], HTTPStatus] = {
    errors.PaymentExpired: HTTPStatus.GONE,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.InvalidState: HTTPStatus.CONFLICT,
    errors.ReasonRequired: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.AlreadySubmitted: HTTPStatus.CONFLICT,
    errors.TokenRequired: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TokenRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.RetryRefused: HTTPStatus.CONFLICT,
    errors.RefundRefused: HTTPStatus.CONFLICT,
    errors.PaymentInFlight: HTTPStatus.CONFLICT,
    errors.IdempotencyKeyInUse: HTTPStatus.CONFLICT,
    errors.IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    errors.DuplicateOrder: HTTPStatus.CONFLICT,
    errors.OutOfStock: HTTPStatus.CONFLICT,
    errors.UnknownItem: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.AmountMismatch: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UnsupportedCurrency: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.WebhookRefused: HTTPStatus.BAD_REQUEST,
    errors.UnknownKind: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UnsupportedMethod: HTTPStatus.UNPROCESSABLE_ENTITY,
}

# Errors that the framework raises by status alone.
_PLAIN_CODES: Mapping[int, tuple[str, str]] = {
    400: ("malformed_request", "The request could not be read"),
    401: ("not_authenticated", "Authentication is required"),
    403: ("forbidden", "Not allowed"),
    404: (errors.NotFound.code, errors.NotFound.title),
    405: ("method_not_allowed", "Method not allowed"),
    413: ("body_too_large", "The request body is too large"),
    429: (errors.RateLimited.code, errors.RateLimited.title),
    500: ("internal_error", "Something went wrong on our side"),
    503: ("unavailable", "Temporarily unavailable"),
}

MEDIA_TYPE = "application/problem+json"

_UNAVAILABLE_SECONDS = "2"  # A database or a broker that was started again is back after a few.
INVALID_REQUEST = "invalid_request"
_INVALID_TITLE = "The request is not valid"


def codes() -> dict[str, tuple[int, str]]:
    """List every code that a problem can have, with its status and its title."""
    return {
        **{code: (status, title) for status, (code, title) in _PLAIN_CODES.items()},
        **{kind.code: (int(status), kind.title) for kind, status in STATUSES.items()},
        INVALID_REQUEST: (int(HTTPStatus.UNPROCESSABLE_ENTITY), _INVALID_TITLE),
    }


def problem(
    status: HTTPStatus | int, *, code: str, title: str, detail: str, facts: Mapping[str, object] | None = None
) -> HttpResponse:
    """Build a problem response; `facts` are further members beside the standard ones."""
    content = {
        "type": f"urn:paywindow:problem:{code}",
        "title": title,
        "status": int(status),
        "code": code,
        "detail": detail,
        **(facts or {}),
    }
    response = HttpResponse(json.dumps(content), status=int(status), content_type=MEDIA_TYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    return response


def plain_problem(status: int, detail: str) -> HttpResponse:
    """Build a problem for a status that says everything by itself."""
    code, title = _PLAIN_CODES.get(status, ("error", HTTPStatus(status).phrase))
    response = problem(status, code=code, title=title, detail=detail)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = _UNAVAILABLE_SECONDS
    return response


def refusal(error: PaymentError) -> HttpResponse:
    """Build the problem of a refusal; one that says when to try again says it in a header too."""
    response = problem(
        STATUSES[type(error)], code=error.code, title=error.title, detail=error.detail, facts=error.facts
    )
    if "retry_after_seconds" in error.facts:
        response["Retry-After"] = str(error.facts["retry_after_seconds"])
    return response


def register(api: NinjaAPI) -> None:
    """Make the API answer every exception with a problem."""
    api.add_exception_handler(PaymentError, _refused)
    api.add_exception_handler(AuthenticationError, _unauthenticated)
    api.add_exception_handler(ValidationError, _invalid)
    api.add_exception_handler(HttpError, _by_status)
    api.add_exception_handler(Http404, _missing)
    api.add_exception_handler(OperationalError, _unavailable)
    api.add_exception_handler(Exception, _failed)


# The framework types a handler's argument as "an error or its class"; it passes errors only.


def _refused(_request: HttpRequest, error: PaymentError | type[PaymentError]) -> HttpResponse:
    return refusal(cast("PaymentError", error))


def _unauthenticated(_request: HttpRequest, _error: object) -> HttpResponse:
    return plain_problem(401, "Send a valid token as `Authorization: Bearer ...`.")


def _invalid(_request: HttpRequest, error: ValidationError | type[ValidationError]) -> HttpResponse:
    error = cast("ValidationError", error)
    found = [_named(entry) for entry in error.errors]
    detail = "; ".join(f"{entry['field']}: {entry['message']}" for entry in found)
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        code=INVALID_REQUEST,
        title=_INVALID_TITLE,
        detail=detail,
        facts={"errors": found},
    )


def _by_status(_request: HttpRequest, error: HttpError | type[HttpError]) -> HttpResponse:
    error = cast("HttpError", error)
    return plain_problem(error.status_code, error.message)


def _missing(_request: HttpRequest, _error: object) -> HttpResponse:
    return plain_problem(404, "There is nothing here.")


def _unavailable(request: HttpRequest, error: OperationalError | type[OperationalError]) -> HttpResponse:
    # The database is away, or somebody holds a lock for long; the transaction was rolled back.
    log.error("database_unavailable", path=request.path, exc_info=error)
    return plain_problem(503, "Nothing was changed. Please try again in a moment.")


def _failed(request: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:
    log.error("request_failed", path=request.path, exc_info=error)
    return plain_problem(500, "The request was not carried out. Please try again.")


def _named(entry: Mapping[str, Any]) -> dict[str, str]:
    # ("body", "payload", "lines", 0, "quantity") reads lines.0.quantity, and ("header", "Idempotency-Key") as the name
    # of the header: what comes before is the framework's own.
    source, *location = (str(part) for part in entry.get("loc") or ("body",))
    if source == "body":
        location = location[1:]
    message = str(entry.get("msg", "invalid")).removeprefix("Value error, ")
    return {"field": ".".join(location) or source, "message": message}


def handle_400(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer a request that Django itself refuses: a problem below /api/, a page elsewhere."""
    if request.path.startswith("/api/"):
        return plain_problem(400, "The request could not be read.")
    return defaults.bad_request(request, exception)


def handle_404(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer an unknown path: a problem below /api/, a page elsewhere."""
    if request.path.startswith("/api/"):
        return plain_problem(404, "There is nothing here.")
    return defaults.page_not_found(request, exception)


def handle_500(request: HttpRequest) -> HttpResponseBase:
    """Answer a failure outside the API's own handlers: a problem below /api/, a page elsewhere."""
    if request.path.startswith("/api/"):
        return plain_problem(500, "The request was not carried out. Please try again.")
    return defaults.server_error(request)
