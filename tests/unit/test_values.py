import uuid

from hypothesis import given
from hypothesis import strategies as st

from payments.domain.hashing import content_hash
from payments.domain.ids import Prefix, new_id, parse_public_id, public_id
from payments.domain.money import Priced, display, total_minor
from payments.gateways.protocol import ChargeRequest


@given(st.uuids(), st.sampled_from(Prefix))
def test_a_public_id_reads_back(value: uuid.UUID, prefix: Prefix) -> None:
    assert parse_public_id(prefix, public_id(prefix, value)) == value


@given(st.text(max_size=60))
def test_any_other_text_is_no_id_and_no_error(text: str) -> None:
    value = parse_public_id(Prefix.PAYMENT, text)
    assert value is None or public_id(Prefix.PAYMENT, value) == text


def test_an_id_has_one_spelling_and_one_kind() -> None:
    value = new_id()
    assert parse_public_id(Prefix.PAYMENT, public_id(Prefix.PAYMENT, value).upper()) is None
    assert parse_public_id(Prefix.ORDER, public_id(Prefix.PAYMENT, value)) is None


def test_ids_are_version_7_and_come_in_the_order_in_which_they_are_made() -> None:
    made = [new_id() for _ in range(1000)]
    assert {value.version for value in made} == {7}
    assert made == sorted(made)


def test_totals_are_whole_minor_units() -> None:
    assert total_minor([Priced(2, 1250), Priced(1, 890)]) == 3390
    assert display(amount_minor=3390, currency="USD") == "33.90 USD"
    assert display(amount_minor=3390, currency="JPY") == "3390 JPY"
    assert display(amount_minor=5, currency="KWD") == "0.005 KWD"


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert content_hash({"a": 1, "b": "é"}) == content_hash({"b": "é", "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": 2})


def test_a_charge_request_hashes_everything_that_it_says() -> None:
    base = {"idempotency_key": "k", "reference": "r", "amount_minor": 1, "currency": "USD", "payment_token": "t"}
    changes: list[dict[str, object]] = [
        {"idempotency_key": "x"}, {"reference": "x"}, {"amount_minor": 2}, {"currency": "EUR"}, {"payment_token": "x"},
        {"return_url": "https://x/"}, {"return_url": "https://y/"},
    ]  # fmt: skip
    hashes = {ChargeRequest(**{**base, **change}).request_hash for change in [{}, *changes]}  # type: ignore[arg-type] # built from a table
    assert len(hashes) == 1 + len(changes)
