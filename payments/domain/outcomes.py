"""What a gateway answers: a value for every ending of a call. Only bugs are exceptions."""

from dataclasses import dataclass

from payments.domain.failures import FailureCode


@dataclass(frozen=True, slots=True)
class Captured:
    """The money moved."""

    reference: str  # The gateway's id of the charge.


@dataclass(frozen=True, slots=True)
class Authorized:
    """The money is held for us and has not moved."""

    reference: str


@dataclass(frozen=True, slots=True)
class Pending:
    """The gateway took it and will tell later; the customer may have to visit `redirect_url`."""

    reference: str
    redirect_url: str | None


@dataclass(frozen=True, slots=True)
class Declined:
    """The gateway refused; provably no money moved."""

    code: FailureCode
    gateway_code: str  # As the gateway spelled it.
    reference: str | None


@dataclass(frozen=True, slots=True)
class NeverSent:
    """Provably nothing reached the gateway, or it said that it did nothing: the same request may be sent again."""

    code: FailureCode
    detail: str


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The call ended without an answer that proves anything."""

    code: FailureCode
    detail: str


Outcome = Captured | Authorized | Pending | Declined | NeverSent | InDoubt
