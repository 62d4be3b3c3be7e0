"""Tokens that an identity service signs: which of its keys count, where they come from, and what a token cannot do."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import keysets
from payments.api.tokens import issue_token
from payments.models import StockItem
from tests.faults import SilentServer
from tests.integration.api_client import ORDER, Api, problem, untouched
from tests.integration.identity import (
    IdentityService,
    PrivateKey,
    assert_refused,
    claims,
    encoded,
    is_accepted,
    make_key,
    public_jwk,
    public_pem,
    serving,
    signed,
)

pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE_KIDS = [
    "../../../../../../dev/null",
    "/proc/self/environ",
    "' OR 1=1; DROP TABLE auth_user; --",
    "first\x00",
    "http://127.0.0.1:9/keys",
    "k" * 10_000,
    "",
    "FIRST",
    7,
    None,
    ["first"],
    {"kid": "first"},
    "\ud800",
]


@pytest.fixture(autouse=True)
def fresh_keys() -> Iterator[None]:
    keysets.close()
    yield
    keysets.close()


@pytest.fixture(scope="module")
def rsa_key() -> PrivateKey:
    return make_key("RS256")


@pytest.fixture(scope="module")
def ed_key() -> PrivateKey:
    return make_key("EdDSA")


@pytest.fixture
def identity() -> Iterator[IdentityService]:
    with serving() as service:
        yield service


def by_file(settings: Settings, path: Path, *keys: dict[str, Any], algorithm: str) -> None:
    path.write_text(json.dumps({"keys": keys}))
    settings.JWT_ALGORITHM, settings.JWT_JWKS_FILE = algorithm, str(path)


def by_url(settings: Settings, identity: IdentityService, *keys: dict[str, Any], algorithm: str = "EdDSA") -> None:
    identity.keys = list(keys)
    settings.JWT_ALGORITHM, settings.JWT_JWKS_URL = algorithm, identity.url


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
@pytest.mark.parametrize("kid", ["first", None])
def test_the_keys_of_a_file_verify(
    customer: User, settings: Settings, tmp_path: Path, algorithm: str, kid: str | None
) -> None:
    key = make_key(algorithm)
    by_file(settings, tmp_path / "jwks.json", public_jwk(key), algorithm=algorithm)
    assert is_accepted(signed(key, claims(customer, settings), kid=kid))


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
def test_a_file_that_changes_is_read_anew(customer: User, settings: Settings, tmp_path: Path, algorithm: str) -> None:
    old, new, path = make_key(algorithm), make_key(algorithm), tmp_path / "jwks.json"
    content = claims(customer, settings)
    by_file(settings, path, public_jwk(old), algorithm=algorithm)
    assert is_accepted(signed(old, content))
    by_file(settings, path, public_jwk(old), public_jwk(new, kid="second"), algorithm=algorithm)
    assert is_accepted(signed(old, content))
    assert is_accepted(signed(new, content, kid="second"))
    by_file(settings, path, public_jwk(new, kid="second"), algorithm=algorithm)
    assert not is_accepted(signed(old, content))
    path.write_text("half of a fi")
    assert is_accepted(signed(new, content, kid="second"))


def test_a_file_that_could_not_be_read_is_read_when_it_can_be(
    customer: User, settings: Settings, tmp_path: Path
) -> None:
    key, path = make_key("EdDSA"), tmp_path / "jwks.json"
    by_file(settings, path, public_jwk(key), algorithm="EdDSA")
    unseen = path.rename(tmp_path / "elsewhere")
    path.mkdir()  # Root reads what nobody else may; a folder it cannot.
    problem(Api(signed(key, claims(customer, settings))).get("/api/payments/nonsense/"), 503, "unavailable")
    path.rmdir()
    unseen.rename(path)
    assert is_accepted(signed(key, claims(customer, settings)))


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
def test_keys_behind_a_url_verify_and_rotate(
    customer: User, settings: Settings, identity: IdentityService, algorithm: str
) -> None:
    settings.JWT_JWKS_PAUSE_SECONDS = 0
    old, new = make_key(algorithm), make_key(algorithm)
    content = claims(customer, settings)
    by_url(settings, identity, public_jwk(old), algorithm=algorithm)
    assert [is_accepted(signed(old, content)) for _ in range(3)] == [True] * 3
    assert identity.fetches == 1
    identity.keys.append(public_jwk(new, kid="second"))
    assert is_accepted(signed(new, content, kid="second"))
    assert identity.fetches == 2
    assert is_accepted(signed(old, content))


def test_keys_that_are_old_are_fetched_again(
    customer: User, settings: Settings, identity: IdentityService, ed_key: PrivateKey
) -> None:
    settings.JWT_JWKS_PAUSE_SECONDS = settings.JWT_JWKS_REFRESH_SECONDS = 0
    by_url(settings, identity, public_jwk(ed_key))
    assert is_accepted(signed(ed_key, claims(customer, settings)))
    identity.keys = [public_jwk(make_key("EdDSA"))]  # Withdrawn.
    assert not is_accepted(signed(ed_key, claims(customer, settings)))


# What is refused, with public keys


def test_a_public_key_is_no_shared_secret(
    customer: User, item: StockItem, settings: Settings, tmp_path: Path, rsa_key: PrivateKey
) -> None:
    """The classic: a server that verifies with a public key is given a token signed with that text by HS256."""
    by_file(settings, tmp_path / "jwks.json", public_jwk(rsa_key), algorithm="RS256")
    content = json.loads(json.dumps(claims(customer, settings), default=lambda at: at.timestamp()))
    signing_input = f"{encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': 'first'})}.{encoded(content)}"
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    for secret in (public_pem(rsa_key), public_pem(rsa_key).strip(), json.dumps(public_jwk(rsa_key)).encode()):
        assert_refused(f"{signing_input}.{encoded(hmac.sign(signing_input.encode(), secret))}", item)
    assert is_accepted(signed(rsa_key, claims(customer, settings)))


def test_the_signing_key_of_development_counts_no_more(
    customer: User, item: StockItem, settings: Settings, tmp_path: Path, ed_key: PrivateKey
) -> None:
    token = issue_token(user=customer, lifetime=timedelta(minutes=5))
    by_file(settings, tmp_path / "jwks.json", public_jwk(ed_key), algorithm="EdDSA")
    assert_refused(token, item)
    with pytest.raises(ValueError, match="signed by the identity service"):
        issue_token(user=customer, lifetime=timedelta(minutes=5))


def test_a_key_of_another_algorithm_or_use_verifies_nothing(
    customer: User, item: StockItem, settings: Settings, tmp_path: Path, rsa_key: PrivateKey, ed_key: PrivateKey
) -> None:
    secret = b"a secret that is long enough for HS256"
    by_file(
        settings,
        tmp_path / "jwks.json",
        public_jwk(ed_key, kid="good"),
        public_jwk(rsa_key, kid="rsa"),
        public_jwk(ed_key, kid="encryption", use="enc"),
        public_jwk(ed_key, kid="other", alg="RS256"),
        {"kty": "oct", "k": encoded(secret), "kid": "shared"},
        algorithm="EdDSA",
    )
    content = claims(customer, settings)
    assert is_accepted(signed(ed_key, content, kid="good"))
    assert_refused(signed(rsa_key, content, kid="rsa"), item)
    assert_refused(signed(ed_key, content, kid="encryption"), item)
    assert_refused(signed(ed_key, content, kid="other"), item)
    assert_refused(jwt.encode(content, secret, algorithm="HS256", headers={"kid": "shared"}), item)


def test_a_short_rsa_key_verifies_nothing(
    customer: User, item: StockItem, settings: Settings, tmp_path: Path, rsa_key: PrivateKey
) -> None:
    short = make_key("RS256", bits=1024)
    path = tmp_path / "jwks.json"
    by_file(settings, path, public_jwk(rsa_key), public_jwk(short, kid="short"), algorithm="RS256")
    content = claims(customer, settings)
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = signed(short, content, kid="short")
    assert_refused(token, item)


def test_no_name_is_not_enough_among_two_keys(
    customer: User, item: StockItem, settings: Settings, tmp_path: Path, ed_key: PrivateKey
) -> None:
    path = tmp_path / "jwks.json"
    by_file(settings, path, public_jwk(ed_key), public_jwk(make_key("EdDSA"), kid="second"), algorithm="EdDSA")
    assert_refused(signed(ed_key, claims(customer, settings), kid=None), item)


def forged(key: PrivateKey, customer: User, settings: Settings, **header: Any) -> str:
    """Sign with the attacker's key; any header goes, also one that the library would not write."""
    content = json.loads(json.dumps(claims(customer, settings), default=lambda at: at.timestamp()))
    signing_input = f"{encoded({'alg': 'EdDSA'} | header)}.{encoded(content)}"
    assert hasattr(key, "sign")
    signature: bytes = jwt.algorithms.OKPAlgorithm().sign(signing_input.encode(), key)  # type: ignore[arg-type] # Ed
    return f"{signing_input}.{encoded(signature)}"


@pytest.mark.parametrize("kid", HOSTILE_KIDS, ids=lambda kid: str(kid)[:20].encode("ascii", "replace").decode())
def test_a_hostile_key_name(
    customer: User, item: StockItem, settings: Settings, identity: IdentityService, ed_key: PrivateKey, kid: object
) -> None:
    by_url(settings, identity, public_jwk(ed_key))
    assert_refused(forged(make_key("EdDSA"), customer, settings, kid=kid), item)
    assert set(identity.paths) <= {"/jwks.json"}
    assert identity.fetches <= 1


def test_a_key_that_the_token_brings_along(
    customer: User, item: StockItem, settings: Settings, identity: IdentityService, ed_key: PrivateKey
) -> None:
    """Neither is the attacker's own key believed, nor is the address fetched where it is said to be."""
    attacker = make_key("EdDSA")
    by_url(settings, identity, public_jwk(ed_key))
    with serving() as attackers:
        attackers.keys = [public_jwk(attacker)]
        for header in (
            {"jku": attackers.url},
            {"x5u": attackers.url},
            {"jwk": public_jwk(attacker)},
            {"x5c": [encoded(public_pem(attacker))]},
            {"iss": attackers.url},
        ):
            assert_refused(forged(attacker, customer, settings, kid="first", **header), item)
            assert_refused(forged(attacker, customer, settings, **header), item)
        assert attackers.fetches == 0


# When keys cannot be had


def test_many_unknown_names_do_not_make_us_ask(
    customer: User, settings: Settings, identity: IdentityService, ed_key: PrivateKey
) -> None:
    by_url(settings, identity, public_jwk(ed_key))
    content = claims(customer, settings)
    assert not any(is_accepted(signed(ed_key, content, kid=f"unknown-{number}")) for number in range(50))
    assert identity.fetches == 1
    assert is_accepted(signed(ed_key, content))


def test_a_fetch_that_fails_keeps_the_keys(
    customer: User, settings: Settings, identity: IdentityService, ed_key: PrivateKey
) -> None:
    settings.JWT_JWKS_PAUSE_SECONDS = settings.JWT_JWKS_REFRESH_SECONDS = 0
    by_url(settings, identity, public_jwk(ed_key))
    token = signed(ed_key, claims(customer, settings))
    assert is_accepted(token)
    identity.status = 500
    assert is_accepted(token)
    identity.status, identity.keys = 200, []
    assert is_accepted(token)
    assert identity.fetches == 3


def test_without_any_key_nobody_is_called_unknown(
    customer: User, item: StockItem, settings: Settings, silent_server: SilentServer, ed_key: PrivateKey
) -> None:
    """It is not the token's fault, so a client must not throw it away; and one of many waits, once in a while."""
    settings.JWT_ALGORITHM, settings.JWT_JWKS_URL = "EdDSA", f"http://127.0.0.1:{silent_server.port}/"
    settings.JWT_JWKS_FETCH_SECONDS = 0.2
    token = signed(ed_key, claims(customer, settings))
    for _ in range(3):
        problem(Api(token).post("/api/orders/", ORDER), 503, "unavailable")
    assert (silent_server.connections, silent_server.is_released) == (1, False)
    assert untouched(item)
    assert Api(None).get("/api/orders/payment-status/ORD-NONE/").status_code == 401
