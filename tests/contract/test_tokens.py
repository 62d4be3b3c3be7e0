"""The token of a gateway: fetched once for all threads, renewed in time, used on in a fork."""

import dataclasses
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from payments.gateways.deadline import Deadline
from payments.gateways.tokens import Token, TokenCache


class NoToken:
    """What an adapter has instead."""


NOTHING = NoToken()


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


class Fetching:
    """Gives tokens one after the other, and notes the deadlines."""

    def __init__(self, *given: Token | NoToken) -> None:
        self.given, self.deadlines = list(given), list[float]()

    def __call__(self, deadline: Deadline) -> Token | NoToken:
        self.deadlines.append(deadline.left_seconds)
        return self.given.pop(0)


def test_a_token_is_used_for_half_of_its_life_and_then_renewed(clock: Clock) -> None:
    fetching = Fetching(Token("a", 100), Token("b", 100))
    cache = TokenCache(fetching)
    assert cache.get(Deadline(30)) == "a"
    clock.now += 49
    assert cache.get(Deadline(30)) == "a"
    clock.now += 1
    assert cache.get(Deadline(30)) == "b"
    assert fetching.deadlines == [30, 3]  # Nobody waits long for what is not needed yet.


def test_a_renewal_that_fails_leaves_the_old_token_until_its_end(clock: Clock) -> None:
    cache = TokenCache(Fetching(Token("a", 100), NOTHING, NOTHING, Token("b", 100)))
    cache.get(Deadline(30))
    clock.now += 99
    assert cache.get(Deadline(30)) == "a"
    clock.now += 1
    assert cache.get(Deadline(30)) == NOTHING
    assert cache.get(Deadline(30)) == "b"


def test_a_renewal_that_failed_is_tried_again_a_while_later(clock: Clock) -> None:
    fetching = Fetching(Token("a", 1000), NOTHING, Token("b", 1000))
    cache = TokenCache(fetching)
    cache.get(Deadline(30))
    clock.now += 500
    assert [cache.get(Deadline(30)) for _ in range(5)] == ["a"] * 5
    assert len(fetching.deadlines) == 2
    clock.now += 30
    assert cache.get(Deadline(1)) == "b"
    assert fetching.deadlines == [30, 3, 1]


def test_while_one_thread_renews_the_others_use_the_token_that_is_held() -> None:
    release, asked = threading.Event(), threading.Event()
    given = iter([Token("a", 3600), Token("b", 3600)])

    def fetch(_deadline: Deadline) -> Token | NoToken:
        token = next(given)
        if token.text == "b":
            asked.set()
            release.wait(20)
        return token

    cache = TokenCache(fetch)
    assert cache.get(Deadline(20)) == "a"
    assert cache._held is not None
    cache._held = dataclasses.replace(cache._held, renew_at_monotonic=0.0)
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(cache.get, Deadline(20))
        assert asked.wait(20)
        began = time.monotonic()
        assert [cache.get(Deadline(20)) for _ in range(3)] == ["a"] * 3
        assert time.monotonic() - began < 10  # Waiting for the renewal would take the whole deadline.
        release.set()
        assert renewing.result(20) == "b"
    assert cache.get(Deadline(20)) == "b"


def test_a_dropped_token_is_not_used_again_and_a_newer_one_is_kept(clock: Clock) -> None:
    cache = TokenCache(Fetching(Token("a", 100), Token("b", 100)))
    cache.get(Deadline(30))
    cache.drop("another")
    assert cache.get(Deadline(30)) == "a"
    cache.drop("a")
    assert cache.get(Deadline(30)) == "b"
    cache.drop("a")  # Of a request that was on its way with the old one.
    assert cache.get(Deadline(30)) == "b"


def test_a_token_without_life_is_fetched_every_time(clock: Clock) -> None:
    cache = TokenCache(Fetching(Token("a", 0), Token("b", 0)))
    assert [cache.get(Deadline(30)) for _ in range(2)] == ["a", "b"]


def held_until(event: threading.Event, asked: threading.Event) -> Callable[[Deadline], Token | NoToken]:
    def fetch(_deadline: Deadline) -> Token:
        asked.set()
        event.wait(20)
        return Token("a", 100)

    return fetch


def test_one_thread_fetches_and_the_others_wait_for_it() -> None:
    fetching = Fetching(Token("a", 100))
    release, asked = threading.Event(), threading.Event()

    def fetch(deadline: Deadline) -> Token | NoToken:
        held_until(release, asked)(deadline)
        return fetching(deadline)

    cache = TokenCache(fetch)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(cache.get, Deadline(20)) for _ in range(8)]
        assert asked.wait(20)
        release.set()
        assert {future.result(20) for future in waiting} == {"a"}
    assert len(fetching.deadlines) == 1


def test_who_waits_for_another_threads_token_waits_until_the_deadline_and_no_longer() -> None:
    release, asked = threading.Event(), threading.Event()
    cache = TokenCache(held_until(release, asked))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(cache.get, Deadline(20))
        assert asked.wait(20)
        assert cache.get(Deadline(0.05)) is None
        release.set()
        assert slow.result(20) == "a"


def test_a_fork_uses_the_token_on_and_is_not_held_up_by_a_lock_of_its_parent() -> None:
    release, asked = threading.Event(), threading.Event()
    cache = TokenCache(held_until(release, asked))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(cache.get, Deadline(20))
        assert asked.wait(20)
        # The lock is held now, by a thread that the child does not have.
        child = os.fork()
        if child == 0:  # pragma: no cover  # another process
            cache._fetch = Fetching(Token("own", 100))
            os._exit(0 if cache.get(Deadline(5)) == "own" else 1)
        release.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_token_is_in_no_repr() -> None:
    assert "secret" not in repr(Token("secret", 1))
