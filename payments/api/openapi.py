"""What the API says of itself.

The framework writes the bodies down. Here comes what only we know: who may be refused what and with which code, how a
request is repeated, and an example of everything.

An operation says by `refuses` which refusals are its own. What any request can meet is added to all of them.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from http import HTTPMethod, HTTPStatus
from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

from payments.api import examples, problems
from payments.api.schemas import ProblemOut
from payments.domain import errors
from payments.domain.errors import PaymentError

RATE_LIMIT = "x-rate-limit"
_OWN = "x-refuses"
_JSON = "application/json"

TAGS = {
    "checkout": "Place an order, pay it, watch it, try it again, give it up.",
    "payment timer": "An order's payment window by the shop's own number, in the fields that timers know.",
    "webhooks": "For gateways, which sign what they send: neither token nor session.",
    "cleanup": "For staff: what is over and has not ended. The sweep does all of it by itself.",
}
DESCRIPTION = """\
Charges orders asynchronously, at most once, inside their payment window.

**Errors** are RFC 9457 problems with a stable `code`, made for programs; `detail` is a sentence for people. A program
must not mind codes and fields that it does not know.

**Repeating** is safe under an `Idempotency-Key`: the same request under the same key is carried out once, and its
answer is given again for 24 hours.

**Waiting** is done by asking: every status answer says in `retry_after_seconds` when to ask again, and with
`If-None-Match` an answer that would say nothing new is an empty 304.
"""

_PARAMETERS = {
    "payment_id": ("The `id` of a payment.", examples.PAYMENT_ID),
    "order_id": ("The shop's own number of an order.", examples.ORDER_ID),
    "gateway": ("The name of a gateway in the settings.", "sandbox"),
}
_SECURITY_SCHEMES: Mapping[str, dict[str, Any]] = {
    "TokenAuth": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A signed token with the claims exp, iat, sub, aud and iss; `sub` is the id of the user.",
    },
    "PageAuth": {
        "type": "apiKey",
        "in": "cookie",
        "name": "sessionid",
        "description": "The session of the pages of the same host; a POST needs `CsrfToken` too.",
    },
    "CsrfToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRFToken",
        "description": "The value of the cookie `csrftoken`, with a session.",
    },
}
_HEADERS: Mapping[str, dict[str, Any]] = {
    "Retry-After": {
        "description": "In how many seconds asking again is worth it.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Idempotent-Replayed": {
        "description": "`true` when this is the answer of an earlier request under the same key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "ETag": {
        "description": "Stands for everything in the answer but the clock; send it back as `If-None-Match`.",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {"description": "How to say who is asking.", "schema": {"type": "string"}},
}
_IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "required": False,
    "description": "The `ETag` of the answer that you have: 304, without a body, as long as nothing happened.",
    "schema": {"type": "string", "examples": [examples.ETAG]},
}
# They name the moment from which on the same request may end otherwise.
_WITH_RETRY_AFTER = {"payment_in_flight", "idempotency_key_in_use", "rate_limited", "unavailable"}


class DocumentedAPI(NinjaAPI):
    """An API whose OpenAPI document is complete."""

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        """Give the document, for the browsable page, for programs, and for docs/openapi.json."""
        document = super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params)
        _complete(document)
        return document


def refuses(*kinds: type[PaymentError], is_for_staff: bool = False) -> dict[str, Any]:
    """Say which refusals an operation has of its own; for the `openapi_extra` of its route."""
    codes = [kind.code for kind in kinds]
    return {_OWN: ["forbidden", *codes] if is_for_staff else codes}


def _complete(document: MutableMapping[str, Any]) -> None:
    used: set[str] = set()
    for path in document["paths"].values():
        for method, operation in path.items():
            _complete_operation(operation, is_post=method.upper() == HTTPMethod.POST)
            used.update(operation["tags"])
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items() if name in used]
    document["servers"] = [{"url": "/", "description": "The host that this document comes from."}]
    components = document["components"]
    components["schemas"]["ProblemOut"] = ProblemOut.model_json_schema()
    components["examples"] = {
        code: {"summary": title, "value": examples.problem(code, status=status, title=title)}
        for code, (status, title) in sorted(problems.codes().items())
    }
    components["headers"] = dict(_HEADERS)
    components["securitySchemes"] = dict(_SECURITY_SCHEMES)


def _complete_operation(operation: MutableMapping[str, Any], *, is_post: bool) -> None:
    parameters: list[dict[str, Any]] = operation["parameters"]
    is_keyed = any(parameter["name"] == "Idempotency-Key" for parameter in parameters)
    codes = _codes(operation, is_post=is_post, is_keyed=is_keyed)
    if "requestBody" in operation:
        _give_example(operation["requestBody"]["content"][_JSON])
    for parameter in parameters:
        _complete_parameter(parameter)
    responses: MutableMapping[int, dict[str, Any]] = operation["responses"]
    is_conditional = HTTPStatus.NOT_MODIFIED in responses
    if is_conditional:
        parameters.append(dict(_IF_NONE_MATCH))
    for response in responses.values():
        _complete_success(response, is_keyed=is_keyed, is_conditional=is_conditional)
    responses.update(_refusals(codes, is_keyed=is_keyed))
    operation["responses"] = {str(status): responses[status] for status in sorted(responses)}
    if "security" in operation:
        session: dict[str, list[str]] = {"PageAuth": [], "CsrfToken": []} if is_post else {"PageAuth": []}
        operation["security"] = [{"TokenAuth": []}, session]
    else:
        operation["security"] = []  # Open to everybody, and on purpose.


def _codes(operation: MutableMapping[str, Any], *, is_post: bool, is_keyed: bool) -> set[str]:
    """Collect what an operation can refuse: its own, and what anybody can meet who sends it such a request."""
    if _OWN not in operation:
        raise ValueError(f"the route of {operation['operationId']} needs openapi_extra=refuses(...)")
    codes = {"internal_error", "unavailable", *operation.pop(_OWN)}
    if "security" in operation:
        # A session's POST without its CSRF token is forbidden, whosever it is.
        codes |= {"not_authenticated", "forbidden"} if is_post else {"not_authenticated"}
    if RATE_LIMIT in operation:
        codes.add(errors.RateLimited.code)
    if is_keyed:
        codes |= {errors.IdempotencyKeyInUse.code, errors.IdempotencyKeyReused.code}
    if is_post:
        codes.add("body_too_large")
    has_body = "requestBody" in operation
    if has_body:
        codes.add("malformed_request")
    if has_body or any(parameter["in"] != "path" for parameter in operation["parameters"]):
        codes.add(problems.INVALID_REQUEST)
    return codes


def _complete_parameter(parameter: MutableMapping[str, Any]) -> None:
    schema = parameter["schema"]
    if "anyOf" in schema:  # A header or a query cannot be null; it can only be absent.
        (kind,) = (kind for kind in schema.pop("anyOf") if kind != {"type": "null"})
        schema.update(kind)
    # The framework copies them here, where OpenAPI has another form; the schema has them already. The browsable page
    # fills parameters in from this place, and nobody wants a key that was used before.
    parameter.pop("examples", None)
    if parameter["in"] == "path":
        if parameter["name"] not in _PARAMETERS:
            raise ValueError(f"payments/api/openapi.py does not describe the parameter {parameter['name']!r}")
        parameter["description"], parameter["example"] = _PARAMETERS[parameter["name"]]


def _complete_success(response: MutableMapping[str, Any], *, is_keyed: bool, is_conditional: bool) -> None:
    names = (["Idempotent-Replayed"] if is_keyed else []) + (["ETag", "Retry-After"] if is_conditional else [])
    if names:
        response["headers"] = _headers(names)
    for media in response.get("content", {}).values():
        name = _give_example(media)
        if name in examples.LINKS:
            response["links"] = examples.LINKS[name]


def _give_example(media: MutableMapping[str, Any]) -> str:
    """Give a body the example of its schema, and return the schema's name."""
    schema = media["schema"]
    (reference,) = (kind["$ref"] for kind in schema.get("anyOf", [schema]) if "$ref" in kind)
    name = str(reference).rpartition("/")[2]
    if name not in examples.BODIES:
        raise ValueError(f"payments/api/examples.py has no example of {name}")
    media["example"] = examples.BODIES[name]
    return name


def _refusals(codes: Iterable[str], *, is_keyed: bool) -> dict[int, dict[str, Any]]:
    known, by_status = problems.codes(), dict[int, list[str]]()
    for code in sorted(codes):
        by_status.setdefault(known[code][0], []).append(code)
    return {status: _refusal(status, found, is_keyed=is_keyed) for status, found in by_status.items()}


def _refusal(status: int, codes: list[str], *, is_keyed: bool) -> dict[str, Any]:
    titles = problems.codes()
    names = ["Retry-After"] if _WITH_RETRY_AFTER & set(codes) else []
    names += ["WWW-Authenticate"] if status == HTTPStatus.UNAUTHORIZED else []
    names += ["Idempotent-Replayed"] if is_keyed and _replayable() & set(codes) else []
    response: dict[str, Any] = {
        "description": "\n".join(f"- `{code}`: {titles[code][1]}" for code in codes),
        "content": {
            problems.MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/ProblemOut"},
                "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes},
            }
        },
    }
    return {**response, "headers": _headers(names)} if names else response


def _replayable() -> set[str]:
    """List the refusals that are kept under an idempotency key, as successes are."""
    not_kept = {errors.PaymentInFlight, errors.IdempotencyKeyInUse, errors.IdempotencyKeyReused, errors.RateLimited}
    return {kind.code for kind in problems.STATUSES.keys() - not_kept}


def _headers(names: Iterable[str]) -> dict[str, dict[str, str]]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
