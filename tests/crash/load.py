"""Customers who go on paying over HTTP, whatever is struck meanwhile, and remember what they were answered."""

import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

from tests.contract.sandbox_server import wait_until

PAUSE_SECONDS = 0.05


class Load:
    """Some threads, each of which places and pays one order after the other, each as another customer."""

    def __init__(self, url: str, *, tokens: Sequence[str], skus: Sequence[str], threads: int) -> None:
        self.accepted: list[str] = []  # The payments whose submit was answered 202.
        self.answers: Counter[str] = Counter()  # Of everything: `submit 202`, `order 503`, `submit ReadError`.
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self._tokens, self._skus = itertools.cycle(tokens), itertools.cycle(skus)
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self._ends = threading.Event()
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator["Load"]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._ends.set()
            for thread in self._threads:
                thread.join()
            self._http.close()

    def wait_for(self, count: int) -> None:
        """Return when `count` more submits were accepted."""
        wanted = len(self.accepted) + count
        wait_until(lambda: len(self.accepted) >= wanted, what=f"{wanted} submits: {self.answers}", deadline_seconds=60)

    def _run(self) -> None:
        while not self._ends.wait(PAUSE_SECONDS):
            with self._lock:
                token, sku = next(self._tokens), next(self._skus)
            order = {"lines": [{"sku": sku, "quantity": 2}], "total_minor": 2500, "currency": "USD"}
            placed = self._post("order", "/api/orders/", body=order, token=token)
            if placed is None or placed.status_code != 201:
                continue
            payment_id = placed.json()["payment"]["id"]
            path = f"/api/payments/{payment_id}/submit/"
            submitted = self._post("submit", path, body={"payment_token": "tok_visa"}, token=token)
            if submitted is not None and submitted.status_code == 202:
                self.accepted.append(payment_id)

    def _post(self, what: str, path: str, *, body: object, token: str) -> httpx.Response | None:
        try:
            response = self._http.post(path, json=body, headers={"Authorization": f"Bearer {token}"})
        except httpx.TransportError as error:
            self.answers[f"{what} {type(error).__name__}"] += 1
            return None
        self.answers[f"{what} {response.status_code}"] += 1
        return response
