"""How the gateway misbehaves, and who chooses it: a switch, else the payment token, else the amount.

Every behaviour is a name with a kind. The kind says when in a request's life it strikes, which is all that
matters to a caller: before the ledger commits (nothing happened) or after it (the money moved and nobody
said so).
"""

import dataclasses
import enum
import random
import re


class Operation(enum.StrEnum):
    """What a request asks for. The first five move money; they and an order need an idempotency key."""

    CHARGE = "charge"
    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    LOOKUP = "lookup"
    CANCEL = "cancel"
    ORDER = "order"  # Make a charge that nobody pays yet, in a dialect where that is a request of its own.


CREATES = frozenset({Operation.CHARGE, Operation.AUTHORIZE})
MOVES_MONEY = CREATES | {Operation.CAPTURE, Operation.VOID, Operation.REFUND}
ALL_OPERATIONS = "all"  # A switch for lookups and cancels too: the whole gateway is dark.


class Kind(enum.Enum):
    """When in a request's life a behaviour strikes."""

    NORMAL = enum.auto()
    DECLINE = enum.auto()
    PENDING = enum.auto()
    BEFORE = enum.auto()  # Nothing is executed.
    AFTER = enum.auto()  # Executed and saved; the answer is lost, late or wrong.


@dataclasses.dataclass(frozen=True, slots=True)
class Behaviour:
    """One way to answer. `seconds` replaces the profile's latency (only `slow:SECONDS` sets it)."""

    name: str
    kind: Kind
    seconds: float | None = None

    @property
    def decline_code(self) -> str | None:
        """The decline code the issuer gives, if this behaviour is a decline."""
        if self.kind is not Kind.DECLINE:
            return None
        return "zq_17_unlisted" if self.name == "unknown_code" else self.name


OK = Behaviour("ok", Kind.NORMAL)
_KINDS: dict[Kind, tuple[str, ...]] = {
    Kind.DECLINE: (
        "declined",
        "insufficient_funds",
        "expired_card",
        "limit_exceeded",
        "incorrect_cvc",
        "stolen_card",
        "authentication_required",
        "issuer_unavailable",
        "unknown_code",
    ),
    Kind.BEFORE: ("hang_before", "reset_before", "error_before", "unavailable", "rate_limited"),
    Kind.AFTER: ("hang_after", "reset_after", "error_after", "slow_drip", "garbage"),
    Kind.PENDING: ("pending", "hosted", "pending_then_captured", "pending_then_declined"),
}
BEHAVIOURS: dict[str, Behaviour] = {
    "ok": OK,
    **{name: Behaviour(name, kind) for kind, names in _KINDS.items() for name in names},
}

# Tokens that name a card rather than a behaviour: for them the amount decides.
ORDINARY_TOKENS = frozenset({"tok_visa", "tok_mastercard", "tok_amex"})

# The last two digits of the amount in minor units. 50 stays normal on purpose: prices end in it.
AMOUNT_ENDINGS: dict[int, str] = {
    41: "declined",
    42: "insufficient_funds",
    43: "expired_card",
    44: "limit_exceeded",
    45: "incorrect_cvc",
    46: "stolen_card",
    47: "authentication_required",
    48: "issuer_unavailable",
    49: "unknown_code",
    51: "hang_before",
    52: "hang_after",
    53: "reset_before",
    54: "reset_after",
    55: "error_before",
    56: "error_after",
    57: "unavailable",
    58: "hosted",
    59: "pending_then_captured",
}

_SLOW = re.compile(r"slow[:_](\d{1,4}(?:\.\d{1,3})?)")


def parse_behaviour(name: str) -> Behaviour | None:
    """Return the behaviour called `name` (`slow:12` or `slow_12` included), or None if there is none."""
    if (match := _SLOW.fullmatch(name)) is not None:
        return Behaviour(f"slow:{match[1]}", Kind.NORMAL, seconds=float(match[1]))
    return BEHAVIOURS.get(name)


def token_exists(token: str) -> bool:
    """Tell whether `token` can be paid with. A misspelt `tok_...` cannot: a typo shall fail a test."""
    return (
        not token.startswith("tok_")
        or token in ORDINARY_TOKENS
        or parse_behaviour(token.removeprefix("tok_")) is not None
    )


def behaviour_of_payment(*, token: str, amount_minor: int) -> Behaviour:
    """Return what token and amount ask for; a token that names a behaviour (or `tok_ok`) beats the amount."""
    if token.startswith("tok_") and token not in ORDINARY_TOKENS:
        return parse_behaviour(token.removeprefix("tok_")) or OK
    return BEHAVIOURS[AMOUNT_ENDINGS.get(amount_minor % 100, "ok")]


@dataclasses.dataclass(slots=True, kw_only=True)
class Switch:
    """A behaviour switched on over the control endpoint; `operation` None: wherever it makes sense."""

    behaviour: Behaviour
    operation: str | None = None
    times: int | None = None
    fraction: float = 1.0

    def fits(self, operation: Operation) -> bool:
        """Tell whether a request for `operation` comes under this switch."""
        match self.operation:
            case None if self.behaviour.kind in {Kind.DECLINE, Kind.PENDING}:
                return operation in CREATES
            case None:
                return operation in MOVES_MONEY
            case "all":
                return True
            case "charge":  # Creating a charge, whether it is captured at once or only authorised.
                return operation in CREATES
            case _:
                return self.operation == operation


class Switches:
    """The switches that are on, at most one per operation; the more particular one is asked first."""

    def __init__(self, *, rng: random.Random) -> None:
        self._rng = rng
        self._by_operation: dict[str | None, Switch] = {}

    def turn_on(self, switch: Switch) -> None:
        """Turn `switch` on in place of an earlier one for the same operation."""
        self._by_operation[switch.operation] = switch

    def clear(self) -> None:
        """Turn everything off."""
        self._by_operation.clear()

    def active(self) -> list[Switch]:
        """Return the switches that are on."""
        return list(self._by_operation.values())

    def choose(self, operation: Operation, *, replaying: bool = False) -> Behaviour | None:
        """Return the behaviour switched on for this request and use up one of its `times`, or None.

        A replay executes nothing, so only what strikes before execution can still strike it; the rest is
        not used up.
        """
        if not self._by_operation:
            return None
        for scope in (operation, Operation.CHARGE, None, ALL_OPERATIONS):
            switch = self._by_operation.get(scope)
            if switch is None or not switch.fits(operation):
                continue
            if replaying and switch.behaviour.kind is not Kind.BEFORE:
                continue
            if switch.fraction < 1.0 and self._rng.random() >= switch.fraction:
                continue
            if switch.times is not None:
                switch.times -= 1
                if switch.times <= 0:
                    del self._by_operation[scope]
            return switch.behaviour
        return None
