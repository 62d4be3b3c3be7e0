"""What the schemas share: exact bodies, texts without surprises, the fields that every status answer has, problems."""

from datetime import datetime
from typing import Annotated

from ninja import Schema
from pydantic import ConfigDict, Field, StringConstraints

# No control characters: PostgreSQL refuses NUL, and logs and pages show these texts.
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
Token = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class Strict(Schema):
    """A request body: exact types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Countdown(Schema):
    """What every status answer says of the time, by the server's clock, and of what may be done now.

    A client counts down from `expires_at - server_now` on a clock that nobody sets; its own wall clock is not asked.
    """

    server_now: datetime
    expires_at: datetime = Field(description="The deadline; from here on nothing is charged.")
    time_remaining_seconds: int = Field(ge=0, description="0 once the window is over, or the payment has ended.")
    is_payment_window_active: bool = Field(description="Whether the payment can still go through in its window.")
    can_pay: bool = Field(description="Whether it may be submitted now.")
    can_retry: bool = Field(description="Whether another attempt may be opened now.")
    attempts_left: int = Field(ge=0, description="How many more attempts the order may have.")
    retry_after_seconds: int | None = Field(
        ge=1, description="When asking again is worth it, as `Retry-After`; null when nothing is going to change."
    )
    message: str = Field(description="Where it stands, in a sentence for the customer.")


class ProblemOut(Schema):
    """An RFC 9457 problem; `code` is stable and made for programs."""

    type: str = Field(examples=["urn:paywindow:problem:payment_expired"])
    title: str
    status: int
    code: str = Field(examples=["payment_expired"])
    detail: str
