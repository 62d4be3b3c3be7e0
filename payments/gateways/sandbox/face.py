"""What every dialect has in common: a request is written down, let in, checked, and handed to the flow.

A face only translates. It turns a request into a `Call` and the engine's outcomes into answers; what happens between
is the flow's business and the same for every dialect. A charge remembers the dialect that it was made in: its events
are worded, signed and addressed in that one.
"""

import datetime as dt
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from aiohttp import web

from payments.gateways.sandbox import checks
from payments.gateways.sandbox.behaviours import Operation
from payments.gateways.sandbox.checks import JSON, InvalidRequestError
from payments.gateways.sandbox.flow import Call, Flow, Wordings
from payments.gateways.sandbox.records import Answer, Change
from payments.gateways.sandbox.settings import Settings

LONGEST_KEY = 255

Prepare = Callable[[Call, JSON], None]  # Fills in what the call does, or raises InvalidRequestError.


class Face(ABC):
    """One dialect. Its routes call `take_in`."""

    dialect: ClassVar[str]

    def __init__(self, *, flow: Flow, settings: Settings) -> None:
        self.flow = flow
        self.engine = flow.engine
        self.settings = settings

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Return what this face answers to."""

    @abstractmethod
    def may_enter(self, request: web.Request) -> bool:
        """Tell whether the request carries the right credentials."""

    @abstractmethod
    def word_problem(self, status: int, code: str, message: str, *, param: str | None = None) -> Answer:
        """Word what is wrong with a request at the door: 401, or 400 about `param`."""

    @abstractmethod
    def describe(self, call: Call, request: web.Request, body: JSON) -> None:
        """Fill in key, reference, charge and operation as far as they are said, before the request is checked."""

    @staticmethod
    @abstractmethod
    def word_event(event_id: str, change: Change, now: dt.datetime) -> str:
        """Return an event's JSON text, with the charge as it was when the event happened.

        An empty one: the dialect sends no word of such a change.
        """

    @staticmethod
    @abstractmethod
    def sign_event(body: bytes, *, url: str, secrets: Sequence[str], unix_seconds: int) -> Mapping[str, str]:
        """Return the headers that an event is sent with, as of now: every delivery is signed anew."""

    def parse(self, raw: bytes, request: web.Request) -> JSON:  # a form's type is in the headers
        """Read the body: JSON, unless the dialect says otherwise.

        :raises InvalidRequestError: it cannot be read.
        """
        return checks.parse_object(raw)

    async def take_in(
        self, request: web.Request, operation: Operation, prepare: Prepare, *, wordings: Wordings, keyed: bool = False
    ) -> web.StreamResponse:
        """Write the request down, let in who may come in, check it, and hand it to the flow."""
        self.flow.gauge.up()
        try:
            raw = await request.read()
            call = Call(operation=operation, wordings=wordings, dialect=self.dialect)
            body, problem = self._parsed(raw, request)
            self.describe(call, request, body)
            _hash(call, request, body, raw, keyed=keyed)
            self.flow.arrive(call)
            if not self.may_enter(request):
                return self.flow.answer(call, self.word_problem(401, "unauthorized", "Wrong or missing API key."))
            try:
                if problem is not None:
                    raise problem
                prepare(call, body)
            except InvalidRequestError as error:
                answer = self.word_problem(400, "invalid_request", error.message, param=error.param)
                return self.flow.answer(call, answer, ended="invalid")
            return await self.flow.run(request, call)
        finally:
            self.flow.gauge.down()

    def _parsed(self, raw: bytes, request: web.Request) -> tuple[JSON, InvalidRequestError | None]:
        try:
            return self.parse(raw, request), None
        except InvalidRequestError as error:
            return {}, error


def _hash(call: Call, request: web.Request, body: JSON, raw: bytes, *, keyed: bool) -> None:
    if raw:
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode() if body else raw
        call.body_hash = hashlib.sha256(canonical).hexdigest()
    if keyed:
        text = f"{request.method} {request.path} {call.body_hash or ''}"
        call.fingerprint = hashlib.sha256(text.encode()).hexdigest()


def clean(text: object) -> str | None:
    """Return a text the ledger can keep, or None: what a stranger sends may be anything."""
    return text if isinstance(text, str) and checks.is_text(longest=LONGEST_KEY)(text) else None
