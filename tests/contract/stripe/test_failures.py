"""Each code that Stripe's library knows is classified, or is deliberately none of a payment's."""

import re
from pathlib import Path

import pytest
import stripe

from payments.domain.failures import FailureCode
from payments.gateways import failures
from tests.contract.stripe.bench import BENCH

TABLE = failures.load("stripe")

# What these are about is not how we pay: other products, other resources, and answers that are read before any table.
_NONE_OF_OURS = re.compile(
    r"(account_(error|information|token)|acss|alipay|approval_required|balance_invalid|bank_account_(bad|exists|verif)"
    r"|bitcoin|cardholder|clearing_code|country_code|coupon|customer_|dispute|failed_tax|financial_|forwarding"
    r"|idempotency_key_in_use|india_|instant_|intent_verif|invalid_(canceled|mandate|tax)|invoice|lock_timeout|missing$"
    r"|out_of|ownership|payment_evaluation|payment_method_(bank|configuration|microdeposit)|payout|product_inactive"
    r"|progressive|rate_limit$|return_intent|routing|service_period|setup_|shipping|siret|sku|smart_disputes|storer"
    r"|stripe_tax|subscription|tax|terminal|transfer)"
)


def published() -> set[str]:
    """Return the codes in the library's type of `PaymentIntent.last_payment_error.code`."""
    text = (Path(stripe.__file__).parent / "_payment_intent.py").read_text(encoding="utf-8")
    error = text[text.index("class LastPaymentError") :]
    listed = error[error.index("\n        code: Optional[") :]
    return set(re.findall(r'"([a-z_0-9]+)"', listed[: listed.index("],")]))


def test_every_published_code_is_classified() -> None:
    codes = published()
    assert len(codes) > 150
    assert {code for code in codes if code not in TABLE.codes and not _NONE_OF_OURS.match(code)} == set()


@pytest.mark.parametrize(
    ("meaning", "codes"),
    [
        (FailureCode.BLOCKED, "fraudulent lost_card stolen_card pickup_card restricted_card merchant_blacklist"),
        (FailureCode.INSUFFICIENT_FUNDS, "insufficient_funds"),
        (FailureCode.LIMIT_EXCEEDED, "card_velocity_exceeded withdrawal_count_limit_exceeded"),
        (FailureCode.ISSUER_UNAVAILABLE, "issuer_not_available processing_error reenter_transaction try_again_later"),
        (FailureCode.INVALID_CARD_DATA, "incorrect_cvc invalid_cvc incorrect_zip invalid_account incorrect_number"),
        (FailureCode.AUTHENTICATION_REQUIRED, "authentication_required authentication_not_handled"),
        (FailureCode.DECLINED, "generic_decline do_not_honor call_issuer transaction_not_allowed not_permitted"),
    ],
)
def test_decline_codes_mean_what_stripe_says(meaning: FailureCode, codes: str) -> None:
    assert {TABLE.codes[code] for code in codes.split()} == {meaning}


def test_the_bench_has_every_decline_of_the_sandbox() -> None:
    assert len(BENCH.declines) == 9
