"""Surroundings that misbehave, as real as a test can have them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


class SilentServer:
    """Accepts every connection and says nothing, until it is released: then all of them break."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        self.is_released = False

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many were accepted."""
        return len(self._held)

    def release(self) -> None:
        if self.is_released:
            return
        self.is_released = True
        self._listener.shutdown(socket.SHUT_RDWR)  # This wakes the thread; closing alone would not.
        self._thread.join()
        self._listener.close()
        for held in self._held:
            held.close()

    def _accept(self) -> None:
        while True:
            try:
                self._held.append(self._listener.accept()[0])
            except OSError:
                return


def forget_connections() -> None:
    """Close this process's connections to the database, those of the pool too."""
    django_connection: Any = connection  # Only PostgreSQL's has a pool.
    django_connection.close()
    django_connection.close_pool()


@contextmanager
def database_away() -> Iterator[None]:
    """Let every new connection of this process fail."""
    name = connection.settings_dict["NAME"]
    forget_connections()
    connection.settings_dict["NAME"] = "no_such_database"
    try:
        yield
    finally:
        forget_connections()
        connection.settings_dict["NAME"] = name
