"""The test cards of the demo shop: each makes the sandbox gateway behave in one way."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DemoCard:
    """A choice on the pay page. `token` is what the sandbox gateway knows it by."""

    token: str
    label: str
    explanation: str


DEMO_CARDS = (
    DemoCard("tok_visa", "A good card", "Paid at once."),
    DemoCard("tok_insufficient_funds", "A card without enough money", "The bank declines it."),
    DemoCard("tok_hosted", "The bank's own page", "You pay there, and come back to this shop."),
    DemoCard("tok_slow_12", "A slow bank", "Paid after twelve seconds."),
    DemoCard("tok_hang_after", "A bank that never answers", "The money moves, but we wait thirty seconds in vain."),
    DemoCard("tok_reset_after", "A connection that breaks", "The money moves, but the answer is lost on its way."),
)
