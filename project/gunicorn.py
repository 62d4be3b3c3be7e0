"""How the web server is run. gunicorn reads these names; docs/security.md says what is left to the proxy in front."""

import os
import socket
import struct
from typing import Any

from gunicorn.workers import gthread

bind = f"{os.environ.get('WEB_ADDRESS') or '127.0.0.1'}:{os.environ.get('WEB_PORT') or '8000'}"
worker_class = "gthread"
workers = 2
threads = 16  # Most of a request is a wait for the database.
control_socket_disable = True

# Idle connections are held by one thread for all, so this costs little; a proxy should keep its own for shorter.
keepalive = 15

# Longer than a request can take: a wait for a lock, and the transaction behind it.
graceful_timeout = 30

# Our longest path has some hundred characters, a token at most 4096, and no client needs more headers.
limit_request_line = 2048
limit_request_fields = 64
limit_request_field_size = 8190

# How long one read from, or one write to, a client may take. gunicorn has no such limit for threads: a client that
# stops in the middle of a request would keep one for good.
CLIENT_WAIT_SECONDS = 10

# gunicorn gives each new connection a thread, which waits for its first bytes: 5 s, unless this is changed, for which
# there is no setting. Browsers open connections that they may need later, and some dozens of them took every thread.
# What says nothing for so long is left to the one thread that watches all idle connections.
gthread.DEFAULT_WORKER_DATA_TIMEOUT = 0.1


def when_ready(server: Any) -> None:
    """Let the kernel end such a wait; each connection inherits it from the socket that it came to (Linux)."""
    wait = struct.pack("ll", CLIENT_WAIT_SECONDS, 0)
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
